//! Which addresses this node listens on and tells others: given by the user (address or interface name, with or without
//! port), or found where there is only one.

use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::getifaddrs;

/// Port of the cluster API.
pub const DEFAULT_PORT: u16 = 2377;

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an address, nor an interface of this host.
    #[error("\"{0}\" is neither an IP address nor a network interface of this host")]
    Unknown(String),
    /// The interface has no address, or several.
    #[error("interface {name} has {count} addresses: give one of them")]
    Interface {
        /// Which.
        name: String,
        /// How many.
        count: usize,
    },
    /// None to choose from.
    #[error("this host has no address that others could reach: specify one with --advertise-addr")]
    None,
    /// Several to choose from.
    #[error("this host has several addresses ({0}): specify one with --advertise-addr")]
    Ambiguous(String),
    /// A port that is no number.
    #[error("invalid port in \"{0}\": want 1 to 65535")]
    Port(String),
    /// Others cannot reach it.
    #[error("advertise address {0} must be an address that other nodes can reach")]
    Unspecified(IpAddr),
}

/// An interface's name and one of its addresses.
pub type Interface = (String, IpAddr);

/// The host's addresses, without loopback and link-local ones.
pub fn interfaces() -> Vec<Interface> {
    let Ok(list) = getifaddrs() else { return Vec::new() };
    list.filter_map(|interface| {
        let address = interface.address?;
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (None, Some(v6)) => IpAddr::V6(v6.ip()),
            (None, None) => return None,
        };
        Some((interface.interface_name, ip))
    })
    .filter(|(_, ip)| match ip {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    })
    .collect()
}

/// An address with an optional port: `192.0.2.1`, `192.0.2.1:2377`, `eth0`, `[2001:db8::1]:2377`.
pub fn parse(text: &str, interfaces: &[Interface]) -> Result<SocketAddr, AddressError> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Ok(socket);
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, DEFAULT_PORT));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => {
            (name, port.parse().map_err(|_| AddressError::Port(text.to_owned()))?)
        }
        None => (text, DEFAULT_PORT),
    };
    let own: Vec<IpAddr> =
        interfaces.iter().filter(|(n, _)| n == name).map(|(_, ip)| *ip).collect();
    let v4: Vec<&IpAddr> = own.iter().filter(|ip| ip.is_ipv4()).collect();
    match (own.as_slice(), v4.as_slice()) {
        ([], _) => Err(AddressError::Unknown(text.to_owned())),
        ([ip], _) => Ok(SocketAddr::new(*ip, port)),
        (_, [ip]) => Ok(SocketAddr::new(**ip, port)),
        _ => Err(AddressError::Interface { name: name.to_owned(), count: own.len() }),
    }
}

/// The address to tell others: `given`, else the listening one if it is specific, else the host's only one.
pub fn advertised(
    given: Option<&str>,
    listen: SocketAddr,
    interfaces: &[Interface],
) -> Result<SocketAddr, AddressError> {
    if let Some(text) = given {
        let address = parse(text, interfaces)?;
        if address.ip().is_unspecified() {
            return Err(AddressError::Unspecified(address.ip()));
        }
        let explicit_port = text.parse::<SocketAddr>().is_ok();
        let port = if explicit_port { address.port() } else { listen.port() };
        return Ok(SocketAddr::new(address.ip(), port));
    }
    if !listen.ip().is_unspecified() {
        return Ok(listen);
    }
    let candidates: Vec<IpAddr> =
        interfaces.iter().map(|(_, ip)| *ip).filter(IpAddr::is_ipv4).collect();
    match candidates.as_slice() {
        [] => Err(AddressError::None),
        [ip] => Ok(SocketAddr::new(*ip, listen.port())),
        many => {
            let list: Vec<String> = many.iter().map(IpAddr::to_string).collect();
            Err(AddressError::Ambiguous(list.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Vec<Interface> {
        vec![
            ("eth0".into(), "192.0.2.1".parse().unwrap()),
            ("eth1".into(), "198.51.100.1".parse().unwrap()),
        ]
    }

    #[test]
    fn an_interface_stands_for_its_address() {
        assert_eq!(parse("eth0", &host()).unwrap().to_string(), "192.0.2.1:2377");
        assert_eq!(parse("eth1:99", &host()).unwrap().to_string(), "198.51.100.1:99");
        assert!(matches!(parse("eth9", &host()), Err(AddressError::Unknown(_))));
    }

    #[test]
    fn several_addresses_must_be_chosen_from() {
        let any = "0.0.0.0:2377".parse().unwrap();
        assert!(matches!(advertised(None, any, &host()), Err(AddressError::Ambiguous(_))));
        let one = advertised(None, any, &host()[..1]).unwrap();
        assert_eq!(one.to_string(), "192.0.2.1:2377");
        assert_eq!(advertised(None, any, &[]), Err(AddressError::None));
    }

    #[test]
    fn an_advertised_address_takes_the_listening_port_and_may_not_be_any() {
        let any = "0.0.0.0:4000".parse().unwrap();
        let given = advertised(Some("eth1"), any, &host()).unwrap();
        assert_eq!(given.to_string(), "198.51.100.1:4000");
        assert!(advertised(Some("0.0.0.0"), any, &host()).is_err());
    }
}
