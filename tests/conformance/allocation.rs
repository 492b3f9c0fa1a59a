//! Published ports: which service gets what it asks for, as the passes hand them out.

use futures::executor::block_on;
use serde_json::{Value, json};
use swarm_api::{Cluster, ClusterSpec, Network, NetworkSpec, Service, ServiceSpec, Task};
use swarm_manager::reconcile::pass;
use swarm_raft_store::{Store, StoreError};

use crate::case::{Answer, Case};
use crate::spec::{minimal, named, port_of};

/// Any moment will do.
const NOW: i64 = 1_000_000_000;
/// Passes after which all is handed out.
const PASSES: usize = 5;
const NEW: &str = "new";

pub fn answer(case: &Case) -> Answer {
    match case.op.as_str() {
        "ports.alloc" => allocated(case).unwrap_or(Answer::Unknown),
        _ => Answer::Unknown,
    }
}

fn allocated(case: &Case) -> Option<Answer> {
    let store = Store::standalone();
    block_on(store.transact(NOW, found)).ok()?;
    for (number, held) in case.input.get("existing")?.as_array()?.iter().enumerate() {
        let name = held.get("service").and_then(Value::as_str).unwrap_or("other");
        // Entries of one service are services of their own: all that matters is that they are others than the new one.
        let mut spec = minimal(&format!("{name}-{number}"));
        spec.endpoint.get_or_insert_default().ports.push(port_of(held)?);
        add(&store, &format!("old-{number}"), spec)?;
    }
    let mut spec = minimal(case.text("service")?);
    let ports: Option<Vec<_>> =
        case.input.get("publish")?.as_array()?.iter().map(port_of).collect();
    spec.endpoint.get_or_insert_default().ports = ports?;
    add(&store, NEW, spec)?;
    let view = store.view();
    let given = view.get::<Service>(NEW)?.endpoint.as_ref().map_or(&[][..], |e| &e.ports);
    if !given.is_empty() {
        let given: Vec<u32> = given.iter().map(|port| port.published).collect();
        return Some(Answer::Is(json!({"ok": true, "published": given})));
    }
    let why = view.tasks_of_service(NEW).find_map(message).unwrap_or("no port was given");
    Some(Answer::refused(why))
}

fn found(tx: &mut swarm_raft_store::Transaction) -> Result<(), StoreError> {
    let spec = ClusterSpec { annotations: named("default"), ..ClusterSpec::default() };
    tx.create(Cluster { id: "cluster".into(), spec: Some(spec), ..Cluster::default() })?;
    let spec = NetworkSpec {
        annotations: named("ingress"),
        driver: "overlay".into(),
        ingress: true,
        ..NetworkSpec::default()
    };
    tx.create(Network { id: "ingress".into(), spec: Some(spec), ..Network::default() })
}

/// Adds a service and hands out what it needs.
fn add(store: &Store, id: &str, spec: ServiceSpec) -> Option<()> {
    let service =
        Service { id: id.to_owned(), spec: Some(spec), spec_version: 1, ..Service::default() };
    block_on(store.transact(NOW, |tx| tx.create(service.clone()))).ok()?;
    let mut made = 0;
    for _ in 0..PASSES {
        let decided = store.transact(NOW, |tx| {
            let mut ids = || {
                made += 1;
                format!("{id}-{made}")
            };
            pass(tx.view(), NOW, &mut ids).apply(tx).map(|_| ())
        });
        block_on(decided).ok()?;
    }
    Some(())
}

fn message(task: &Task) -> Option<&str> {
    task.status.as_ref().map(|status| status.message.as_str()).filter(|text| !text.is_empty())
}
