//! The node's data plane: network namespaces, links, VXLAN in L3 mode, virtual addresses, ingress
//! and host ports. The only crate that speaks netlink, nftables and conntrack. It knows nothing of
//! clusters, services or tasks: its callers hand it tables of addresses. The agent uses
//! [`NodeNet`]; the lab uses [`netns`] and [`link`].
//!
//! A packet's way: a container's `eth0` ends in the namespace of its network on this node, which
//! routes by /32 to a local container, through the VXLAN device to another node, or through its
//! uplink to the host's namespace. Virtual addresses are rewritten where they enter the network's
//! namespace; published ports first in the host's, then in the network's. Answers leave by the node
//! that the request came in by, so clients' addresses stay as they are. Networks meet nowhere:
//! only link-local uplink addresses, unique on the node, are seen in the host's namespace, so
//! subnets may overlap each other and the host's.
#![forbid(unsafe_code)]

mod conntrack;
mod error;
pub mod link;
mod naming;
pub mod netns;
mod network;
mod nft;
mod node;
mod plug;
mod record;
mod reserve;
mod sysctl;
mod table;
#[cfg(test)]
mod testbed;
mod underlay;
mod uplink;
mod wire;

pub use error::NetError;
pub use node::{NetConfig, NodeNet, VXLAN_PORT};
pub use table::{
    Applied, Attachment, Balance, HostPort, IDLE_MAX, IngressPort, NetworkTable, Peer, Policy,
    Protocol, RemoteEndpoint, Sandbox, Six, Vip,
};
