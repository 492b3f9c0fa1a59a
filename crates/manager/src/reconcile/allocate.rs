//! What the cluster hands out: subnets and VXLAN ids of networks, virtual addresses and published ports of services,
//! addresses of tasks and nodes.
//!
//! Nothing is remembered outside of the objects: free is what no object refers to, so nothing can leak. What cannot be
//! handed out is said in words; the caller puts them on the tasks that wait for it. Overlaps of what users ask for are
//! refused at the door.

mod node;
mod pool;
mod port;
mod service;
mod six;
mod subnet;
mod task;
mod usage;

pub(super) use node::attach_node;
pub(super) use pool::Pools;
pub(super) use service::allocate_service;
pub(super) use subnet::allocate_networks;
pub(super) use task::attach_task;
pub(crate) use usage::usage;

use swarm_api::Network;

/// Driver of the networks that have addresses; the others belong to a node.
const OVERLAY: &str = "overlay";

/// Whether the cluster hands out addresses in this network.
fn is_overlay(network: &Network) -> bool {
    // The door fills in the driver; an empty one is the default.
    network.spec.as_ref().is_some_and(|s| s.driver == OVERLAY || s.driver.is_empty())
}
