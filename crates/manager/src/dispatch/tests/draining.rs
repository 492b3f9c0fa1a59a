//! A task that is to stop waits until no node leads new connections to it.

use futures::FutureExt;
use swarm_api::{AwaitDrainedRequest, NetworksAppliedRequest};

use super::*;
use crate::reconcile::tests::publish;

/// A service with a published port, whose one task runs on `a`.
fn world() -> World {
    let mut world = World::new(&["a"]);
    world.service("web", 1, |spec| publish(spec, 80, 8080));
    world.live_on();
    world.node("b");
    world.rest();
    world
}

impl Term {
    async fn apply(&self, agent: &Agent, version: u64) {
        let session_id = agent.session.clone();
        let request = from(&agent.node, NetworksAppliedRequest { session_id, version });
        self.dispatcher.networks_applied(request).await.unwrap();
    }

    async fn drained(&self, agent: &Agent, network: &str) -> Result<(), Status> {
        let request = AwaitDrainedRequest {
            session_id: agent.session.clone(),
            service_id: "web".into(),
            network_ids: vec![network.into()],
        };
        self.dispatcher.await_drained(from(&agent.node, request)).await.map(drop)
    }
}

/// Version of the newest message.
async fn read(stream: &mut ReceiverStream<Result<AssignmentsMessage, Status>>) -> u64 {
    let mut version = stream.next().await.unwrap().unwrap().results_in;
    seconds(0.1).await;
    while let Some(Some(Ok(message))) = stream.next().now_or_never() {
        version = message.results_in;
    }
    version
}

#[tokio::test(start_paused = true)]
async fn a_task_is_drained_when_every_node_has_applied_that_it_is_to_stop() {
    let world = world();
    let term = lead(&world.store);
    let (a, b) = (term.open("a").await, term.open("b").await);
    let (mut to_a, mut to_b) = (term.assignments(&a).await, term.assignments(&b).await);
    term.apply(&a, read(&mut to_a).await).await;
    term.apply(&b, read(&mut to_b).await).await;
    // Nothing is under way: that costs no message.
    term.drained(&a, "ingress").await.unwrap();
    let task = world.store.view().tasks_of_service("web").next().unwrap().id.clone();
    world.edit::<Task>(&task, |t| t.set_desired_state(TaskState::Shutdown));
    let begun = tokio::time::Instant::now();
    let waiting = async {
        term.drained(&a, "ingress").await.unwrap();
        begun.elapsed()
    };
    let applying = async {
        term.apply(&a, read(&mut to_a).await).await;
        let version = read(&mut to_b).await;
        seconds(1.0).await;
        // An earlier version is no word about this change.
        term.apply(&b, version - 1).await;
        seconds(1.0).await;
        term.apply(&b, version).await;
    };
    let (waited, ()) = tokio::join!(waiting, applying);
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_or_elsewhere_is_not_waited_for() {
    let world = world();
    let term = lead(&world.store);
    let (a, b) = (term.open("a").await, term.open("b").await);
    let (mut to_a, _to_b) = (term.assignments(&a).await, term.assignments(&b).await);
    term.apply(&a, read(&mut to_a).await).await;
    // No node is on that network.
    term.drained(&a, "elsewhere").await.unwrap();
    let gone = async {
        seconds(1.0).await;
        // A new session of the node ends its old one.
        term.open("b").await
    };
    let (drained, silent, ()) = tokio::join!(term.drained(&a, "ingress"), gone, async {
        seconds(0.5).await;
        term.apply(&a, u64::MAX).await;
    });
    drained.unwrap();
    let _never_applied = term.assignments(&silent).await;
    let beating = async {
        loop {
            term.beat(&a).await.unwrap();
            term.beat(&silent).await.unwrap();
            seconds(1.0).await;
        }
    };
    tokio::select! {
        late = term.drained(&a, "ingress") => {
            let late = late.unwrap_err();
            assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
        }
        () = beating => {}
    }
}
