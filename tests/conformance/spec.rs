//! What the managers' door accepts of services, asked at the door itself, over a store without Raft.

use futures::executor::block_on;
use serde_json::{Value, json};
use swarm_api::control_server::Control as _;
use swarm_api::{
    Annotations, Cluster, ClusterSpec, ContainerSpec, CreateServiceRequest, EndpointMode,
    EndpointSpec, FileTarget, Mount, Network, NetworkSpec, PortConfig, PublishMode, Resources,
    RestartPolicy, Secret, SecretReference, SecretSpec, ServiceSpec, UpdateConfig, mount, port,
};
use swarm_ca::Caller;
use swarm_manager::authorize::Gate;
use swarm_manager::clock::Clock;
use swarm_manager::control::Control;
use swarm_manager::quorum::{self, Quorum};
use swarm_raft_store::{Store, StoreError};
use tonic::{Code, Request, Status};

use crate::case::{Answer, Case};

pub fn answer(case: &Case) -> Answer {
    match case.op.as_str() {
        "service.spec_valid" => sound(&case.input).unwrap_or(Answer::Unknown),
        "raft.tolerates" => tolerated(&case.input).unwrap_or(Answer::Unknown),
        _ => Answer::Unknown,
    }
}

fn tolerated(input: &Value) -> Option<Answer> {
    let managers = usize::try_from(input.get("managers")?.as_u64()?).ok()?;
    Some(Answer::Is(json!({"failures": quorum::tolerated_failures(managers)})))
}

/// A door of a new cluster with the secrets `A` and `B`.
fn door() -> Option<Control> {
    let store = Store::standalone();
    let made = store.transact(0, |tx| {
        tx.create(Cluster {
            id: "cluster".into(),
            spec: Some(ClusterSpec { annotations: named("default"), ..ClusterSpec::default() }),
            ..Cluster::default()
        })?;
        let ingress =
            NetworkSpec { annotations: named("ingress"), ingress: true, ..NetworkSpec::default() };
        tx.create(Network { id: "ingress".into(), spec: Some(ingress), ..Network::default() })?;
        for name in ["A", "B"] {
            let spec = SecretSpec { annotations: named(name), data: b"x".to_vec() };
            tx.create(Secret { id: name.into(), spec: Some(spec), ..Secret::default() })?;
        }
        Ok::<_, StoreError>(())
    });
    block_on(made).ok()?;
    let gate = Gate::new(store.clone(), "cluster".into());
    Some(Control::new(store, Quorum::Standalone, Clock::system(), gate))
}

/// Annotations with this name.
pub fn named(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), ..Annotations::default() })
}

fn create(door: &Control, spec: ServiceSpec) -> Result<(), Status> {
    let mut request =
        Request::new(CreateServiceRequest { spec: Some(spec), ..CreateServiceRequest::default() });
    request.extensions_mut().insert(Caller::Local);
    block_on(door.create_service(request)).map(|_| ())
}

fn told(result: Result<(), Status>) -> Answer {
    match result {
        Ok(()) => Answer::Is(json!({"ok": true})),
        Err(status) => {
            let http = match status.code() {
                Code::InvalidArgument => 400,
                Code::NotFound => 404,
                Code::AlreadyExists | Code::FailedPrecondition => 409,
                Code::Unimplemented => 501,
                _ => 500,
            };
            Answer::refused(status.message()).with("http_status", http)
        }
    }
}

/// A port, with the keys of the incumbent's specs or of the cases' own.
pub fn port_of(given: &Value) -> Option<PortConfig> {
    let number =
        |key: &str| given.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let mut port = PortConfig {
        target: number("target").or(number("TargetPort")).unwrap_or(0),
        published: number("published").or(number("PublishedPort")).unwrap_or(0),
        ..PortConfig::default()
    };
    let text = |keys: [&str; 2]| keys.iter().find_map(|key| given.get(*key)?.as_str());
    if let Some(protocol) = text(["protocol", "Protocol"]) {
        port.set_protocol(port::parse_protocol(protocol).ok()?);
    }
    port.set_mode(match text(["mode", "PublishMode"]) {
        Some("host") => PublishMode::Host,
        Some("ingress") | None => PublishMode::Ingress,
        Some(_) => return None,
    });
    Some(port)
}

