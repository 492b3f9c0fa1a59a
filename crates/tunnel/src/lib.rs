//! Encrypted overlay networks: standard VXLAN inside standard WireGuard, in a process of its own
//! (`swarmd-tunnel`) that outlives a restart of the daemon. In place of a VXLAN device an encrypted
//! network's namespace holds a TAP device of the same name; this process holds its other side.
//!
//! `cut` turns the kernel's superframes into frames that fit the wire, `join` turns frames back
//! into superframes, `vxlan` wraps them, `mesh` encrypts them for the peer that has the destination
//! and drops what does not come from the peer that owns the source. All of that is pure. The rest
//! moves bytes: `tap` and `wire` read and write, `control` is told by the daemon what shall be.
//! Makes no links, knows no netlink and no cluster: its caller is swarm-overlay-net.
#![forbid(unsafe_code)]

mod checksum;
pub mod control;
mod counters;
mod cut;
mod join;
pub mod key;
mod layout;
mod mesh;
mod network;
pub mod process;
pub mod ring;
mod tap;
mod timers;
mod vnet;
mod vxlan;
pub mod wanted;
mod wire;

/// UDP port of the mesh where nothing else is asked for: WireGuard's own.
pub const PORT: u16 = 51820;
/// Bytes that WireGuard over UDP and IPv4 add to a packet.
pub const WIREGUARD_OVERHEAD: u32 = 20 + 8 + 32;
/// Bytes that VXLAN over IPv4 adds to an inner packet.
pub const VXLAN_OVERHEAD: u32 = 20 + 8 + 8 + 14;
