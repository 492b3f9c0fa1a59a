//! The lab's network: a bridge in a namespace of its own, one cable to every host and one to the
//! machine. In a namespace of its own the bridge is out of reach of the machine's firewall, which
//! otherwise may eat bridged traffic. Called by [`Lab`](crate::Lab); who may talk to whom is kept
//! in the kernel only.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::Deserialize;

use crate::error::LabError;
use crate::layout::Layout;
use crate::mounts::is_pin;
use crate::process::wait_until;
use crate::record::HostRecord;
use crate::subnet;
use crate::tool::run;

/// The bridge and the machine's port on it, in the switch namespace.
const BRIDGE: &str = "br0";
const MACHINE_PORT: &str = "machine";

/// How long a port may take to forward; a second as a rule.
const SETTLE: Duration = Duration::from_secs(10);

/// Keeps the namespace's firewall, of which there is none, out of the way of frames between hosts.
const QUIET_BRIDGES: &str = "for file in /proc/sys/net/bridge/bridge-nf-call-*; do \
    [ ! -e $file ] || echo 0 > $file; done";

/// A link as `ip -j` reports it, as far as it matters here.
#[derive(Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    flags: Vec<String>,
    linkinfo: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    info_slave_data: Option<PortDetails>,
}

#[derive(Deserialize)]
struct PortDetails {
    state: Option<String>,
}

impl Link {
    fn is_up(&self) -> bool {
        self.flags.iter().any(|flag| flag == "UP")
    }

    fn forwards(&self) -> bool {
        let port = self.linkinfo.as_ref().and_then(|info| info.info_slave_data.as_ref());
        port.and_then(|port| port.state.as_deref()) == Some("forwarding")
    }
}

/// A route as `ip -j` reports it.
#[derive(Deserialize)]
struct Route {
    dst: String,
}

/// Every IPv4 network the machine routes somewhere, but for the default route.
pub(crate) fn routes() -> Result<Vec<Ipv4Net>, LabError> {
    let text = run(Command::new("ip").args(["-4", "-j", "route", "show", "table", "all"]), "")?;
    let routes: Vec<Route> = parse(&text)?;
    Ok(routes.iter().filter_map(|route| destination(&route.dst)).collect())
}

fn destination(text: &str) -> Option<Ipv4Net> {
    text.parse().ok().or_else(|| Some(Ipv4Net::from(text.parse::<std::net::Ipv4Addr>().ok()?)))
}

/// Makes the bridge and the machine's cable as far as they are missing.
pub(crate) fn raise(layout: &Layout, net: &Ipv4Net) -> Result<(), LabError> {
    let (pin, link) = (layout.switch_pin(), layout.machine_link());
    if !is_pin(&pin) {
        pin_network(&pin)?;
    }
    let ports = ports(layout)?;
    let has = |name: &str| ports.iter().any(|port| port.ifname == name);
    if !has(BRIDGE) {
        run(inside(&pin, "sh").args(["-c", QUIET_BRIDGES]), "")?;
        let batch = format!(
            "link set lo up\n\
             link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             link set {BRIDGE} up\n"
        );
        run(inside(&pin, "ip").args(["-batch", "-"]), &batch)?;
    }
    if !has(MACHINE_PORT) {
        remove_machine_link(layout)?;
        run(
            Command::new("ip")
                .args(["link", "add", &link, "type", "veth", "peer", "name", MACHINE_PORT, "netns"])
                .arg(&pin),
            "",
        )?;
    }
    // Both may be repeated, and are, in case the last attempt ended between any of these steps.
    run(inside(&pin, "ip").args(["link", "set", MACHINE_PORT, "master", BRIDGE, "up"]), "")?;
    let address = format!("{}/{}", subnet::machine(net), net.prefix_len());
    let batch = format!("address replace {address} dev {link}\nlink set {link} up\n");
    run(Command::new("ip").args(["-batch", "-"]), &batch).map(drop)
}

/// Pins a new network namespace.
fn pin_network(pin: &Path) -> Result<(), LabError> {
    File::create(pin).map_err(LabError::on_path("create", pin))?;
    let mut argument = std::ffi::OsString::from("--net=");
    argument.push(pin);
    run(Command::new("unshare").arg(argument).arg("true"), "").map(drop)
}

/// Plugs a host's new network namespace into the bridge. A cable that is still there belongs to an
/// earlier namespace of that host and goes first.
pub(crate) fn plug(layout: &Layout, host: &HostRecord, net: &Ipv4Net) -> Result<(), LabError> {
    let (switch, name) = (layout.switch_pin(), host.name.as_str());
    if ports(layout)?.iter().any(|port| port.ifname == name) {
        run(inside(&switch, "ip").args(["link", "delete", name]), "")?;
    }
    let own = layout.pin(name, "net");
    run(
        inside(&switch, "ip")
            .args(["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns"])
            .arg(&own),
        "",
    )?;
    run(inside(&switch, "ip").args(["link", "set", name, "master", BRIDGE, "up"]), "")?;
    let (address, length) = (host.address, net.prefix_len());
    run(
        inside(&own, "ip").args(["-batch", "-"]),
        &format!("link set lo up\naddress add {address}/{length} dev eth0\nlink set eth0 up\n"),
    )?;
    Ok(())
}

