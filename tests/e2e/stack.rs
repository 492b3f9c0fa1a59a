//! Stacks: deployed from compose files, changed, refused and removed.

use std::path::PathBuf;

use support::{Cluster, Outcome, eventually};
use tempfile::TempDir;

/// A stack of two services that use everything a file can declare.
const SHOP: &str = r#"
services:
  web:
    image: busybox
    command: ["sh", "-c", "mkdir -p /w; hostname >/w/index.html; exec httpd -f -p 80 -h /w"]
    stop_signal: SIGKILL
    environment:
      GREETING: ${GREETING:-hello}
    ports: ["8090:80"]
    networks: [front]
    configs:
      - source: settings
        target: /etc/settings
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"]
      interval: 200ms
    deploy:
      replicas: 2
      update_config: {order: start-first, monitor: 10ms}
      resources:
        limits: {memory: 32M}
  store:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    networks:
      front:
        aliases: [db]
    secrets: [token]
    volumes: ["data:/data"]
    deploy:
      update_config: {monitor: 10ms}
      placement:
        constraints: ["node.role == manager"]
networks:
  front: {}
volumes:
  data: {}
configs:
  settings: {file: ./settings}
secrets:
  token: {file: ./token}
"#;

/// A folder with the stack's files.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(TempDir::new().expect("a folder"));
        files.write("settings", "colour=blue\n");
        files.write("token", "open-sesame");
        files.write("compose.yaml", SHOP);
        files
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("the folder is writable");
        path
    }

    /// `stack deploy -c compose.yaml FLAGS shop` in this folder.
    fn deploy(&self, cluster: &Cluster, flags: &str) -> Outcome {
        let line = format!("swarmctl stack deploy -c compose.yaml {flags} shop");
        Outcome::of(cluster.shell_command("m1", &line).current_dir(self.0.path()))
    }
}

/// Names of all tasks that have a container.
fn tasks(cluster: &Cluster, service: &str) -> Vec<String> {
    cluster.containers_of(service).into_iter().map(|container| container.task).collect()
}

#[test]
fn a_deployed_stack_runs_as_its_file_says_and_rm_leaves_only_its_volumes() {
    let cluster = Cluster::with_busybox(1, 1);
    let shown = Files::new().deploy(&cluster, "").ok();
    for made in ["network shop_front", "secret shop_token", "service shop_web"] {
        assert!(shown.contains(&format!("Creating {made}")), "{shown}");
    }
    assert_eq!(cluster.running("m1", "shop_web").len(), 2, "deploy has waited");
    let store = cluster.container("shop_store", "m1");
    assert_eq!(store.run("cat /run/secrets/token; ls -d /data").ok(), "open-sesame/data");
    let web = &cluster.containers_of("shop_web")[0];
    assert_eq!(web.run("cat /etc/settings").ok(), "colour=blue");
    assert!(web.run("tr '\\0' '\\n' </proc/1/environ").ok().contains("GREETING=hello"));
    for (from, name) in [(&store, "web"), (web, "store"), (web, "db"), (web, "shop_store")] {
        assert_eq!(from.resolve(name).map(|found| found.len()), Ok(1), "{name}");
    }
    eventually("the page is published", || support::get(&cluster.address("w1"), 8090));
    let listed = cluster.shell("m1", "swarmctl stack ls --format '{{.Name}} {{.Services}}'").ok();
    assert_eq!(listed, "shop 2");
    let services = "swarmctl stack services --format '{{.Name}} {{.Replicas}} {{.Ports}}' shop";
    let services = cluster.shell("m1", services).ok();
    assert_eq!(services, "shop_store 1/1 \nshop_web 2/2 *:8090->80/tcp");
    let shown = cluster.shell("m1", "swarmctl stack ps --format '{{.Name}}' shop").ok();
    assert_eq!(shown, "shop_store.1\nshop_web.1\nshop_web.2");
    cluster.shell("m1", "swarmctl stack rm shop").ok();
    for list in ["stack ls", "service ls", "secret ls", "config ls"] {
        let line = format!("swarmctl {list} --format x");
        assert_eq!(cluster.shell("m1", &line).ok(), "", "{list}");
    }
    assert_eq!(cluster.shell("m1", "swarmctl network ls --format '{{.Name}}'").ok(), "ingress");
    assert_eq!(cluster.shims(), [0; 0], "rm has waited");
    assert_eq!(cluster.shell("m1", "swarmctl volume ls -q").ok(), "shop_data");
    let nothing = cluster.shell("m1", "swarmctl stack rm shop");
    assert!(nothing.stderr.contains("Nothing found in stack: shop"), "{nothing:?}");
}

#[test]
fn a_second_deploy_touches_only_what_has_changed() {
    let cluster = Cluster::with_busybox(1, 0);
    let files = Files::new();
    files.deploy(&cluster, "-q").ok();
    let (web, store) = (tasks(&cluster, "shop_web"), tasks(&cluster, "shop_store"));
    let shown = files.deploy(&cluster, "-q").ok();
    assert!(shown.contains("Service shop_web is unchanged"), "{shown}");
    assert_eq!((tasks(&cluster, "shop_web"), tasks(&cluster, "shop_store")), (web, store.clone()));
    let mut command = cluster.shell_command("m1", "swarmctl stack deploy -q -c compose.yaml shop");
    Outcome::of(command.current_dir(files.0.path()).env("GREETING", "good day")).ok();
    eventually("all its tasks have the new environment", || {
        cluster.containers_of("shop_web").iter().try_for_each(|container| {
            let environment = container.run("tr '\\0' '\\n' </proc/1/environ").stdout;
            let new = environment.contains("GREETING=good day");
            if new { Ok(()) } else { Err(format!("{container:?}: {environment}")) }
        })
    });
    assert_eq!(tasks(&cluster, "shop_store"), store, "only the other service has changed");
}

