//! What the task actor drives: the life of one task's container, and the node's ability to make such things.
//!
//! Every method may be called again after a restart of the daemon and must then find what is already done. The production
//! implementation is [`crate::container`]; tests use fakes.

use std::sync::Arc;

use swarm_api::{ContainerStatus, NodeDescription, PortConfig, Task};

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128 + signal when killed.
    pub code: i32,
    /// More than the code tells (`out of memory`, `unhealthy container`).
    pub detail: Option<String>,
}

/// Why a step failed; the text becomes the task's error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// This task will not do better here: it ends (REJECTED before its start, FAILED after).
    #[error("{0}")]
    Fatal(String),
    /// May pass by itself: the step is tried again.
    #[error("{0}")]
    Temporary(String),
}

/// Life of one task's container.
#[tonic::async_trait]
pub trait Controller: Send + Sync + 'static {
    /// Gets everything ready to start: image, network, container.
    async fn prepare(&self) -> Result<(), StepError>;
    /// Starts it; returns when it is ready to serve (healthy, where a health check says what that is).
    async fn start(&self) -> Result<(), StepError>;
    /// Waits for its end.
    async fn wait(&self) -> Result<Exit, StepError>;
    /// Goes on with a container that an earlier daemon has made: what died with that daemon is made again.
    async fn resume(&self) -> Result<(), StepError>;
    /// Gives back what an ended task needs no more: addresses, host ports, names. Its container stays, for its log.
    async fn release(&self) -> Result<(), StepError>;
    /// Ends it: stop signal, grace period, kill. No error if it never ran.
    async fn shutdown(&self) -> Result<(), StepError>;
    /// Removes all traces of it.
    async fn remove(&self) -> Result<(), StepError>;
    /// Its container, once there is one.
    async fn status(&self) -> Option<ContainerStatus>;
    /// Host-mode ports as bound.
    async fn host_ports(&self) -> Vec<PortConfig>;
}

/// The node as a maker of controllers.
#[tonic::async_trait]
pub trait Executor: Send + Sync + 'static {
    /// What the node is and has.
    async fn describe(&self) -> NodeDescription;
    /// The controller of `task`, whether or not its container exists already.
    fn controller(&self, task: &Task) -> Arc<dyn Controller>;
}
