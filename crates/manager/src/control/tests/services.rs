//! Services at the door: what is stored, refused, rolled back and removed.

use super::*;

fn spec(name: &str) -> ServiceSpec {
    let container = ContainerSpec { image: "nginx".into(), ..ContainerSpec::default() };
    let task = TaskSpec { container: Some(container), ..TaskSpec::default() };
    ServiceSpec { annotations: annotations(name), task: Some(task), ..ServiceSpec::default() }
}

fn publishing(name: &str, published: u32, mode: PublishMode) -> ServiceSpec {
    let port = PortConfig { published, target: 80, mode: mode.into(), ..PortConfig::default() };
    let endpoint = EndpointSpec { ports: vec![port], ..EndpointSpec::default() };
    ServiceSpec { endpoint: Some(endpoint), ..spec(name) }
}

async fn make(door: &Door, spec: ServiceSpec) -> Result<Service, Refusal> {
    let request = CreateServiceRequest { spec: Some(spec), ..CreateServiceRequest::default() };
    Ok(service::create(door, request).await?.service.unwrap())
}

fn update_of(service: &Service, spec: ServiceSpec) -> UpdateServiceRequest {
    UpdateServiceRequest {
        service_id: service.id.clone(),
        version: service.meta.as_ref().unwrap().version,
        spec: Some(spec),
        rollback: false,
    }
}

#[tokio::test]
async fn a_retried_request_makes_one_service() {
    let door = door().await;
    let request = CreateServiceRequest { spec: Some(spec("web")), request_id: "r1".into() };
    let first = service::create(&door, request.clone()).await.unwrap();
    let second = service::create(&door, request).await.unwrap();
    assert_eq!(first, second);
    let refusal = make(&door, spec("web")).await.unwrap_err();
    assert_eq!(refusal.to_string(), "service web already exists");
}

#[tokio::test]
async fn names_in_a_spec_become_ids() {
    let door = door().await;
    let network = make_network(&door, "front", "").await.unwrap();
    let secret = make_secret(&door, "password").await;
    let mut wanted = spec("web");
    let task = wanted.task.as_mut().unwrap();
    let attach =
        |target: &str| NetworkAttachmentConfig { target: target.into(), ..Default::default() };
    task.networks = vec![attach("front"), attach("bridge")];
    let reference = SecretReference { secret_name: "password".into(), ..Default::default() };
    task.container.as_mut().unwrap().secrets.push(reference);
    let stored = make(&door, wanted.clone()).await.unwrap();
    let task = stored.spec.unwrap().task.unwrap();
    assert_eq!(task.networks[0].target, network.id);
    assert_eq!(task.networks[1].target, "bridge");
    let reference = &task.container.unwrap().secrets[0];
    assert_eq!(reference.secret_id, secret.id);
    assert_eq!(reference.file.as_ref().unwrap().mode, 0o444);

    let request = RemoveSecretRequest { secret: "password".into() };
    let refusal = secret::remove(&door, request).await.unwrap_err();
    assert_eq!(refusal.to_string(), "secret 'password' is in use by the following service(s): web");
    let request = RemoveNetworkRequest { network: "front".into() };
    let refusal = network::remove(&door, request).await.unwrap_err();
    assert!(refusal.to_string().contains("service(s): web"), "{refusal}");

    wanted.task.as_mut().unwrap().networks = vec![attach("nowhere")];
    let refusal = make(&door, wanted).await.unwrap_err();
    assert_eq!(refusal.to_string(), "network nowhere not found");
}

#[tokio::test]
async fn a_port_in_use_names_both_services() {
    let door = door().await;
    let web = make(&door, publishing("web", 8080, PublishMode::Ingress)).await.unwrap();
    for mode in [PublishMode::Ingress, PublishMode::Host] {
        let refusal = make(&door, publishing("api", 8080, mode)).await.unwrap_err();
        assert_eq!(
            refusal.to_string(),
            format!(
                "port '8080' of service 'api' is already in use by service 'web' ({}) as an \
                 ingress port",
                web.id
            )
        );
    }
    // The scheduler keeps two host-published ports apart.
    make(&door, publishing("a", 9000, PublishMode::Host)).await.unwrap();
    make(&door, publishing("b", 9000, PublishMode::Host)).await.unwrap();
}

#[tokio::test]
async fn an_update_keeps_the_previous_spec_and_a_rollback_swaps_them() {
    let door = door().await;
    let first = make(&door, spec("web")).await.unwrap();
    let mut wanted = first.spec.clone().unwrap();
    wanted.task.as_mut().unwrap().container.as_mut().unwrap().image = "nginx:2".into();
    let answer = service::update(&door, update_of(&first, wanted.clone())).await.unwrap();
    let second = answer.service.unwrap();
    assert_eq!(second.previous_spec, first.spec);
    assert_eq!(second.spec_version, first.version());
    let mut rollback = update_of(&second, wanted.clone());
    rollback.rollback = true;
    let third = service::update(&door, rollback).await.unwrap().service.unwrap();
    assert_eq!(
        (third.spec.clone(), third.previous_spec.clone()),
        (first.spec.clone(), Some(wanted))
    );
    assert_eq!(third.update_status.as_ref().unwrap().state(), UpdateState::RollbackStarted);
    let refusal = service::update(&door, update_of(&first, spec("web"))).await.unwrap_err();
    assert_eq!(Status::from(refusal).code(), tonic::Code::Aborted);
}

