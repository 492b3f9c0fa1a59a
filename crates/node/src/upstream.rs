//! The host's resolvers, for names that the cluster does not know (resolv.conf(5)).

use std::net::{IpAddr, SocketAddr};

const PORT: u16 = 53;

/// The name servers of a resolv.conf. Loopback ones are the host's own and reachable for the daemon, so they count.
pub fn name_servers(resolv_conf: &str) -> Vec<SocketAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::new(ip, PORT))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_name_servers_count() {
        let text = "# c\nsearch x\nnameserver 192.0.2.53\nnameserver nonsense\n";
        assert_eq!(name_servers(text), ["192.0.2.53:53".parse().unwrap()]);
    }
}