#[test]
fn services_that_are_no_longer_in_the_file_go_only_when_asked() {
    let cluster = Cluster::with_busybox(1, 0);
    let files = Files::new();
    let two = "services:\n  a: {image: busybox, command: sleep 1000, stop_signal: KILL}\n";
    let b = "  b: {image: busybox, command: sleep 1000, stop_signal: KILL}\n";
    files.write("compose.yaml", &format!("{two}{b}"));
    files.deploy(&cluster, "-d").ok();
    cluster.wait_running("m1", "shop_b", 1);
    files.write("compose.yaml", two);
    files.deploy(&cluster, "-d").ok();
    let names = "swarmctl service ls --format '{{.Name}}'";
    assert_eq!(cluster.shell("m1", names).ok(), "shop_a\nshop_b");
    let shown = files.deploy(&cluster, "-d --prune").ok();
    assert!(shown.contains("Removing service shop_b"), "{shown}");
    assert_eq!(cluster.shell("m1", names).ok(), "shop_a");
    eventually("its container is gone", || {
        let left = tasks(&cluster, "shop_b");
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn a_file_that_cannot_be_carried_out_is_refused_whole_with_the_line_that_is_wrong() {
    let cluster = Cluster::with_busybox(1, 0);
    let files = Files::new();
    let cases = [
        ("    colour: blue\n", "compose.yaml:5:5: services.web.colour"),
        ("    privileged: true\n", "compose.yaml:5:5: services.web.privileged"),
        ("    ports: [\"80:x\"]\n", "compose.yaml:5:"),
        ("    networks: [nowhere]\n", "nowhere"),
        ("    secrets: [nothing]\n", "nothing"),
        ("    environment: {A: \"${MUST:?say what it must be}\"}\n", "say what it must be"),
        ("    environment: {A: \"${MUST\"}\n", "compose.yaml:5:"),
        ("    deploy: {placement: {constraints: [\"node.role\"]}}\n", "node.role"),
    ];
    let head = "services:\n  ok: {image: busybox}\n  web:\n    image: busybox\n";
    for (line, wanted) in cases {
        files.write("compose.yaml", &format!("{head}{line}networks: {{net: {{}}}}\n"));
        let refused = files.deploy(&cluster, "").refused();
        assert!(refused.contains(wanted), "{line}: {refused}");
    }
    let external = "networks: {net: {external: true}}\nsecrets: {key: {external: true}}\n";
    files.write(
        "compose.yaml",
        &format!("{head}    networks: [net]\n    secrets: [key]\n{external}"),
    );
    let refused = files.deploy(&cluster, "");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("network \"net\" is declared as external"), "{refused:?}");
    assert!(refused.stderr.contains("secret not found: key"), "{refused:?}");
    for list in ["service ls", "secret ls", "config ls"] {
        let line = format!("swarmctl {list} --format x");
        assert_eq!(cluster.shell("m1", &line).ok(), "", "nothing was made: {list}");
    }
    assert_eq!(cluster.shell("m1", "swarmctl network ls --format '{{.Name}}'").ok(), "ingress");
}

#[test]
fn a_variable_without_value_is_warned_about_and_empty() {
    let cluster = Cluster::with_busybox(1, 0);
    let files = Files::new();
    let file = "services:\n  a:\n    image: busybox\n    command: sleep 1000\n    \
                stop_signal: KILL\n    environment: {A: \"<$NO_SUCH_VARIABLE>\"}\n";
    files.write("compose.yaml", file);
    let deployed = files.deploy(&cluster, "-d");
    assert_eq!(deployed.code, Some(0), "{deployed:?}");
    assert!(deployed.stderr.contains("NO_SUCH_VARIABLE"), "{deployed:?}");
    cluster.wait_running("m1", "shop_a", 1);
    let container = cluster.container("shop_a", "m1");
    let environment = container.run("tr '\\0' '\\n' </proc/1/environ").ok();
    assert!(environment.lines().any(|line| line == "A=<>"), "{environment}");
}

#[test]
fn config_shows_the_files_merged_without_a_daemon() {
    let files = Files::new();
    files.write("more.yaml", "services:\n  web:\n    environment: {EXTRA: \"1\"}\n");
    let mut command = std::process::Command::new(support::binary("swarmctl"));
    command.args(["-H", "unix:///nowhere", "stack", "config"]);
    command.args(["-c", "compose.yaml", "-c", "more.yaml"]).env("GREETING", "hi");
    let shown = Outcome::of(command.current_dir(files.0.path())).ok();
    for wanted in ["GREETING: hi", "EXTRA: \"1\"", "replicas: 2", "8090"] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    assert!(!shown.contains("open-sesame"), "{shown}");
}

#[test]
fn a_stack_that_cannot_run_says_why_when_its_time_is_up() {
    let cluster = Cluster::with_busybox(1, 0);
    let files = Files::new();
    let file = "services:\n  a:\n    image: busybox\n    command: sleep 1000\n    deploy: \
                {placement: {constraints: [\"node.labels.x == y\"]}}\n";
    files.write("compose.yaml", file);
    let failed = files.deploy(&cluster, "--timeout 2s");
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let why = "shop_a: 0 out of 1 tasks run: no suitable node (scheduling constraints not \
               satisfied on 1 node)";
    assert!(failed.stderr.contains(why), "{failed:?}");
    let crash = "services:\n  a:\n    image: busybox\n    command: sh -c 'exit 9'\n    deploy: \
                 {restart_policy: {delay: 10ms}}\n";
    files.write("compose.yaml", crash);
    let failed = files.deploy(&cluster, "");
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("non-zero exit (9)"), "{failed:?}");
}
