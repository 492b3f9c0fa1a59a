//! An operator: creates, changes, scales and removes services through the managers' own door.

use std::sync::Arc;

use rand::RngExt;
use swarm_api::control_server::Control as _;
use swarm_api::service_spec::Mode;
use swarm_api::{
    Annotations, ContainerSpec, CreateServiceRequest, ListServicesRequest, RemoveServiceRequest,
    ReplicatedMode, Service, ServiceSpec, TaskSpec, UpdateServiceRequest,
};
use swarm_ca::Caller;
use swarm_manager::authorize::Gate;
use swarm_manager::control::Control;
use swarm_manager::quorum::Quorum;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::world::{CLUSTER, World};

const SERVICES: usize = 4;
const MOST_REPLICAS: u64 = 4;

/// Works until told to stop.
pub async fn run(world: Arc<World>, stop: CancellationToken) {
    let mut count = 0_u64;
    while !stop.is_cancelled() {
        let pause = world.millis(300..3000);
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        let Some((host, life)) = world.leader() else { continue };
        count += 1;
        let store = life.replica.store();
        let gate = Gate::new(store.clone(), CLUSTER.to_owned());
        let quorum = Quorum::Replicated(life.replica.clone());
        let control = Control::new(store, quorum, world.clock(host), gate);
        let act = life.died.run_until_cancelled(act(&world, &control, count));
        let words = match act.await {
            Some(Ok(words)) => words,
            Some(Err(status)) => format!("is refused: {}", status.message()),
            None => "hears nothing".to_owned(),
        };
        world.trace.note(format!("operator {words}"));
    }
}

fn ask<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller::Local);
    request
}

async fn act(world: &World, control: &Control, count: u64) -> Result<String, Status> {
    let (number, replicas, what) = world.draw(|random| {
        let number = random.random_range(0..SERVICES);
        (number, random.random_range(0..=MOST_REPLICAS), random.random_range(0..10))
    });
    let name = format!("s{number}");
    let list = control.list_services(ask(ListServicesRequest::default())).await?.into_inner();
    let named = |s: &&Service| {
        s.spec.as_ref().and_then(|spec| spec.annotations.as_ref()).is_some_and(|a| a.name == name)
    };
    let Some(service) = list.services.iter().find(named) else {
        let spec = Some(spec(&name, replicas, count));
        let request_id = format!("operator-{count}");
        control.create_service(ask(CreateServiceRequest { spec, request_id })).await?;
        return Ok(format!("creates {name} with {replicas}"));
    };
    if what == 0 {
        control.remove_service(ask(RemoveServiceRequest { service: name.clone() })).await?;
        return Ok(format!("removes {name}"));
    }
    let mut changed = service.spec.clone().unwrap_or_default();
    changed.mode = Some(Mode::Replicated(ReplicatedMode { replicas }));
    if what < 4
        && let Some(task) = changed.task.as_mut()
    {
        task.force_update += 1;
    }
    let version = service.meta.as_ref().and_then(|meta| meta.version);
    let service_id = service.id.clone();
    let request =
        UpdateServiceRequest { service_id, version, spec: Some(changed), rollback: false };
    control.update_service(ask(request)).await?;
    Ok(format!("changes {name} to {replicas}{}", if what < 4 { ", all new" } else { "" }))
}

fn spec(name: &str, replicas: u64, count: u64) -> ServiceSpec {
    let image = format!("app:{count}");
    let container = Some(ContainerSpec { image, ..ContainerSpec::default() });
    ServiceSpec {
        annotations: Some(Annotations { name: name.to_owned(), ..Annotations::default() }),
        task: Some(TaskSpec { container, ..TaskSpec::default() }),
        mode: Some(Mode::Replicated(ReplicatedMode { replicas })),
        ..ServiceSpec::default()
    }
}
