//! Kernel network settings of the namespace the calling thread is in. Called on namespace threads
//! only.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::{NetError, Result};
use crate::netns::NetNs;

/// One setting: path below `/proc/sys/net`, value, and whether a kernel without it will do.
type Setting = (String, &'static str, Need);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Must,
    May,
}

/// The host's namespace must forward between its uplinks and the world.
pub(crate) async fn host(ns: &NetNs) -> Result<()> {
    write(ns, vec![must("ipv4/ip_forward", "1")]).await
}

/// The host's end of an uplink carries connections made by the host to its own loopback address.
pub(crate) async fn host_uplink(ns: &NetNs, link: &str) -> Result<()> {
    let conf = format!("ipv4/conf/{link}");
    let settings = vec![
        must(format!("{conf}/route_localnet"), "1"),
        must(format!("{conf}/rp_filter"), "0"),
        may(format!("ipv6/conf/{link}/disable_ipv6"), "1"),
    ];
    write(ns, settings).await
}

/// A network's namespace is a router that answers for every address of its network.
pub(crate) async fn network(ns: &NetNs) -> Result<()> {
    let settings = vec![
        must("ipv4/ip_forward", "1"),
        must("ipv4/conf/all/rp_filter", "0"),
        // Links made later are containers': a source address that is not theirs is dropped.
        must("ipv4/conf/default/rp_filter", "1"),
        must("ipv4/conf/all/send_redirects", "0"),
        must("ipv4/conf/default/send_redirects", "0"),
        must("ipv4/conf/all/proxy_arp", "1"),
        // Every refused connection is told so, not only the first few of a second.
        must("ipv4/icmp_ratelimit", "0"),
        // The reset of a flow whose backend died has no window to fit in.
        may("netfilter/nf_conntrack_tcp_be_liberal", "1"),
        // Silent connections: five days ([`crate::table::IDLE_MAX`]), unless a service says less.
        may("netfilter/nf_conntrack_tcp_timeout_established", "432000"),
        may("ipv6/conf/all/disable_ipv6", "1"),
        may("ipv6/conf/default/disable_ipv6", "1"),
    ];
    write(ns, settings).await
}

/// The same for IPv6. Every neighbour and address is known beforehand: no link-local addresses, no
/// duplicate detection, no advertisements.
pub(crate) async fn network_six(ns: &NetNs) -> Result<()> {
    let settings = vec![
        must("ipv6/conf/default/addr_gen_mode", "1"),
        must("ipv6/conf/default/accept_dad", "0"),
        must("ipv6/conf/default/accept_ra", "0"),
        must("ipv6/conf/default/disable_ipv6", "0"),
        must("ipv6/conf/all/accept_ra", "0"),
        must("ipv6/conf/all/disable_ipv6", "0"),
        must("ipv6/conf/all/forwarding", "1"),
        must("ipv6/icmp/ratelimit", "0"),
    ];
    write(ns, settings).await
}

/// A container's link into a network that has IPv6; it comes up without any address of its own.
pub(crate) async fn sandbox_link_six(ns: &NetNs, link: &str) -> Result<()> {
    let conf = format!("ipv6/conf/{link}");
    let settings = vec![
        must(format!("{conf}/addr_gen_mode"), "1"),
        must(format!("{conf}/accept_dad"), "0"),
        must(format!("{conf}/accept_ra"), "0"),
        must(format!("{conf}/disable_ipv6"), "0"),
    ];
    write(ns, settings).await
}

/// Links between nodes and to the host see sources from anywhere.
pub(crate) async fn trunk(ns: &NetNs, link: &str) -> Result<()> {
    write(ns, vec![must(format!("ipv4/conf/{link}/rp_filter"), "0")]).await
}

/// A container's namespace: ping and low ports without privileges, no IPv6 on its links.
pub(crate) async fn sandbox(ns: &NetNs) -> Result<()> {
    let settings = vec![
        must("ipv4/conf/all/rp_filter", "0"),
        must("ipv4/conf/default/rp_filter", "0"),
        may("ipv4/ping_group_range", "0 2147483647"),
        may("ipv4/ip_unprivileged_port_start", "0"),
        may("ipv6/conf/default/disable_ipv6", "1"),
    ];
    write(ns, settings).await
}

fn must(path: impl Into<String>, value: &'static str) -> Setting {
    (path.into(), value, Need::Must)
}

fn may(path: impl Into<String>, value: &'static str) -> Setting {
    (path.into(), value, Need::May)
}

async fn write(ns: &NetNs, settings: Vec<Setting>) -> Result<()> {
    ns.run(move || settings.iter().try_for_each(set)).await?
}

fn set((path, value, need): &Setting) -> Result<()> {
    match fs::write(Path::new("/proc/sys/net").join(path), value) {
        Err(error) if *need == Need::May && error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(NetError::kernel(format!("set net/{path} to {value}"), error)),
        Ok(()) => Ok(()),
    }
}
