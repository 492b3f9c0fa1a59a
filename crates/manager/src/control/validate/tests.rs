use swarm_api::mount::Type;

use super::*;

fn spec() -> ServiceSpec {
    let annotations = Annotations { name: "web".into(), ..Annotations::default() };
    let container = ContainerSpec { image: "nginx:1".into(), ..ContainerSpec::default() };
    let task = TaskSpec { container: Some(container), ..TaskSpec::default() };
    ServiceSpec { annotations: Some(annotations), task: Some(task), ..ServiceSpec::default() }
}

fn refused(change: impl FnOnce(&mut ServiceSpec)) -> String {
    let mut spec = spec();
    change(&mut spec);
    service(spec).unwrap_err().to_string()
}

fn container(spec: &mut ServiceSpec) -> &mut ContainerSpec {
    spec.task.as_mut().unwrap().container.as_mut().unwrap()
}

fn ports(spec: &mut ServiceSpec, mode: EndpointMode, ports: Vec<PortConfig>) {
    spec.endpoint = Some(EndpointSpec { mode: mode.into(), ports, ..EndpointSpec::default() });
}

fn port(published: u32) -> PortConfig {
    PortConfig { published, target: 80, ..PortConfig::default() }
}

#[test]
fn what_is_left_open_is_filled_in_once() {
    let filled = service(spec()).unwrap();
    assert_eq!(filled.mode, Some(service_spec::Mode::Replicated(ReplicatedMode { replicas: 1 })));
    assert_eq!(filled.update.as_ref().unwrap().parallelism, 1);
    let restart = filled.task.as_ref().unwrap().restart.as_ref().unwrap();
    assert_eq!(restart.delay.as_ref().unwrap().seconds, 5);
    assert_eq!(service(filled.clone()).unwrap(), filled);
}

#[test]
fn a_name_that_is_no_dns_label_is_refused() {
    let text = refused(|s| s.annotations.as_mut().unwrap().name = "a b".into());
    assert!(text.contains("DNS name component"), "{text}");
}

#[test]
fn resources_below_the_minimum_are_refused() {
    let limits = |limits| {
        refused(move |s| {
            let resources = ResourceRequirements { limits: Some(limits), reservations: None };
            s.task.as_mut().unwrap().resources = Some(resources);
        })
    };
    let text = limits(Resources { memory_bytes: 1 << 20, ..Resources::default() });
    assert_eq!(text, "service web: invalid memory value 1048576: must be at least 4MiB");
    let text = limits(Resources { memory_bytes: (4 << 20) - 1, ..Resources::default() });
    assert!(text.contains("must be at least 4MiB"), "{text}");
    let text = limits(Resources { nano_cpus: 1, ..Resources::default() });
    assert!(text.contains("must be at least 0.001"), "{text}");
}

#[test]
fn two_mounts_on_one_point_are_refused() {
    let mount = |target: &str| Mount {
        target: target.into(),
        r#type: Type::Tmpfs.into(),
        ..Mount::default()
    };
    let text = refused(|s| container(s).mounts = vec![mount("/data"), mount("/data/")]);
    assert!(text.contains("ContainerSpec: duplicate mount point: /data/"), "{text}");
}

#[test]
fn a_secret_and_a_config_cannot_share_a_target() {
    let file = || Some(FileTarget { name: "/etc/x".into(), mode: 0o400, ..FileTarget::default() });
    let text = refused(|s| {
        let secret =
            SecretReference { secret_name: "a".into(), file: file(), ..Default::default() };
        let config =
            ConfigReference { config_name: "b".into(), file: file(), ..Default::default() };
        container(s).secrets.push(secret);
        container(s).configs.push(config);
    });
    assert!(text.contains("duplicate config target for b not allowed"), "{text}");
}

