//! Images: into a node from archives, from a registry, and from one node to another.

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Cluster, Outcome, REGISTRY, Registry, busybox};

fn shell(line: &str) -> String {
    Outcome::of(Command::new("sh").args(["-euc", line])).ok()
}

/// `repository:tag` of all images on a node.
fn images(cluster: &Cluster, node: &str) -> Vec<String> {
    let listed = cluster.ctl(node, &["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]).ok();
    let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// The only layer of the busybox image.
fn layer(into: &Path) -> PathBuf {
    let (into, archive) = (into.display(), busybox());
    let archive = archive.display();
    let name = shell(&format!(
        "cd {into}; tar -xf {archive}; ls | grep '^[0-9a-f]*[.]tar$'; chmod -R u+rwX ."
    ));
    PathBuf::from(format!("{into}/{name}"))
}

/// The busybox image as an OCI layout in a tar file.
fn oci_layout(dir: &Path) -> PathBuf {
    let layer = layer(dir);
    let out = dir.join("layout.tar");
    let script = format!(
        r#"cd {dir}; mkdir -p o/blobs/sha256; cp {layer} o/blobs/sha256/$(basename {layer} .tar)
        config=$(basename $(ls | grep '^[0-9a-f]\{{64\}}[.]json$') .json)
        cp $config.json o/blobs/sha256/$config
        part() {{ printf '{{"mediaType":"%s","digest":"sha256:%s","size":%s%s}}' "$1" "$2" \
            $(stat -c %s o/blobs/sha256/$2) "$3"; }}
        k=application/vnd.oci.image
        printf '{{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}}' \
            $k.manifest.v1+json "$(part $k.config.v1+json $config '')" \
            "$(part $k.layer.v1.tar $(basename {layer} .tar) '')" >m
        manifest=$(sha256sum m | cut -d' ' -f1); mv m o/blobs/sha256/$manifest
        name=',"annotations":{{"org.opencontainers.image.ref.name":"laid:out"}}'
        printf '{{"schemaVersion":2,"manifests":[%s]}}' \
            "$(part $k.manifest.v1+json $manifest "$name")" >o/index.json
        echo '{{"imageLayoutVersion":"1.0.0"}}' >o/oci-layout
        tar -C o -cf {out} ."#,
        dir = dir.display(),
        layer = layer.display(),
        out = out.display(),
    );
    shell(&script);
    out
}

#[test]
fn images_are_loaded_imported_tagged_run_and_removed() {
    let cluster = Cluster::new(1, 0);
    let dir = tempfile::tempdir().expect("a folder");
    let load = |archive: &Path| {
        cluster.ctl("m1", &["image", "load", "-i", &archive.display().to_string()]).ok()
    };
    assert_eq!(load(&busybox()), "Loaded image: busybox:latest");
    assert_eq!(load(&oci_layout(dir.path())), "Loaded image: laid:out");
    let tree = layer(dir.path()).display().to_string();
    let change = r#"CMD ["/bin/echo", "imported"]"#;
    cluster.ctl("m1", &["image", "import", "-c", change, &tree, "tree:1"]).ok();
    cluster.ctl("m1", &["image", "tag", "tree:1", "wood:2"]).ok();
    assert_eq!(images(&cluster, "m1"), ["busybox:latest", "laid:out", "tree:1", "wood:2"]);

    for image in ["busybox", "laid:out"] {
        let name = &image[..4];
        let once = ["--name", name, "--restart-condition", "none", image, "echo", "hello"];
        cluster.create("m1", &once);
        cluster.wait_logged("m1", name, "| hello");
    }
    cluster.create("m1", &["--name", "wood", "--restart-condition", "none", "wood:2"]);
    cluster.wait_logged("m1", "wood", "| imported");

    cluster.ctl("m1", &["image", "rm", "tree:1"]).ok();
    assert_eq!(images(&cluster, "m1"), ["busybox:latest", "laid:out", "wood:2"]);
    let refused = cluster.ctl("m1", &["image", "rm", "tree:1"]).refused();
    assert!(refused.contains("tree:1"), "{refused}");
    cluster.ctl("m1", &["service", "rm", "wood"]).ok();
    support::eventually("an image that nothing uses any more is removed", || {
        let removed = cluster.ctl("m1", &["image", "rm", "wood:2"]);
        if removed.code == Some(0) { Ok(()) } else { Err(removed.stderr) }
    });
    assert_eq!(images(&cluster, "m1"), ["busybox:latest", "laid:out"]);
    let junk = dir.path().join("layout.tar").with_file_name("junk");
    std::fs::write(&junk, "not an archive").expect("writable");
    let junk = junk.display().to_string();
    let refused = cluster.ctl("m1", &["image", "load", "-i", &junk]).refused();
    assert!(refused.contains("archive"), "{refused}");
    assert_eq!(images(&cluster, "m1"), ["busybox:latest", "laid:out"]);
}

#[test]
fn nodes_pull_from_a_registry_and_from_each_other_once_it_is_gone() {
    let cluster = Cluster::new(1, 2);
    let Some(registry) = Registry::start(&cluster, "m1") else { return };
    let image = registry.push(&busybox(), "tools/busybox", "1");
    let pulled = cluster.ctl("m1", &["image", "pull", &image]).ok();
    assert!(pulled.contains(&image), "{pulled}");
    let missing = format!("{REGISTRY}/tools/busybox:none");
    let refused = cluster.ctl("m1", &["image", "pull", &missing]).refused();
    assert!(refused.contains(&missing) && refused.contains("not found"), "{refused}");

    let place = ["--constraint", "node.hostname==m1", "--restart-condition", "none"];
    cluster.create("m1", &[&place[..], &["--name", "lost", &missing, "true"]].concat());
    let rejected = cluster.wait_error("m1", "lost", "not found");
    assert!(rejected.error.contains(&missing), "{rejected:?}");
    assert_eq!(rejected.state, "Rejected");

    drop(registry);
    let global = ["--name", "s", "--mode", "global", &image, "sleep", "1000"];
    cluster.create("m1", &global);
    cluster.wait_running("m1", "s", 3);
    assert_eq!(images(&cluster, "w2").len(), 1, "w2 got it from another node");
}

#[test]
fn an_image_that_only_one_node_has_is_fetched_by_digest_and_runs_everywhere() {
    let cluster = Cluster::new(2, 1);
    cluster.load_busybox("m2");
    assert_eq!(images(&cluster, "w1"), Vec::<String>::new());
    // Made on a manager that does not have the image: its digest is asked of the nodes.
    cluster.create("m1", &["--name", "s", "--mode", "global", "busybox", "sleep", "1000"]);
    cluster.wait_running("m1", "s", 3);
    let format = "{{.Spec.TaskTemplate.ContainerSpec.Image}}";
    let image = cluster.ctl("m1", &["service", "inspect", "--format", format, "s"]).ok();
    assert!(image.starts_with("busybox:latest@sha256:"), "{image}");
    let ids = |node| cluster.ctl(node, &["image", "ls", "-q", "--no-trunc"]).ok();
    assert_eq!(ids("w1"), ids("m2"));

    cluster.create("m1", &["--name", "lost", "nowhere/to-be:found", "true"]);
    let rejected = cluster.wait_error("m1", "lost", "nowhere/to-be:found");
    assert!(rejected.error.contains("no node of the cluster that answered has it"), "{rejected:?}");
}