/// Replaces the address of a host that is up.
pub(crate) fn readdress(
    layout: &Layout,
    host: &HostRecord,
    to: std::net::Ipv4Addr,
    net: &Ipv4Net,
) -> Result<(), LabError> {
    let (from, length) = (host.address, net.prefix_len());
    run(
        inside(&layout.pin(&host.name, "net"), "ip").args(["-batch", "-"]),
        &format!("address delete {from}/{length} dev eth0\naddress add {to}/{length} dev eth0\n"),
    )
    .map(drop)
}

/// Pulls or puts back a host's cable.
pub(crate) fn set_cable(layout: &Layout, host: &str, up: bool) -> Result<(), LabError> {
    let state = if up { "up" } else { "down" };
    run(inside(&layout.switch_pin(), "ip").args(["link", "set", host, state]), "").map(drop)
}

/// Waits until the bridge forwards on every port whose cable is in: the kernel takes up to a second
/// to notice that one was put in.
pub(crate) fn settle(layout: &Layout) -> Result<(), LabError> {
    let mut result = Ok(());
    let settled = wait_until(SETTLE, || match ports(layout) {
        Ok(ports) => ports
            .iter()
            .filter(|port| port.is_up() && ![BRIDGE, "lo"].contains(&port.ifname.as_str()))
            .all(Link::forwards),
        Err(error) => {
            result = Err(error);
            true
        }
    });
    result?;
    if settled {
        return Ok(());
    }
    let what = "the lab's bridge did not begin to forward".to_owned();
    Err(LabError::Timeout { what, seconds: SETTLE.as_secs() })
}

/// Names of the hosts whose cable is in.
pub(crate) fn connected(layout: &Layout) -> Result<BTreeSet<String>, LabError> {
    let ports = ports(layout)?;
    Ok(ports.into_iter().filter(Link::is_up).map(|port| port.ifname).collect())
}

/// Drops every frame between hosts of different groups; replaces an earlier partition. No groups:
/// everyone reaches everyone. The machine reaches all of them in any case.
pub(crate) fn part(layout: &Layout, groups: &[Vec<String>]) -> Result<(), LabError> {
    run(inside(&layout.switch_pin(), "nft").args(["-f", "-"]), &filter(groups)).map(drop)
}

/// The ruleset of a partition.
fn filter(groups: &[Vec<String>]) -> String {
    let quoted = |hosts: &[String]| {
        hosts.iter().map(|host| format!("{host:?}")).collect::<Vec<_>>().join(", ")
    };
    let mut rules = String::new();
    for (index, group) in groups.iter().enumerate() {
        let others: Vec<String> = groups
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .flat_map(|(_, hosts)| hosts.iter().cloned())
            .collect();
        if !group.is_empty() && !others.is_empty() {
            let (from, to) = (quoted(group), quoted(&others));
            rules += &format!("    iifname {{ {from} }} oifname {{ {to} }} drop\n");
        }
    }
    let table = "table bridge partition";
    format!(
        "{table} {{}}\ndelete {table}\n{table} {{\n  chain forward {{\n    \
         type filter hook forward priority 0; policy accept;\n{rules}  }}\n}}\n"
    )
}

/// Removes the machine's cable if it is there. The rest of the network goes with its namespaces.
pub(crate) fn remove_machine_link(layout: &Layout) -> Result<(), LabError> {
    let link = layout.machine_link();
    if !Path::new("/sys/class/net").join(&link).exists() {
        return Ok(());
    }
    run(Command::new("ip").args(["link", "delete", &link]), "").map(drop)
}

fn ports(layout: &Layout) -> Result<Vec<Link>, LabError> {
    let text = run(inside(&layout.switch_pin(), "ip").args(["-j", "-d", "link", "show"]), "")?;
    parse(&text)
}

fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<Vec<T>, LabError> {
    // Nothing to show is written as nothing at all by some releases.
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(text).map_err(LabError::system("read what ip reports"))
}

/// A command in the network namespace that `pin` holds.
fn inside(pin: &Path, program: &str) -> Command {
    let mut argument = std::ffi::OsString::from("--net=");
    argument.push(pin);
    let mut command = Command::new("nsenter");
    command.arg(argument).args(["--", program]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_drops_what_leaves_a_group_and_nothing_else() {
        let groups = [vec!["m1".to_owned()], vec!["m2".to_owned(), "w1".to_owned()]];
        let text = filter(&groups);
        assert!(text.contains("iifname { \"m1\" } oifname { \"m2\", \"w1\" } drop"), "{text}");
        assert!(text.contains("iifname { \"m2\", \"w1\" } oifname { \"m1\" } drop"), "{text}");
        assert_eq!(text.matches("drop").count(), 2);
        assert!(!filter(&[]).contains("drop"));
    }

    #[test]
    fn route_destinations_are_networks_or_single_addresses() {
        assert_eq!(destination("10.0.0.0/8"), "10.0.0.0/8".parse().ok());
        assert_eq!(destination("192.0.2.2"), "192.0.2.2/32".parse().ok());
        assert_eq!(destination("default"), None);
    }
}
