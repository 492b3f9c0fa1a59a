//! What a deploy decides, on made-up clusters.

use swarm_api::{Annotations, ConfigSpec, NetworkSpec, SecretSpec, TaskSpec};
use swarm_compose::{NAMESPACE_LABEL, StackService};

use super::*;

fn annotations(name: &str) -> Option<Annotations> {
    let labels = BTreeMap::from([(NAMESPACE_LABEL.to_owned(), "shop".to_owned())]);
    Some(Annotations { name: name.into(), labels })
}

fn service_spec(name: &str) -> ServiceSpec {
    ServiceSpec {
        annotations: annotations(name),
        task: Some(TaskSpec::default()),
        ..ServiceSpec::default()
    }
}

fn stack() -> Stack {
    Stack {
        name: "shop".into(),
        networks: vec![StackNetwork {
            key: "back".into(),
            name: "shop_back".into(),
            external: false,
            spec: NetworkSpec { annotations: annotations("shop_back"), ..Default::default() },
        }],
        secrets: vec![StackSecret {
            key: "pw".into(),
            name: "shop_pw".into(),
            external: false,
            spec: SecretSpec { annotations: annotations("shop_pw"), data: b"x".to_vec() },
        }],
        configs: vec![StackConfig {
            key: "conf".into(),
            name: "shop_conf".into(),
            external: false,
            spec: ConfigSpec { annotations: annotations("shop_conf"), data: b"x".to_vec() },
        }],
        services: vec![StackService { key: "web".into(), spec: service_spec("shop_web") }],
        warnings: Vec::new(),
    }
}

#[test]
fn an_empty_cluster_gets_everything() {
    let (stack, existing) = (stack(), Existing::default());
    let plan = make(&stack, &existing, true).unwrap();
    assert_eq!((plan.networks.len(), plan.secrets.len(), plan.configs.len()), (1, 1, 1));
    let mut spec = service_spec("shop_web");
    assert_eq!(service(&mut spec, &existing, &Ids::default()), Action::Create);
}

#[test]
fn what_is_there_is_not_made_again() {
    let stack = stack();
    let existing = Existing {
        networks: vec![Network {
            spec: Some(stack.networks[0].spec.clone()),
            ..Default::default()
        }],
        configs: vec![Config { spec: Some(stack.configs[0].spec.clone()), ..Default::default() }],
        ..Existing::default()
    };
    let plan = make(&stack, &existing, false).unwrap();
    assert!(plan.networks.is_empty() && plan.configs.is_empty() && plan.known_configs.is_empty());
}

#[test]
fn everything_that_stands_in_the_way_is_said_at_once() {
    let mut stack = stack();
    stack.networks[0].external = true;
    stack.secrets[0].external = true;
    let mut other = stack.configs[0].spec.clone();
    other.data = b"y".to_vec();
    let mut foreign = service_spec("shop_web");
    foreign.annotations.as_mut().unwrap().labels.clear();
    let existing = Existing {
        configs: vec![Config { spec: Some(other), ..Default::default() }],
        services: vec![Service { spec: Some(foreign), ..Default::default() }],
        ..Existing::default()
    };
    let errors = make(&stack, &existing, false).unwrap_err().to_string();
    for expected in [
        "network \"shop_back\" is declared as external",
        "secret not found: shop_pw",
        "config shop_conf exists with other data",
        "service shop_web exists and does not belong to stack shop",
    ] {
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn only_services_of_the_stack_that_the_file_lacks_are_pruned() {
    let stack = stack();
    let service = |name: &str| Service { spec: Some(service_spec(name)), ..Default::default() };
    let mut foreign = service("other");
    foreign.spec.as_mut().unwrap().annotations.as_mut().unwrap().labels.clear();
    let existing = Existing {
        services: vec![service("shop_web"), service("shop_old"), foreign],
        ..Existing::default()
    };
    let names = |prune| -> Vec<String> {
        let plan = make(&stack, &existing, prune).unwrap();
        plan.prune.iter().map(|s| s.spec_name().to_owned()).collect()
    };
    assert_eq!(names(true), ["shop_old"]);
    assert!(names(false).is_empty());
}

#[test]
fn a_changed_service_is_updated_and_keeps_its_forced_replacements() {
    let mut stored = service_spec("shop_web");
    stored.task.as_mut().unwrap().force_update = 3;
    let existing = Existing {
        services: vec![Service { spec: Some(stored), ..Service::default() }],
        ..Existing::default()
    };
    let mut wanted = service_spec("shop_web");
    let action = service(&mut wanted, &existing, &Ids::default());
    assert!(matches!(action, Action::Update(_)));
    assert_eq!(wanted.task.unwrap().force_update, 3);
}
