//! From a service's keys to its spec.

use swarm_api::mount::Type;
use swarm_api::service_spec::Mode;
use swarm_api::{Mount, RestartCondition};

use super::*;

#[test]
fn names_labels_and_aliases_are_the_stacks() {
    let stack = load_text(&with_lines(
        "labels: [x=y]\ndeploy: {labels: {a: b}}\nnetworks: [front, outside, host]",
    ))
    .unwrap();
    let spec = &stack.services[0].spec;
    let annotations = spec.annotations.as_ref().unwrap();
    assert_eq!(annotations.name, "shop_web");
    let labels: Vec<_> = annotations.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["a=b", "com.docker.stack.image=i", "com.docker.stack.namespace=shop"]);
    let task = spec.task.as_ref().unwrap();
    let container = task.container.as_ref().unwrap();
    let labels: Vec<_> = container.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["com.docker.stack.namespace=shop", "x=y"]);
    let networks: Vec<_> =
        task.networks.iter().map(|n| (n.target.as_str(), n.aliases.as_slice())).collect();
    let web = ["web".to_owned()];
    assert_eq!(networks, [("host", [].as_slice()), ("real", &web), ("shop_front", &web)]);
}

#[test]
fn only_networks_in_use_are_made_and_the_default_if_none_is_named() {
    let stack = load_text(&with_lines("")).unwrap();
    let shown: Vec<_> = stack.networks.iter().map(|n| (n.key.as_str(), n.name.as_str())).collect();
    assert_eq!(shown, [("default", "shop_default")]);
    assert_eq!(stack.networks[0].spec.driver, "overlay");
    let labels = &stack.networks[0].spec.annotations.as_ref().unwrap().labels;
    assert_eq!(labels[NAMESPACE_LABEL], "shop");
    let stack = load_text(&with_lines("networks: {front: {}, outside: {}}")).unwrap();
    let shown: Vec<_> = stack.networks.iter().map(|n| (n.name.as_str(), n.external)).collect();
    assert_eq!(shown, [("shop_front", false), ("real", true)]);
}

/// `{"stack": "shop", "network": "back"}` and its kin are cases of the format's conformance suite.
#[test]
fn an_object_has_its_own_name_or_the_stacks() {
    assert_eq!(scoped_name("shop", "back", None), "shop_back");
    assert_eq!(scoped_name("shop", "back", Some("real")), "real");
    let stack = load_text(&with_lines("")).unwrap();
    let configs: Vec<_> = stack.configs.iter().map(|c| (c.name.as_str(), c.external)).collect();
    assert_eq!(configs, [("shop_conf", false), ("real-conf", true)]);
    assert_eq!(stack.configs[0].spec.data, b"c");
}

#[test]
fn every_form_of_a_mount_is_converted() {
    let data = |target: &str| Mount {
        source: "shop_data".into(),
        target: target.into(),
        volume_driver: "local".into(),
        volume_labels: [("a".into(), "b".into()), (NAMESPACE_LABEL.into(), "shop".into())].into(),
        ..Mount::default()
    };
    let of = |kind: Type, source: &str, target: &str| Mount {
        r#type: kind.into(),
        source: source.into(),
        target: target.into(),
        ..Mount::default()
    };
    for (lines, want) in [
        ("volumes: ['data:/d']", data("/d")),
        ("volumes: ['data:/d:ro']", Mount { read_only: true, ..data("/d") }),
        ("volumes: [{type: volume, source: data, target: '/a,b'}]", data("/a,b")),
        (
            "volumes: ['kept:/k:nocopy']",
            Mount { volume_nocopy: true, ..of(Type::Volume, "kept", "/k") },
        ),
        ("volumes: ['/anonymous']", of(Type::Volume, "", "/anonymous")),
        (
            "volumes: ['/s:/t:slave']",
            Mount { bind_propagation: "slave".into(), ..of(Type::Bind, "/s", "/t") },
        ),
        ("volumes: ['~/s:/t']", of(Type::Bind, "/s", "/t")),
        ("tmpfs: /run", of(Type::Tmpfs, "", "/run")),
        (
            "tmpfs: ['/run:size=64m,mode=1777,ro']",
            Mount {
                tmpfs_size_bytes: 64 << 20,
                tmpfs_mode: 0o1777,
                read_only: true,
                ..of(Type::Tmpfs, "", "/run")
            },
        ),
        (
            "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1024, mode: 01777}}]",
            Mount { tmpfs_size_bytes: 1024, tmpfs_mode: 0o1777, ..of(Type::Tmpfs, "", "/t") },
        ),
    ] {
        assert_eq!(container(lines).mounts, [want], "{lines}");
    }
}

