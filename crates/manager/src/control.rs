//! The door: what users ask of the swarm, one file per noun and one function per verb.
//!
//! Here requests are defaulted, validated, resolved from names to ids and, inside the writing transaction, checked for
//! conflicts, once and for all: no pass has to doubt a stored spec. Reads are linearizable. A request that changes something
//! is carried out once, however often a client sends it under one id. Nothing is carried out here: the passes of
//! `reconcile` do that.

use swarm_api::object::Stored;
use swarm_api::*;
use swarm_raft_store::{Store, StoreError, Transaction, View};
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
    /// Names the call and the client's request; empty if the client gave no name.
    request: String,
}

impl Door {
    pub(crate) fn new(store: Store, quorum: Quorum, clock: Clock) -> Self {
        Self { store, quorum, clock, request: String::new() }
    }

    /// The door for one request of the kind `call`, under the id that the client sent along.
    fn of<T>(&self, call: &str, request: &Request<T>) -> Result<Self, Status> {
        let id = request.metadata().get(request_id::HEADER);
        let id = id.map(|id| id.to_str().ok().filter(|id| request_id::is_valid(id)));
        let request = match id {
            None => String::new(),
            Some(Some(id)) => format!("{call}/{id}"),
            Some(None) => {
                let text = format!("{}: want 1 to 64 letters and digits", request_id::HEADER);
                return Err(Status::invalid_argument(text));
            }
        };
        let (store, quorum, clock) = (self.store.clone(), self.quorum.clone(), self.clock.clone());
        Ok(Self { store, quorum, clock, request })
    }

    /// A view that shows every write acknowledged before now.
    async fn view(&self) -> Result<View, Refusal> {
        self.quorum.read_barrier().await?;
        Ok(self.store.view())
    }

    /// One transaction, stamped with the time of day.
    #[cfg(test)]
    async fn write<R: Send>(
        &self,
        decide: impl FnMut(&mut Transaction) -> Result<R, Refusal> + Send,
    ) -> Result<R, Refusal> {
        self.store.transact(self.clock.now_nanos(), decide).await
    }

    /// As [`Self::write`], but at most once for this request, however often it is sent: `None` if an earlier attempt has
    /// done it. For the one transaction of a verb.
    async fn write_once<R: Send>(
        &self,
        decide: impl FnMut(&mut Transaction) -> Result<R, Refusal> + Send,
    ) -> Result<Option<R>, Refusal> {
        let written = self.store.transact_once(self.clock.now_nanos(), &self.request, decide);
        match written.await {
            Err(Refusal::Store(StoreError::Duplicate { .. })) => Ok(None),
            result => result.map(Some),
        }
    }

    /// Changes the object that `reference` names, at most once for this request, and returns it as it is now. `decide`
    /// returns its id.
    async fn change<T: Stored>(
        &self,
        reference: &str,
        decide: impl FnMut(&mut Transaction) -> Result<String, Refusal> + Send,
    ) -> Result<T, Refusal> {
        match self.write_once(decide).await? {
            Some(id) => self.written(&id),
            None => Ok(self.store.view().resolve::<T>(reference)?.clone()),
        }
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
                let door = self.door.of(stringify!($call), &request)?;
                let answer: $response = $noun::$verb(&door, request.into_inner()).await?;
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
    update_network(UpdateNetworkRequest) -> UpdateNetworkResponse = network::update;
    get_address_usage(GetAddressUsageRequest) -> GetAddressUsageResponse = network::usage;
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