#[test]
fn ingress_ports_need_a_virtual_ip() {
    let text = refused(|s| ports(s, EndpointMode::Dnsrr, vec![port(8080)]));
    assert!(text.contains("can't be used with dnsrr mode"), "{text}");
    let text = refused(|s| ports(s, EndpointMode::Vip, vec![port(8080), port(8080)]));
    assert!(text.contains("duplicate published ports provided: 8080"), "{text}");
}

#[test]
fn a_constraint_that_does_not_parse_is_refused() {
    let text = refused(|s| {
        let constraints = vec!["node.role=manager".to_owned()];
        let placement = Placement { constraints, ..Placement::default() };
        s.task.as_mut().unwrap().placement = Some(placement);
    });
    assert!(text.contains("expected one operator from ==, !="), "{text}");
}

#[test]
fn an_image_that_does_not_parse_is_refused() {
    assert!(refused(|s| container(s).image = "Web".into()).contains("lowercase"));
    assert!(refused(|s| container(s).image = String::new()).contains("invalid image reference"));
}

fn assert_refused(want: &str, change: impl FnOnce(&mut ServiceSpec)) {
    let text = refused(change);
    assert!(text.contains(want), "want {want:?} in: {text}");
}

#[test]
fn what_no_node_carries_out_is_refused() {
    assert_refused("a terminal (tty) is not built yet", |s| container(s).tty = true);
    assert_refused("open stdin is not built yet", |s| container(s).open_stdin = true);
    let mount = || Mount { target: "/d".into(), ..Mount::default() };
    for propagation in ["shared", "rshared", "sideways"] {
        assert_refused("bind propagation", |s| {
            container(s).mounts.push(Mount {
                r#type: Type::Bind.into(),
                source: "/d".into(),
                bind_propagation: propagation.into(),
                ..mount()
            });
        });
    }
    for source in ["", "data", "{{.Task.Slot}}"] {
        assert_refused("driver nfs is not built yet", |s| {
            let source = source.into();
            container(s).mounts.push(Mount { source, volume_driver: "nfs".into(), ..mount() });
        });
        assert_refused("driver option o=bind is not built yet", |s| {
            let volume_driver_opts = [("o".to_owned(), "bind".to_owned())].into();
            let source = source.into();
            container(s).mounts.push(Mount { source, volume_driver_opts, ..mount() });
        });
    }
}

#[test]
fn names_that_no_kernel_knows_are_refused() {
    assert_refused("unknown stop signal \"SIGFOO\"", |s| {
        container(s).stop_signal = "SIGFOO".into();
    });
    assert_refused("unknown capability \"FLY\"", |s| container(s).cap_add.push("FLY".into()));
    assert_refused("unknown capability \"FLY\"", |s| container(s).cap_drop.push("FLY".into()));
    assert_refused("unknown ulimit \"files\"", |s| {
        container(s).ulimits.push(Ulimit { name: "files".into(), soft: 1, hard: 2 });
    });
    for line in ["10.0.0.1\tdb", "10.0.0.1  db", "10.0.0.1 ", "db 10.0.0.1", "10.0.0.1"] {
        assert_refused("want \"IP NAME\"", |s| container(s).hosts.push(line.into()));
    }
    assert_refused("invalid template", |s| container(s).hostname = "{{.Task.Slot".into());
    assert_refused("want a number", |s| {
        let file = Some(FileTarget { uid: "root".into(), mode: 0o400, ..FileTarget::default() });
        let secret = SecretReference { secret_name: "a".into(), file, ..Default::default() };
        container(s).secrets.push(secret);
    });
    let mut sound = spec();
    let container = container(&mut sound);
    container.stop_signal = "SIGRTMIN+3".into();
    container.cap_add = vec!["net_admin".into(), "ALL".into()];
    container.hosts = vec!["10.0.0.1 db".into(), "::1 a b".into()];
    container.ulimits.push(Ulimit { name: "nofile".into(), soft: 1, hard: 2 });
    service(sound).unwrap();
}

