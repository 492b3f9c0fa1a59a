//! Volumes, binds, secrets, and what a node looks like afterwards.

use std::collections::BTreeMap;

use swarm_engine::{ContainerSpec, EngineError, Mount, MountKind, Propagation, SecretFile};

use crate::node::{node, sh};

fn volume(name: &str, target: &str) -> Mount {
    let kind = MountKind::Volume {
        name: name.to_owned(),
        read_only: false,
        nocopy: false,
        labels: BTreeMap::new(),
    };
    Mount { target: target.into(), kind }
}

#[tokio::test]
async fn an_empty_volume_is_filled_from_the_image_once() {
    let Some(node) = node().await else { return };
    let spec = |line: &str| ContainerSpec { mounts: vec![volume("v", "/data")], ..sh(line) };
    let line = "cat /data/sub/file; stat -c %u:%g /data; echo changed > /data/sub/file";
    assert_eq!(node.finish(spec(line)).await.1, "from the image\n33:34\n");
    assert_eq!(node.finish(spec("cat /data/sub/file")).await.1, "changed\n");
    let error = node.engine.volumes().remove("v").await.unwrap_err();
    assert!(matches!(error, EngineError::VolumeInUse { .. }), "{error}");
    node.clear().await;
    node.engine.volumes().remove("v").await.unwrap();
}

#[tokio::test]
async fn a_bind_may_be_read_only_and_must_exist() {
    let Some(node) = node().await else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "bound\n").unwrap();
    let bind = |source: &std::path::Path| Mount {
        target: "/bound".into(),
        kind: MountKind::Bind {
            source: source.to_owned(),
            read_only: true,
            propagation: Propagation::Rprivate,
            recursive: true,
        },
    };
    let line = "cat /bound/file; touch /bound/x 2>/dev/null && echo wrote; true";
    let spec = ContainerSpec { mounts: vec![bind(dir.path())], ..sh(line) };
    assert_eq!(node.finish(spec).await.1, "bound\n");
    let missing = dir.path().join("missing");
    let spec = ContainerSpec { mounts: vec![bind(&missing)], ..sh("true") };
    let error = node.engine.create_on(spec, node.rootfs()).await.unwrap_err();
    let expected = format!("bind source path does not exist: {}", missing.display());
    assert_eq!(error.to_string(), expected);
    node.clear().await;
}

#[tokio::test]
async fn secrets_are_read_only_memory_and_never_on_disk() {
    let Some(node) = node().await else { return };
    let marker = format!("secret-{}", std::process::id());
    let file = SecretFile {
        target: "/run/secrets/token".into(),
        uid: 33,
        gid: 34,
        mode: 0o400,
        data: marker.clone().into_bytes().into(),
    };
    assert!(!format!("{file:?}").contains(&marker));
    let line = "stat -c %u:%g:%a /run/secrets/token; \
                grep /run/secrets/token /proc/mounts | grep -c '^tmpfs .* tmpfs ro,'; \
                echo x 2>/dev/null > /run/secrets/token && echo wrote; \
                cat /run/secrets/token | wc -c; sleep 1000";
    let spec = ContainerSpec { files: vec![file], ..sh(line) };
    let container = node.run(spec).await;
    node.said(&container, &marker.len().to_string()).await;
    let expected = format!("33:34:400\n1\n{}\n", marker.len());
    assert_eq!(node.output(&container).await, expected);
    assert!(!contains(&node.config.root, marker.as_bytes()), "a secret is on disk");
    assert!(!contains(&node.config.run, marker.as_bytes()), "a secret is in the run directory");
    node.clear().await;
}

fn contains(dir: &std::path::Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().flatten().any(|entry| {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            return contains(&entry.path(), needle);
        }
        let text = if kind.is_file() { std::fs::read(entry.path()).unwrap() } else { Vec::new() };
        text.windows(needle.len()).any(|window| window == needle)
    })
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let Some(node) = node().await else { return };
    let mounts = vec![volume("", "/data")];
    let spec = ContainerSpec { mounts, ..sh("sleep 1000") };
    let container = node.run(spec).await;
    let pid = node.engine.inspect(&container.id).unwrap().pid.unwrap();
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(node.config.root.to_str().unwrap()), "a mount reached the host");
    node.clear().await;
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(node.cgroups().is_empty());
    let left = |dir: std::path::PathBuf| std::fs::read_dir(dir).unwrap().count();
    assert_eq!(left(node.config.root.join("containers")), 0);
    assert_eq!(left(node.config.root.join("volumes")), 0);
    assert_eq!(left(node.config.run.clone()), 0);
}
