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
    spec.endpoint = Some(EndpointSpec { mode: mode.into(), ports });
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