#[test]
fn log_options_are_those_that_nodes_know() {
    let driver = |key: &str, value: &str| {
        let options = [(key.to_owned(), value.to_owned())].into();
        let driver = LogDriver { name: "json-file".into(), options };
        let mut spec = spec();
        spec.task.as_mut().unwrap().log_driver = Some(driver);
        service(spec).map(drop).map_err(|r| r.to_string())
    };
    for (key, value) in [("max-size", "10m"), ("max-file", "3")] {
        driver(key, value).unwrap();
    }
    for (key, value) in [("max-size", "much"), ("max-size", "0"), ("max-file", "0")] {
        assert!(driver(key, value).unwrap_err().contains("invalid log option"), "{key}={value}");
    }
    assert_eq!(
        driver("compress", "true").unwrap_err(),
        "log option compress is not built yet: max-size and max-file are"
    );
}

#[test]
fn the_hosts_network_stands_alone_and_publishes_nothing_on_every_node() {
    let attach = |s: &mut ServiceSpec, names: &[&str]| {
        let attach = |target: &&str| NetworkAttachmentConfig {
            target: (*target).into(),
            ..NetworkAttachmentConfig::default()
        };
        s.task.as_mut().unwrap().networks = names.iter().map(attach).collect();
    };
    for names in [["host", "app"], ["app", "host"], ["none", "bridge"]] {
        assert_refused("cannot be combined with network", |s| attach(s, &names));
    }
    assert_refused("cannot publish ports in ingress mode", |s| {
        attach(s, &["host"]);
        ports(s, EndpointMode::Vip, vec![port(8080)]);
    });
    assert_refused("driver option a=b of a service's network is not built yet", |s| {
        attach(s, &["app"]);
        let networks = &mut s.task.as_mut().unwrap().networks;
        networks[0].driver_opts.insert("a".into(), "b".into());
    });
    let mut sound = spec();
    attach(&mut sound, &["host"]);
    ports(
        &mut sound,
        EndpointMode::Vip,
        vec![PortConfig { mode: PublishMode::Host.into(), ..port(8080) }],
    );
    service(sound).unwrap();
}

#[test]
fn what_is_asked_of_ports_and_virtual_addresses_is_refused_where_it_cannot_be() {
    let endpoint = |port: PortConfig, change: fn(&mut EndpointSpec)| {
        move |s: &mut ServiceSpec| {
            let mut endpoint = EndpointSpec { ports: vec![port], ..EndpointSpec::default() };
            change(&mut endpoint);
            s.endpoint = Some(endpoint);
        }
    };
    let sctp = PortConfig { protocol: Protocol::Sctp.into(), ..port(80) };
    assert_refused("sctp ports is not built", endpoint(sctp, |_| {}));
    let v6 = PortConfig { host_ip: "::1".into(), ..port(80) };
    assert_refused("::1", endpoint(v6, |_| {}));
    let name = PortConfig { host_ip: "localhost".into(), ..port(80) };
    assert_refused("invalid host address \"localhost\"", endpoint(name, |_| {}));
    let both = PortConfig { local: true, mode: PublishMode::Host.into(), ..port(80) };
    assert_refused("mode host or local", endpoint(both, |_| {}));
    let idle = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    for wrong in [-1, 0, 432_001] {
        assert_refused("idle timeout must be whole seconds from 1s to 120h", |s| {
            s.endpoint.get_or_insert_default().idle_timeout = idle(wrong);
        });
    }
    assert_refused("can't be used with dnsrr mode", |s| {
        let endpoint = s.endpoint.get_or_insert_default();
        endpoint.set_mode(EndpointMode::Dnsrr);
        endpoint.set_lb_policy(LbPolicy::SourceHash);
    });
    let overlapping = PortConfig { host_ip: "127.0.0.1".into(), ..port(80) };
    assert_refused("duplicate published ports provided: 80", |s| {
        s.endpoint.get_or_insert_default().ports = vec![port(80), overlapping];
    });
}
