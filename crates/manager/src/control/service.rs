//! Services: created, changed, rolled back and removed. Their tasks follow in `reconcile`.

use swarm_api::object::Stored;
use swarm_api::time::timestamp;
use swarm_api::*;
use swarm_raft_store::{Transaction, View};

use super::{Door, filter, material::expect_version, ports, resolve, validate};
use crate::object_id;
use crate::refusal::Refusal;

pub async fn create(
    door: &Door,
    request: CreateServiceRequest,
) -> Result<CreateServiceResponse, Refusal> {
    let spec = validate::service(required(request.spec)?)?;
    let id = object_id::of_request(&request.request_id);
    door.write_once(|tx| {
        if tx.view().get::<Service>(&id).is_some() {
            return Ok(());
        }
        let spec = admitted(tx.view(), &id, &spec)?;
        let service = Service { id: id.clone(), spec: Some(spec), ..Service::default() };
        Ok(tx.create(service)?)
    })
    .await?;
    Ok(CreateServiceResponse { service: Some(door.written(&id)?), warnings: Vec::new() })
}

pub async fn list(
    door: &Door,
    request: ListServicesRequest,
) -> Result<ListServicesResponse, Refusal> {
    let view = door.view().await?;
    let shown = |service: &&Service| {
        filter::passes(request.filters.as_ref(), *service, &[service.name()])
            && (request.modes.is_empty() || request.modes.iter().any(|m| m == mode(service)))
    };
    let services: Vec<Service> = view.all::<Service>().filter(shown).cloned().collect();
    let counts = services.iter().map(|s| (s.id.clone(), counts(&view, s))).collect();
    Ok(ListServicesResponse { services, counts })
}

pub async fn get(door: &Door, request: GetServiceRequest) -> Result<GetServiceResponse, Refusal> {
    let view = door.view().await?;
    let service = view.resolve::<Service>(&request.service)?;
    let counts = Some(counts(&view, service));
    Ok(GetServiceResponse { service: Some(service.clone()), counts })
}

pub async fn update(
    door: &Door,
    request: UpdateServiceRequest,
) -> Result<UpdateServiceResponse, Refusal> {
    let spec = match request.rollback {
        true => None,
        false => Some(validate::service(required(request.spec)?)?),
    };
    let now = door.clock.now();
    let service = door
        .change(&request.service_id, |tx| {
            let stored = tx.view().resolve::<Service>(&request.service_id)?.clone();
            let id = stored.id.clone();
            let mut changed = match &spec {
                Some(spec) => changed(tx, stored, spec)?,
                None => rolled_back(tx, stored, now)?,
            };
            expect_version(&mut changed, request.version);
            tx.update(changed)?;
            Ok(id)
        })
        .await?;
    Ok(UpdateServiceResponse { service: Some(service), warnings: Vec::new() })
}

/// Its tasks follow: a pass looks at them at once, and tells them to go in as many commits as it takes.
pub async fn remove(
    door: &Door,
    request: RemoveServiceRequest,
) -> Result<RemoveServiceResponse, Refusal> {
    door.write_once(|tx| {
        let id = tx.view().resolve::<Service>(&request.service)?.id.clone();
        Ok(tx.remove::<Service>(&id)?)
    })
    .await?;
    Ok(RemoveServiceResponse {})
}

fn required(spec: Option<ServiceSpec>) -> Result<ServiceSpec, Refusal> {
    spec.ok_or_else(|| Refusal::Invalid("a service needs a spec".into()))
}

/// The spec with ids for names, if nothing in the swarm conflicts with it.
fn admitted(view: &View, id: &str, spec: &ServiceSpec) -> Result<ServiceSpec, Refusal> {
    let spec = resolve::service(view, spec.clone())?;
    ports::refuse_conflicts(view, id, &spec)?;
    Ok(spec)
}

fn changed(tx: &Transaction, mut service: Service, spec: &ServiceSpec) -> Result<Service, Refusal> {
    let spec = admitted(tx.view(), &service.id, spec)?;
    let name = spec.annotations.as_ref().map_or("", |a| &a.name);
    if name != service.name() {
        return Err(Refusal::NotBuilt(format!(
            "renaming services is not supported (service {} to {name})",
            service.name()
        )));
    }
    let wanted = Service { spec: Some(spec.clone()), ..Service::default() };
    if mode(&wanted) != mode(&service) {
        return Err(Refusal::NotBuilt(format!(
            "service mode change is not allowed (service {} is {})",
            service.name(),
            mode(&service)
        )));
    }
    service.previous_spec_version = service.spec_version;
    if template(&spec) != service.spec.as_ref().and_then(template) {
        service.spec_version = service.version();
    }
    service.previous_spec = service.spec.replace(spec);
    service.update_status = None;
    Ok(service)
}

/// Spec and previous spec change places, so two rollbacks are none.
fn rolled_back(
    tx: &Transaction,
    mut service: Service,
    now: std::time::SystemTime,
) -> Result<Service, Refusal> {
    let Some(previous) = service.previous_spec.take() else {
        let text = format!("service {} does not have a previous spec", service.name());
        return Err(Refusal::Conflict(text));
    };
    // What it names may have been removed, and its ports taken, since.
    let previous = admitted(tx.view(), &service.id, &previous)?;
    service.previous_spec_version = service.spec_version;
    service.spec_version = service.version();
    service.previous_spec = service.spec.replace(previous);
    service.update_status = Some(UpdateStatus {
        state: UpdateState::RollbackStarted.into(),
        started_at: Some(timestamp(now)),
        completed_at: None,
        message: "manually requested rollback".into(),
    });
    Ok(service)
}

/// What its tasks are made from: a change replaces them.
fn template(spec: &ServiceSpec) -> Option<(&TaskSpec, Option<&EndpointSpec>)> {
    Some((spec.task.as_ref()?, spec.endpoint.as_ref()))
}

fn mode(service: &Service) -> &'static str {
    match service.spec.as_ref().and_then(|s| s.mode.as_ref()) {
        Some(service_spec::Mode::Global(_)) => "global",
        _ => "replicated",
    }
}

/// A task counts as running while it is meant to run, runs, and its node is there.
fn counts(view: &View, service: &Service) -> ServiceCounts {
    let mut counts = ServiceCounts::default();
    for task in view.tasks_of_service(&service.id) {
        let wanted = task.desired_state() <= TaskState::Running;
        match task.state() {
            TaskState::Running if wanted && is_up(view, &task.node_id) => counts.running += 1,
            TaskState::Complete => counts.completed += 1,
            _ => {}
        }
        if wanted && !task.is_terminal() {
            counts.desired += 1;
        }
    }
    if let Some(service_spec::Mode::Replicated(replicated)) =
        service.spec.as_ref().and_then(|s| s.mode.as_ref())
    {
        counts.desired = replicated.replicas;
    }
    counts
}

fn is_up(view: &View, node_id: &str) -> bool {
    view.get::<Node>(node_id).is_none_or(|node| !node.is_down())
}
