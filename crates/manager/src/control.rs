//! The door: what users ask of the swarm, one file per noun and one function per verb.
//!
//! Here requests are defaulted, validated, resolved from names to ids and, inside the writing transaction, checked for
//! conflicts, once and for all: no pass has to doubt a stored spec. Reads are linearizable. Nothing is carried out
//! here: the passes of `reconcile` do that.

use swarm_api::object::Stored;
use swarm_api::*;
use swarm_raft_store::{Store, Transaction, View};
use tonic::{Request, Response, Status};

use crate::authorize::{Audience, Gate};
use crate::clock::Clock;
use crate::quorum::Quorum;
use crate::refusal::Refusal;

mod cluster;
mod config;
mod filter;
mod keys;
mod material;
mod network;
mod node;
mod ports;
pub(crate) mod redact;
mod resolve;
mod root_ca;
mod secret;
mod service;
mod task;
mod validate;

/// What every verb works with.
pub(crate) struct Door {
    store: Store,
    quorum: Quorum,
    clock: Clock,
}

impl Door {
    pub(crate) fn new(store: Store, quorum: Quorum, clock: Clock) -> Self {
        Self { store, quorum, clock }
    }

    /// A view that shows every write acknowledged before now.
    async fn view(&self) -> Result<View, Refusal> {
        self.quorum.read_barrier().await?;
        Ok(self.store.view())
    }

    /// One transaction, stamped with the time of day.
    async fn write<R: Send>(
        &self,
        decide: impl FnMut(&mut Transaction) -> Result<R, Refusal> + Send,
    ) -> Result<R, Refusal> {
        self.store.transact(self.clock.now_nanos(), decide).await
    }

    /// The object as just written, with its version.
    fn written<T: Stored>(&self, id: &str) -> Result<T, Refusal> {
        let view = self.store.view();
        let gone = || Refusal::NotFound(format!("{} {id} was removed meanwhile", T::NOUN));
        view.get::<T>(id).cloned().ok_or_else(gone)
    }
}

/// The control service.
pub struct Control {
    door: Door,
    gate: Gate,
}

impl Control {
    /// Works on `store`, for whom `gate` admits.
    pub fn new(store: Store, quorum: Quorum, clock: Clock, gate: Gate) -> Self {
        Self { door: Door::new(store, quorum, clock), gate }
    }
}

/// The whole service: each call is authorised, then handed to its verb.
macro_rules! control {
    ($($call:ident($request:ident) -> $response:ident = $noun:ident::$verb:ident;)*) => {
        #[tonic::async_trait]
        impl control_server::Control for Control {
            $(async fn $call(
                &self,
                request: Request<$request>,
            ) -> Result<Response<$response>, Status> {
                self.gate.admit(&request, Audience::Operators)?;
                let answer: $response = $noun::$verb(&self.door, request.into_inner()).await?;
                Ok(Response::new(answer))
            })*
        }
    };
}

control! {
    get_cluster(GetClusterRequest) -> GetClusterResponse = cluster::get;
    update_cluster(UpdateClusterRequest) -> UpdateClusterResponse = cluster::update;
    get_unlock_key(GetUnlockKeyRequest) -> GetUnlockKeyResponse = keys::unlock;
    get_recovery_key(GetRecoveryKeyRequest) -> GetRecoveryKeyResponse = keys::recovery;
    rotate_root_ca(RotateRootCaRequest) -> RotateRootCaResponse = root_ca::rotate;

    list_nodes(ListNodesRequest) -> ListNodesResponse = node::list;
    get_node(GetNodeRequest) -> GetNodeResponse = node::get;
    update_node(UpdateNodeRequest) -> UpdateNodeResponse = node::update;
    remove_node(RemoveNodeRequest) -> RemoveNodeResponse = node::remove;

    create_service(CreateServiceRequest) -> CreateServiceResponse = service::create;
    list_services(ListServicesRequest) -> ListServicesResponse = service::list;
    get_service(GetServiceRequest) -> GetServiceResponse = service::get;
    update_service(UpdateServiceRequest) -> UpdateServiceResponse = service::update;
    remove_service(RemoveServiceRequest) -> RemoveServiceResponse = service::remove;

    list_tasks(ListTasksRequest) -> ListTasksResponse = task::list;
    get_task(GetTaskRequest) -> GetTaskResponse = task::get;

    create_network(CreateNetworkRequest) -> CreateNetworkResponse = network::create;
    list_networks(ListNetworksRequest) -> ListNetworksResponse = network::list;
    get_network(GetNetworkRequest) -> GetNetworkResponse = network::get;
    remove_network(RemoveNetworkRequest) -> RemoveNetworkResponse = network::remove;

    create_secret(CreateSecretRequest) -> CreateSecretResponse = secret::create;
    list_secrets(ListSecretsRequest) -> ListSecretsResponse = secret::list;
    get_secret(GetSecretRequest) -> GetSecretResponse = secret::get;
    update_secret(UpdateSecretRequest) -> UpdateSecretResponse = secret::update;
    remove_secret(RemoveSecretRequest) -> RemoveSecretResponse = secret::remove;

    create_config(CreateConfigRequest) -> CreateConfigResponse = config::create;
    list_configs(ListConfigsRequest) -> ListConfigsResponse = config::list;
    get_config(GetConfigRequest) -> GetConfigResponse = config::get;
    update_config(UpdateConfigRequest) -> UpdateConfigResponse = config::update;
    remove_config(RemoveConfigRequest) -> RemoveConfigResponse = config::remove;
}

#[cfg(test)]
mod tests;
