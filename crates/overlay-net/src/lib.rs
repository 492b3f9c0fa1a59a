//! The node's data plane: network namespaces, links, VXLAN in L3 mode, virtual addresses, ingress
//! and host ports. The only crate that speaks netlink, nftables and conntrack. It knows nothing of
//! clusters, services or tasks: its callers hand it tables of addresses. The agent uses
//! [`NodeNet`]; the lab uses [`netns`] and [`link`].

mod error;
pub mod link;
pub mod netns;
#[cfg(test)]
mod testbed;

pub use error::NetError;
