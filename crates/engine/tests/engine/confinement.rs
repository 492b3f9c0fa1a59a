//! What a container cannot do, and the limits it has.

use std::net::{IpAddr, Ipv4Addr};

use swarm_engine::{ContainerSpec, ExecSpec, NetworkMode, Resources, Ulimit};

use crate::node::{node, sh};

#[tokio::test]
async fn a_command_has_default_capabilities_a_filter_and_no_way_out() {
    let Some(node) = node().await else { return };
    let look = "grep -E '^(CapEff|CapBnd|Seccomp):' /proc/self/status; \
                mount -t tmpfs x /mnt 2>/dev/null && echo mounted; \
                unshare -m true 2>/dev/null && echo unshared; \
                touch /proc/sys/kernel/x 2>/dev/null && echo wrote; \
                cat /proc/kcore 2>/dev/null | head -c 1 | wc -c; \
                echo 1 2>/dev/null > /sys/fs/cgroup/memory/memory.limit_in_bytes && echo lifted; \
                ls -a /proc/1/fd 2>/dev/null | wc -l; true";
    let expected = "CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nSeccomp:\t2\n0\n";
    let (_, output) = node.finish(sh(look)).await;
    assert!(output.starts_with(expected), "{output}");
    let container = node.run(sh("sleep 1000")).await;
    let cmd = ["sh", "-c", look].map(str::to_owned).to_vec();
    let exec = ExecSpec { cmd, ..ExecSpec::default() };
    let result = node.engine.exec(&container.id, exec).await.unwrap();
    let output = String::from_utf8_lossy(&result.output).into_owned();
    assert!(output.starts_with(expected), "exec is not confined alike: {output}");
    node.clear().await;
}

#[tokio::test]
async fn users_groups_and_limits_are_set() {
    let Some(node) = node().await else { return };
    let nofile = Ulimit { name: "nofile".to_owned(), soft: 100, hard: 200 };
    let spec = ContainerSpec {
        user: Some("web".to_owned()),
        ulimits: vec![nofile],
        no_new_privileges: true,
        workdir: Some("/new/dir".to_owned()),
        ..sh("id -u; id -g; id -G; ulimit -n; pwd; echo $HOME; echo hi > /dev/stdout; \
              grep NoNewPrivs /proc/self/status; grep Seccomp: /proc/self/status")
    };
    let (status, output) = node.finish(spec).await;
    let expected = "33\n34\n34 110\n100\n/new/dir\n/srv\nhi\nNoNewPrivs:\t1\nSeccomp:\t2\n";
    assert_eq!((status.code, output.as_str()), (0, expected));
    node.clear().await;
}

#[tokio::test]
async fn the_least_memory_allowed_is_enough_to_start() {
    let Some(node) = node().await else { return };
    let resources =
        Resources { memory: Some(4 << 20), memory_swap: Some(4 << 20), ..Resources::default() };
    let (status, output) = node.finish(ContainerSpec { resources, ..sh("echo up") }).await;
    assert_eq!((status.code, output.as_str()), (0, "up\n"), "{status:?}");
    node.clear().await;
}

#[tokio::test]
async fn too_much_memory_is_an_oom_kill() {
    let Some(node) = node().await else { return };
    let resources =
        Resources { memory: Some(16 << 20), memory_swap: Some(16 << 20), ..Resources::default() };
    let spec = ContainerSpec { resources, ..sh("x=$(yes | head -c 64000000); echo survived") };
    let (status, output) = node.finish(spec).await;
    assert!(status.oom_killed, "{status:?} {output}");
    assert!(!output.contains("survived"));
    node.clear().await;
}

#[tokio::test]
async fn processes_and_cpu_are_limited() {
    let Some(node) = node().await else { return };
    let resources =
        Resources { pids: Some(5), nano_cpus: Some(500_000_000), ..Resources::default() };
    let line = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; \
                for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo done";
    let spec = ContainerSpec { resources, ..sh(line) };
    let (status, output) = node.finish(spec).await;
    assert!(output.starts_with("50000"), "{output}");
    assert!(output.contains("fork"), "{status:?} {output}");
    node.clear().await;
}

#[tokio::test]
async fn a_read_only_root_cannot_be_written_but_tmpfs_can() {
    let Some(node) = node().await else { return };
    let mount = swarm_engine::Mount {
        target: "/scratch".into(),
        kind: swarm_engine::MountKind::Tmpfs { size: Some(1 << 20), mode: None },
    };
    let spec = ContainerSpec {
        read_only: true,
        mounts: vec![mount],
        ..sh("touch /x 2>/dev/null && echo wrote; touch /scratch/x && echo scratch")
    };
    assert_eq!(node.finish(spec).await.1, "scratch\n");
    node.clear().await;
}

#[tokio::test]
async fn a_disk_of_the_node_cannot_be_reached_through_a_device_node() {
    let Some(node) = node().await else { return };
    // 254:0 is the first virtio disk, 8:0 the first SCSI disk; either may be absent.
    let line = "for d in '254 0' '8 0'; do mknod /disk b $d 2>/dev/null; \
                head -c 1 /disk 2>/dev/null | wc -c; done";
    assert_eq!(node.finish(sh(line)).await.1, "0\n0\n");
    node.clear().await;
}

#[tokio::test]
async fn a_container_has_the_network_namespace_it_asks_for() {
    let Some(node) = node().await else { return };
    let line = "readlink /proc/self/ns/net; cat /etc/resolv.conf; tail -n 1 /etc/hosts";
    let spec = |network: NetworkMode| ContainerSpec {
        network,
        resolv_conf: Some("nameserver 127.0.0.11\n".to_owned()),
        hosts: vec![(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)), "other".to_owned())],
        ..sh(line)
    };
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let (_, host) = node.finish(spec(NetworkMode::Host)).await;
    let rest = "nameserver 127.0.0.11\n10.0.0.9\tother\n";
    assert_eq!(host, format!("{}\n{rest}", own.display()));
    let other = node.run(sh("sleep 1000")).await;
    let pid = node.engine.inspect(&other.id).unwrap().pid.unwrap();
    let path = std::path::PathBuf::from(format!("/proc/{pid}/ns/net"));
    let theirs = std::fs::read_link(&path).unwrap();
    let (_, joined) = node.finish(spec(NetworkMode::Namespace(path))).await;
    assert_eq!(first(&joined), theirs.display().to_string());
    let (_, none) = node.finish(spec(NetworkMode::None)).await;
    assert!(first(&none) != own.display().to_string() && first(&none) != first(&joined));
    node.clear().await;
}