#[test]
fn every_form_of_a_port_is_converted() {
    for (lines, want) in [
        ("ports: [80]", vec![(0, 80, "tcp", 0)]),
        ("ports: ['8080:80']", vec![(8080, 80, "tcp", 0)]),
        ("ports: ['8080-8081:80-81/udp']", vec![(8080, 80, "udp", 0), (8081, 81, "udp", 0)]),
        ("ports: [{target: 80, published: '8080', mode: host}]", vec![(8080, 80, "tcp", 1)]),
        ("ports: [{target: 80, published: 0, protocol: sctp}]", vec![(0, 80, "sctp", 0)]),
    ] {
        let ports = service(lines).endpoint.unwrap().ports;
        let shown: Vec<_> = ports
            .iter()
            .map(|p| (p.published, p.target, swarm_api::port::protocol_name(p.protocol()), p.mode))
            .collect();
        assert_eq!(shown, want, "{lines}");
    }
}

#[test]
fn references_have_names_targets_and_modes() {
    let shown = |lines: &str| {
        let container = container(lines);
        let secrets = container.secrets.into_iter().map(|s| (s.secret_name, s.file.unwrap()));
        let configs = container.configs.into_iter().map(|c| (c.config_name, c.file.unwrap()));
        let (name, file) = secrets.chain(configs).next().unwrap();
        format!("{name} {} {}:{} {:o}", file.name, file.uid, file.gid, file.mode)
    };
    for (lines, want) in [
        ("secrets: [key]", "key key 0:0 444"),
        ("configs: [conf]", "shop_conf conf 0:0 444"),
        ("configs: [{source: named, target: /etc/c}]", "real-conf /etc/c 0:0 444"),
        ("secrets: [{source: key, uid: '1', gid: 2, mode: 0400}]", "key key 1:2 400"),
        ("secrets: [{source: key, mode: 0o400}]", "key key 0:0 400"),
        ("secrets: [{source: key, mode: '440'}]", "key key 0:0 440"),
        ("secrets: [{source: key, mode: 288}]", "key key 0:0 440"),
    ] {
        assert_eq!(shown(lines), want, "{lines}");
    }
    let stack = load_text(&with_lines("secrets: [{source: key, mode: 440}]")).unwrap();
    assert_eq!(
        stack.warnings,
        ["<stdin>:4:35: services.web.secrets.mode: 440 is decimal, and is the octal 0670: \
             write 0440 for octal"]
    );
}

#[test]
fn the_process_is_as_the_file_says() {
    let spec = container(
        "entrypoint: sh -c 'a b'\ncommand: [x, \"y z\"]\nextra_hosts: {h: 1.2.3.4, six: '::1'}\n\
         ulimits: {nofile: 5}\nstop_grace_period: 1m30s\nenvironment: {B: 2, A: , TAG: , C: true}\n\
         sysctls: [a.b=1]\ninit: on",
    );
    assert_eq!(spec.command, ["sh", "-c", "a b"]);
    assert_eq!(spec.args, ["x", "y z"]);
    assert_eq!(spec.hosts, ["1.2.3.4 h", "::1 six"]);
    assert_eq!((spec.ulimits[0].soft, spec.ulimits[0].hard), (5, 5));
    assert_eq!(spec.stop_grace_period.unwrap().seconds, 90);
    assert_eq!(spec.env, ["A", "B=2", "C=true", "TAG=v9"]);
    assert_eq!(spec.sysctls["a.b"], "1");
    assert_eq!(spec.init, Some(true));
    let hosts = container("extra_hosts: ['a:1.2.3.4', 'b=::1', 'c:[::2]']").hosts;
    assert_eq!(hosts, ["1.2.3.4 a", "::1 b", "::2 c"]);
}