#[tokio::test]
async fn scaling_keeps_the_spec_version_of_the_template() {
    let door = door().await;
    let first = make(&door, spec("web")).await.unwrap();
    let mut wanted = first.spec.clone().unwrap();
    wanted.mode = Some(service_spec::Mode::Replicated(ReplicatedMode { replicas: 5 }));
    let second = service::update(&door, update_of(&first, wanted)).await.unwrap().service.unwrap();
    assert_eq!(second.spec_version, first.spec_version);
}

#[tokio::test]
async fn name_and_mode_of_a_service_never_change() {
    let door = door().await;
    let first = make(&door, spec("web")).await.unwrap();
    let refusal = service::update(&door, update_of(&first, spec("api"))).await.unwrap_err();
    assert!(refusal.to_string().contains("renaming services is not supported"), "{refusal}");
    let mut global = spec("web");
    global.mode = Some(service_spec::Mode::Global(GlobalMode {}));
    let refusal = service::update(&door, update_of(&first, global)).await.unwrap_err();
    assert!(refusal.to_string().contains("service mode change is not allowed"), "{refusal}");
}

#[tokio::test]
async fn a_removed_services_tasks_are_told_to_go_by_the_next_pass() {
    let door = door().await;
    let web = make(&door, spec("web")).await.unwrap();
    let task = Task {
        id: "t1".into(),
        service_id: web.id.clone(),
        desired_state: TaskState::Running.into(),
        status: Some(TaskStatus { state: TaskState::Running.into(), ..TaskStatus::default() }),
        ..Task::default()
    };
    door.write(|tx| Ok(tx.create(task.clone())?)).await.unwrap();
    let list = service::list(&door, ListServicesRequest::default()).await.unwrap();
    let counts = list.counts[&web.id];
    assert_eq!((counts.running, counts.desired), (1, 1));
    let request = RemoveServiceRequest { service: "web".into() };
    service::remove(&door, request).await.unwrap();
    let view = door.view().await.unwrap();
    assert!(view.get::<Service>(&web.id).is_none());
    let plan = crate::reconcile::pass(&view, 0, &mut id::random_id);
    assert_eq!(plan.changed[0].desired_state(), TaskState::Remove);
}

#[tokio::test]
async fn a_service_with_more_tasks_than_a_commit_holds_can_be_removed() {
    let door = door().await;
    let web = make(&door, spec("web")).await.unwrap();
    let node = Node { id: "w1".into(), ..Node::default() };
    door.write(|tx| Ok(tx.create(node.clone())?)).await.unwrap();
    let text = "x".repeat(1 << 20);
    for n in 0..6 {
        let state = TaskState::Running.into();
        let status = TaskStatus { state, message: text.clone(), ..TaskStatus::default() };
        let task = Task {
            id: format!("t{n}"),
            service_id: web.id.clone(),
            node_id: "w1".into(),
            status: Some(status),
            ..Task::default()
        };
        door.write(|tx| Ok(tx.create(task.clone())?)).await.unwrap();
    }
    service::remove(&door, RemoveServiceRequest { service: "web".into() }).await.unwrap();
    let mut passes = 0;
    let stays = |t: &&Task| t.desired_state() < TaskState::Remove;
    let left = || door.store.view().tasks_of_service(&web.id).filter(stays).count();
    while left() > 0 {
        let write = |tx: &mut Transaction| {
            let plan = crate::reconcile::pass(tx.view(), 0, &mut id::random_id);
            Ok(plan.apply(tx)?)
        };
        door.write(write).await.unwrap();
        passes += 1;
        assert!(passes < 20, "{} tasks are left", left());
    }
    assert!(passes > 1, "they do not fit into one commit");
}

#[tokio::test]
async fn what_a_running_update_may_return_to_is_in_use() {
    let door = door().await;
    let network = make_network(&door, "front", "").await.unwrap();
    make_secret(&door, "password").await;
    let mut wanted = spec("web");
    let task = wanted.task.as_mut().unwrap();
    let target = network.id.clone();
    task.networks.push(NetworkAttachmentConfig { target, ..Default::default() });
    let reference = SecretReference { secret_name: "password".into(), ..Default::default() };
    task.container.as_mut().unwrap().secrets.push(reference);
    let first = make(&door, wanted).await.unwrap();
    service::update(&door, update_of(&first, spec("web"))).await.unwrap();
    let set = async |state: UpdateState| {
        door.write(|tx| {
            let mut service = tx.view().get::<Service>(&first.id).cloned().unwrap();
            service.update_status =
                Some(UpdateStatus { state: state.into(), ..Default::default() });
            Ok(tx.update(service)?)
        })
        .await
        .unwrap();
    };
    let secret = || RemoveSecretRequest { secret: "password".into() };
    let network = || RemoveNetworkRequest { network: "front".into() };
    for state in [UpdateState::Updating, UpdateState::UpdatePaused] {
        set(state).await;
        let refusal = secret::remove(&door, secret()).await.unwrap_err();
        assert!(refusal.to_string().contains("service(s): web"), "{refusal}");
        let refusal = network::remove(&door, network()).await.unwrap_err();
        assert!(refusal.to_string().contains("service(s): web"), "{refusal}");
    }
    set(UpdateState::UpdateCompleted).await;
    secret::remove(&door, secret()).await.unwrap();
    network::remove(&door, network()).await.unwrap();
}
