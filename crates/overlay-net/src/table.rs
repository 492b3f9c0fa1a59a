//! What callers hand in and get back: tables of addresses, attachments, ports. Plain values; the
//! checks that need no kernel are here.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::error::{NetError, Result};
use crate::naming;

/// Largest VXLAN network identifier.
const VNI_MAX: u32 = (1 << 24) - 1;

/// Nodes are told apart by 16 bits of their addresses in the ingress network.
const INGRESS_PREFIX_MIN: u8 = 16;

/// Everything one node must know of one network. Applied as a whole; the kernel is made equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkTable {
    /// Id of the network: 1 to 128 letters, digits, `-`, `_`, `.`.
    pub id: String,
    /// Name, for messages only.
    pub name: String,
    /// VXLAN network identifier, 1 to 2^24-1; 0 makes a network of this node only.
    pub vni: u32,
    /// Addresses of the network.
    pub subnet: Ipv4Net,
    /// More of them; the gateway is in `subnet`.
    pub more: Vec<Ipv4Net>,
    /// IPv6, when the network has it.
    pub six: Option<Six>,
    /// Gateway of every container, the same on all nodes.
    pub gateway: Ipv4Addr,
    /// This node's own address in the network, different on every node (a network of one node may
    /// use the gateway): source of hairpin and ingress connections.
    pub node_address: Ipv4Addr,
    /// Largest packet of a container in bytes; what fits on the underlay when absent.
    pub mtu: Option<u32>,
    /// No way out of the network.
    pub internal: bool,
    /// The network that carries published ports. At most one; containers on it have their way out
    /// through it, so that answers leave where requests came in.
    pub ingress: bool,
    /// The other nodes of the network.
    pub peers: Vec<Peer>,
    /// Containers on the other nodes. One that disappears from here is dead: its flows are cut.
    pub endpoints: Vec<RemoteEndpoint>,
    /// Virtual addresses.
    pub services: Vec<Vip>,
}

/// IPv6 of a network: everything that has an IPv4 address has an IPv6 one that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Six {
    /// Addresses of the network; at most /96.
    pub subnet: Ipv6Net,
    /// Gateway of every container, the same on all nodes.
    pub gateway: Ipv6Addr,
}

/// Another node of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Data-path address of the node.
    pub underlay: IpAddr,
    /// The node's own address in the network.
    pub node_address: Ipv4Addr,
    /// Largest packet that the node's own link can take in bytes, where that is known.
    pub mtu: Option<u32>,
}

/// A container on another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteEndpoint {
    /// Its address in the network.
    pub address: Ipv4Addr,
    /// Data-path address of its node, which must be among the peers.
    pub underlay: IpAddr,
}

/// A virtual address and the containers that answer it. A backend left out while its endpoint
/// lives on is draining: new connections go elsewhere, established ones stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The virtual address.
    pub address: Ipv4Addr,
    /// Containers that take new connections; when empty, connections are refused at once.
    pub backends: Vec<Ipv4Addr>,
    /// How they share them.
    pub balance: Balance,
}

/// How the backends of a virtual address share its connections, and how long those last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Who gets the next connection.
    pub policy: Policy,
    /// A TCP connection that was silent for so long, in seconds, is reset with its next packet;
    /// after [`IDLE_MAX`] when absent.
    pub idle: Option<u32>,
}

/// Longest time in seconds that a silent TCP connection may be kept: what the kernel does by itself.
pub const IDLE_MAX: u32 = 5 * 24 * 3600;

/// Which backend gets a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Each in turn.
    #[default]
    InTurn,
    /// Any, all as likely.
    Random,
    /// The same for all connections of one client, as long as the backends are the same.
    SourceHash,
}

/// What one apply did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Kernel objects created, replaced or deleted; 0 when everything was right already.
    pub changes: usize,
    /// Largest packet of a container in bytes.
    pub mtu: u32,
}

/// One network of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// A network applied before on this node.
    pub network_id: String,
    /// The container's address in its subnet.
    pub address: IpAddr,
}

/// A port of the host that leads to one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    /// Only on this address of the host; on all of them when absent.
    pub host_ip: Option<IpAddr>,
    /// Port on the host; 0 lets the kernel choose a free one.
    pub published: u16,
    /// Port of the container.
    pub target: u16,
    /// Transport.
    pub protocol: Protocol,
}