#[test]
fn a_health_check_is_a_command_a_text_or_none() {
    for (lines, want) in [
        ("healthcheck: {test: curl x}", vec!["CMD-SHELL", "curl x"]),
        ("healthcheck: {test: [CMD, curl, x]}", vec!["CMD", "curl", "x"]),
        ("healthcheck: {test: [NONE]}", vec!["NONE"]),
        ("healthcheck: {disable: true}", vec!["NONE"]),
        ("healthcheck: {interval: 1s}", vec![]),
    ] {
        assert_eq!(container(lines).healthcheck.unwrap().test, want, "{lines}");
    }
    assert!(
        errors("healthcheck: {test: a, disable: true}").ends_with("can't be set at the same time")
    );
    assert!(errors("healthcheck: {test: [curl, x]}").contains("want a text for the shell"));
}

/// `cap_add: [ALL, CAP_NET_ADMIN]` is a case of the format's conformance suite.
#[test]
fn capabilities_come_to_what_they_mean() {
    for (lines, add, drop) in [
        ("cap_add: [ALL, CAP_NET_ADMIN]", vec!["ALL"], vec![]),
        ("cap_add: [net_admin, CHOWN]", vec!["CAP_CHOWN", "CAP_NET_ADMIN"], vec![]),
        ("cap_add: [CHOWN]\ncap_drop: [chown, KILL]", vec!["CAP_CHOWN"], vec!["CAP_KILL"]),
        ("cap_drop: [KILL, ALL]", vec![], vec!["ALL"]),
    ] {
        let spec = container(lines);
        assert_eq!((spec.cap_add, spec.cap_drop), (as_strings(add), as_strings(drop)), "{lines}");
    }
}

fn as_strings(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

/// `restart: "no"` is a case of the format's conformance suite.
#[test]
fn restart_maps_as_docker_maps_it() {
    for (lines, want) in [
        ("", None),
        ("restart: 'no'", None),
        ("restart: always", Some((RestartCondition::Any, 0))),
        ("restart: unless-stopped", Some((RestartCondition::Any, 0))),
        ("restart: on-failure", Some((RestartCondition::OnFailure, 0))),
        ("restart: on-failure:3", Some((RestartCondition::OnFailure, 3))),
        (
            "restart: always\ndeploy: {restart_policy: {condition: none}}",
            Some((RestartCondition::None, 0)),
        ),
        ("deploy: {restart_policy: {max_attempts: 2}}", Some((RestartCondition::Any, 2))),
    ] {
        let policy = service(lines).task.unwrap().restart;
        assert_eq!(policy.map(|p| (p.condition(), p.max_attempts)), want, "{lines}");
    }
    let warned = load_text(&with_lines("restart: no")).unwrap().warnings;
    assert!(warned[0].contains("deploy.restart_policy.condition: none"), "{warned:?}");
}

#[test]
fn modes_and_replicas() {
    let replicas = |lines: &str| match service(lines).mode {
        Some(Mode::Replicated(mode)) => Some(mode.replicas),
        _ => None,
    };
    assert_eq!(replicas(""), Some(1));
    assert_eq!(replicas("deploy: {replicas: '3'}"), Some(3));
    assert_eq!(replicas("scale: 0"), Some(0));
    assert_eq!(replicas("deploy: {mode: global}"), None);
    assert!(errors("deploy: {mode: global, replicas: 2}").contains("only be used with replicated"));
    assert!(errors("scale: 2\ndeploy: {replicas: 3}").ends_with("keep one"));
}

#[test]
fn an_update_replaces_one_task_at_a_time_unless_told_otherwise() {
    let update = service("deploy: {update_config: {delay: 1s}}").update.unwrap();
    assert_eq!(update.parallelism, 1);
    let update = service("deploy: {update_config: {parallelism: 0}}").update.unwrap();
    assert_eq!(update.parallelism, 0);
    assert!(service("").update.is_none());
    assert!(
        errors("deploy: {rollback_config: {failure_action: rollback}}").contains("pause, continue")
    );
}

#[test]
fn the_demo_loads_without_a_problem() {
    let demo = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/demo/compose.yaml");
    let stack = load(&[Source::File(demo)], &BTreeMap::new(), "demo").unwrap();
    assert!(!stack.services.is_empty());
}
