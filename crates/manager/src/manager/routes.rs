//! All services of a manager in one place: which have a front that finds the leader, and which are this manager's own.

use std::sync::Arc;

use swarm_api::control_server::ControlServer;
use swarm_api::dispatcher_server::DispatcherServer;
use swarm_api::log_broker_server::LogBrokerServer;
use swarm_api::logs_server::LogsServer;
use swarm_api::node_ca_server::NodeCaServer;
use swarm_api::node_recovery_server::NodeRecoveryServer;
use swarm_api::raft_membership_server::RaftMembershipServer;
use swarm_api::raft_server::RaftServer;
use swarm_api::snapshots_server::SnapshotsServer;
use swarm_api::watch_server::WatchServer;
use tonic::service::Routes;

use super::Inner;
use crate::authorize::{Gate, Guard};
use crate::ca_service::{NodeCa, Recovery};
use crate::control::Control;
use crate::dispatcher_front::DispatcherService;
use crate::logs::{LogBrokerService, LogsService};
use crate::membership::MembershipService;
use crate::proxy::Front;
use crate::quorum::Quorum;
use crate::raft_service::{MAX_MESSAGE, RaftService};
use crate::snapshot_service::SnapshotService;
use crate::watch_service::WatchService;

/// Largest request that a client or agent may send, bytes: a config of 1,000 KiB or a batch of task statuses fits.
const MAX_REQUEST: usize = 8 << 20;

pub fn routes(inner: &Inner) -> Routes {
    let (store, clock) = (inner.replica.store(), &inner.clock);
    let gate = Gate::new(store.clone(), inner.credentials.identity().cluster_id.clone());
    let quorum = Quorum::Replicated(inner.replica.clone());
    let seats = &inner.seats;

    let raft = RaftServer::new(RaftService::new(inner.replica.clone(), gate.clone()))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let membership =
        MembershipService::new(store.clone(), quorum.clone(), clock.clone(), gate.clone());
    let control = Control::new(store.clone(), quorum.clone(), clock.clone(), gate.clone());
    let ca = Arc::new(NodeCa::new(store.clone(), clock.clone(), gate.clone()));
    let recovery = NodeRecoveryServer::new(Recovery(ca.clone()));
    let snapshots = SnapshotService::new(inner.replica.clone(), clock.clone(), gate.clone());
    let watch = WatchService::new(store, quorum.clone(), gate.clone());
    let dispatcher = DispatcherService::new(seats.clone(), gate.clone());
    let logs = LogsService::new(seats.clone(), quorum, gate.clone());
    let broker = LogBrokerService::new(seats.clone(), gate.clone());
    let front = Fronts { inner, gate };

    Routes::new(Guard::new(raft, front.gate.clone()))
        .add_service(Guard::new(recovery, front.gate.clone()))
        .add_service(front.of(RaftMembershipServer::new(membership)))
        .add_service(front.of(ControlServer::new(control).max_decoding_message_size(MAX_REQUEST)))
        .add_service(front.of(NodeCaServer::from_arc(ca)))
        .add_service(front.of(WatchServer::new(watch)))
        .add_service(front.of(SnapshotsServer::new(snapshots)))
        .add_service(
            front.of(DispatcherServer::new(dispatcher).max_decoding_message_size(MAX_REQUEST)),
        )
        .add_service(front.of(LogsServer::new(logs)))
        .add_service(front.of(LogBrokerServer::new(broker).max_decoding_message_size(MAX_REQUEST)))
        .prepare()
}

/// Puts services behind fronts of their own.
struct Fronts<'a> {
    inner: &'a Inner,
    gate: Gate,
}

impl Fronts<'_> {
    fn of<S>(&self, service: S) -> Front<S> {
        let Inner { seats, peers, obstacle, .. } = self.inner;
        Front::new(service, seats.clone(), self.gate.clone(), peers.clone(), obstacle.clone())
    }
}