/// A port of every node that leads to a service, through the ingress network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IngressPort {
    /// Transport.
    pub protocol: Protocol,
    /// Port on the node.
    pub published: u16,
    /// Port of the containers.
    pub target: u16,
    /// The service's virtual address on the ingress network.
    pub vip: Ipv4Addr,
    /// Only on this address of the node; on all of them when absent.
    #[serde(default)]
    pub host_ip: Option<Ipv4Addr>,
    /// Led to containers of this node only; a node without any refuses.
    #[serde(default)]
    pub local: bool,
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A container's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Where it is pinned.
    pub netns: PathBuf,
    /// The host ports asked for, with `published` as it really is.
    pub host_ports: Vec<HostPort>,
}

impl Protocol {
    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// Number in the IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Six {
    /// The address of who has `address` in the network: it is in the last 32 bits.
    pub fn of(&self, address: Ipv4Addr) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.subnet.network().to_bits() | u128::from(address.to_bits()))
    }
}

impl NetworkTable {
    /// All IPv4 subnets.
    pub(crate) fn subnets(&self) -> impl Iterator<Item = Ipv4Net> {
        std::iter::once(self.subnet).chain(self.more.iter().copied())
    }

    /// Refuses tables that cannot be right, naming the value.
    pub(crate) fn check(&self) -> Result<()> {
        naming::check_id("network", &self.id)?;
        if self.vni > VNI_MAX {
            return Err(self.bad(format!("VNI {} is not in 0 to {VNI_MAX}", self.vni)));
        }
        if self.vni == 0 && !self.peers.is_empty() {
            return Err(self.bad("it has peers but no VNI".to_owned()));
        }
        if self.ingress && self.subnet.prefix_len() < INGRESS_PREFIX_MIN {
            let subnet = self.subnet;
            let why = format!("subnet {subnet} is larger than /{INGRESS_PREFIX_MIN}: too large");
            return Err(self.bad(why));
        }
        if let Some(mtu) = self.mtu
            && !(576..=65_485).contains(&mtu)
        {
            return Err(self.bad(format!("MTU {mtu} is not in 576 to 65485")));
        }
        if let Some(six) = self.six
            && (six.subnet.prefix_len() > 96 || !six.subnet.contains(&six.gateway))
        {
            let (subnet, gateway) = (six.subnet, six.gateway);
            let why = format!("IPv6 gateway {gateway} is not in {subnet}, or that is not a /96");
            return Err(self.bad(why));
        }
        for (what, address) in [("gateway", self.gateway), ("node address", self.node_address)] {
            self.inside(what, address)?;
        }
        let mut nodes = BTreeSet::new();
        for peer in &self.peers {
            self.inside("node address", peer.node_address)?;
            nodes.insert(ipv4("data path", peer.underlay)?);
        }
        for endpoint in &self.endpoints {
            self.inside("endpoint", endpoint.address)?;
            let node = ipv4("data path", endpoint.underlay)?;
            if !nodes.contains(&node) {
                let address = endpoint.address;
                return Err(self.bad(format!("endpoint {address} is on {node}, not a peer")));
            }
        }
        for service in &self.services {
            self.inside("virtual address", service.address)?;
            if let Some(idle) = service.balance.idle
                && !(1..=IDLE_MAX).contains(&idle)
            {
                let why = format!("idle timeout {idle} s is not in 1 to {IDLE_MAX}");
                return Err(self.bad(why));
            }
        }
        Ok(())
    }

    fn inside(&self, what: &str, address: Ipv4Addr) -> Result<()> {
        if self.subnets().any(|subnet| subnet.contains(&address)) {
            return Ok(());
        }
        let subnets: Vec<String> = self.subnets().map(|subnet| subnet.to_string()).collect();
        Err(self.bad(format!("{what} {address} is not in subnet {}", subnets.join(", "))))
    }

    fn bad(&self, why: String) -> NetError {
        NetError::Invalid(format!("network {} ({}): {why}", self.name, self.id))
    }
}

/// The IPv4 address, or a refusal that says what it was for.
pub(crate) fn ipv4(what: &str, address: IpAddr) -> Result<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => Err(NetError::Unsupported(format!("{what} over IPv6 ({address})"))),
    }
}