/// A service with no more than it needs.
pub fn minimal(name: &str) -> ServiceSpec {
    let mut spec = ServiceSpec { annotations: named(name), ..ServiceSpec::default() };
    spec.task.get_or_insert_default().container =
        Some(ContainerSpec { image: "img".into(), ..ContainerSpec::default() });
    spec
}

/// The members of the incumbent's service spec that cases use; `None` if there is another.
fn sound(input: &Value) -> Option<Answer> {
    let mut spec = minimal("case");
    for (key, value) in input.as_object()? {
        match key.as_str() {
            "Name" => spec.annotations = named(value.as_str()?),
            "Resources" => {
                let resources = spec.task.get_or_insert_default().resources.get_or_insert_default();
                resources.limits = value.get("Limits").map(amounts);
                resources.reservations = value.get("Reservations").map(amounts);
            }
            "UpdateConfig" => spec.update = Some(update(value)),
            "RollbackConfig" => spec.rollback = Some(update(value)),
            "RestartPolicy" => spec.task.get_or_insert_default().restart = Some(restart(value)),
            "EndpointSpec" => spec.endpoint = Some(endpoint(value)?),
            "ContainerSpec" => {
                spec.task.get_or_insert_default().container = Some(container(value)?)
            }
            _ => return None,
        }
    }
    Some(told(create(&door()?, spec)))
}

fn integer(given: &Value, key: &str) -> i64 {
    given.get(key).and_then(Value::as_i64).unwrap_or(0)
}

fn amounts(given: &Value) -> Resources {
    Resources {
        nano_cpus: integer(given, "NanoCPUs"),
        memory_bytes: integer(given, "MemoryBytes"),
        pids: integer(given, "Pids"),
        ..Resources::default()
    }
}

fn nanos(given: &Value, key: &str) -> Option<prost_types::Duration> {
    let nanos = given.get(key)?.as_i64()?;
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    Some(prost_types::Duration { seconds, nanos: i32::try_from(rest).ok()? })
}

fn update(given: &Value) -> UpdateConfig {
    UpdateConfig {
        parallelism: given.get("Parallelism").and_then(Value::as_u64).unwrap_or(0),
        delay: nanos(given, "Delay"),
        monitor: nanos(given, "Monitor"),
        max_failure_ratio: given.get("MaxFailureRatio").and_then(Value::as_f64).unwrap_or(0.0)
            as f32,
        ..UpdateConfig::default()
    }
}

fn restart(given: &Value) -> RestartPolicy {
    RestartPolicy {
        delay: nanos(given, "Delay"),
        window: nanos(given, "Window"),
        ..RestartPolicy::default()
    }
}

fn endpoint(given: &Value) -> Option<EndpointSpec> {
    let mut endpoint = EndpointSpec::default();
    endpoint.set_mode(match given.get("Mode").and_then(Value::as_str) {
        Some("dnsrr") => EndpointMode::Dnsrr,
        Some("vip") | None => EndpointMode::Vip,
        Some(_) => return None,
    });
    let ports = given.get("Ports").and_then(Value::as_array).into_iter().flatten();
    endpoint.ports = ports.map(port_of).collect::<Option<_>>()?;
    Some(endpoint)
}

fn container(given: &Value) -> Option<ContainerSpec> {
    let text = |from: &Value, key: &str| {
        from.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let list = |key: &str| given.get(key).and_then(Value::as_array).into_iter().flatten();
    let mount = |from: &Value| {
        let kind = match text(from, "Type").as_str() {
            "bind" => mount::Type::Bind,
            "tmpfs" => mount::Type::Tmpfs,
            "volume" | "" => mount::Type::Volume,
            _ => return None,
        };
        let (source, target) = (text(from, "Source"), text(from, "Target"));
        Some(Mount { r#type: kind.into(), source, target, ..Mount::default() })
    };
    let secret = |from: &Value| SecretReference {
        secret_id: text(from, "id"),
        secret_name: text(from, "id"),
        file: Some(FileTarget { name: text(from, "File"), ..FileTarget::default() }),
    };
    Some(ContainerSpec {
        image: text(given, "Image"),
        mounts: list("Mounts").map(mount).collect::<Option<_>>()?,
        secrets: list("Secrets").map(secret).collect(),
        ..ContainerSpec::default()
    })
}
