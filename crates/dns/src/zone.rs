//! The names of one network. Built by the caller, immutable once it is in the directory.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Every name of one network with its addresses, and the way back for PTR queries.
///
/// All names are kept in lower case without a final dot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    network: String,
    names: HashMap<String, Vec<IpAddr>>,
    reverse: HashMap<IpAddr, String>,
}

impl Zone {
    /// An empty zone of the network called `network` (its name, not its id).
    pub fn new(network: &str) -> Self {
        Self { network: normalised(network), ..Self::default() }
    }

    /// Adds an address to a name: a service's VIP, one task of `tasks.<service>`, an alias.
    /// Adding the same pair twice changes nothing.
    pub fn insert(&mut self, name: &str, address: IpAddr) {
        let addresses = self.names.entry(normalised(name)).or_default();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }

    /// Makes a name known without any address: it is answered empty, not forwarded. Used for a
    /// service whose tasks are not ready yet.
    pub fn declare(&mut self, name: &str) {
        self.names.entry(normalised(name)).or_default();
    }

    /// What a PTR query for `address` answers: `<name>.<network>`.
    pub fn insert_reverse(&mut self, address: IpAddr, name: &str) {
        self.reverse.insert(address, normalised(name));
    }

    /// Gives everything that has an IPv4 address the IPv6 one that `six` says as well.
    pub fn add_six(&mut self, six: impl Fn(Ipv4Addr) -> Ipv6Addr) {
        let other = |address: &IpAddr| match address {
            IpAddr::V4(address) => Some(IpAddr::V6(six(*address))),
            IpAddr::V6(_) => None,
        };
        for addresses in self.names.values_mut() {
            let more: Vec<IpAddr> = addresses.iter().filter_map(other).collect();
            addresses.extend(more);
        }
        let more: Vec<(IpAddr, String)> = self
            .reverse
            .iter()
            .filter_map(|(address, name)| Some((other(address)?, name.clone())))
            .collect();
        self.reverse.extend(more);
    }

    /// The network's name in lower case.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The addresses of a name given in lower case, `None` if the name is unknown.
    pub fn addresses(&self, name: &str) -> Option<&[IpAddr]> {
        self.names.get(name).map(Vec::as_slice)
    }

    /// The name an address belongs to.
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        self.reverse.get(&address).map(String::as_str)
    }
}

fn normalised(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
