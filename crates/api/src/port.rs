//! Published ports as users write them: short (`127.0.0.1:8080-8081:80-81/udp`) and long
//! (`published=8080,target=80,mode=host`); and when two of them are in each other's way.

use std::net::{IpAddr, Ipv4Addr};

use crate::generated::{PortConfig, Protocol, PublishMode};

/// Why a text publishes no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Not a port or range of ports.
    #[error("invalid port \"{0}\": want a number from 1 to 65535, or a range such as 8080-8081")]
    Number(String),
    /// Not tcp, udp or sctp.
    #[error("invalid protocol \"{0}\": must be tcp, udp or sctp")]
    Protocol(String),
    /// Ranges of different lengths.
    #[error("invalid port ranges \"{0}\": both must be of one length, or the target one port")]
    Ranges(String),
    /// Not an address of a host.
    #[error("invalid host address \"{0}\": want an IP address, such as 127.0.0.1")]
    HostIp(String),
    /// A key that the long form does not have.
    #[error("invalid field \"{0}\": want published, target, protocol, mode or host_ip")]
    Field(String),
    /// The PROXY protocol.
    #[error(
        "{0}: the PROXY protocol is not built yet: tasks see the addresses of clients without it"
    )]
    Proxy(String),
    /// The long form lacks a target.
    #[error("\"{0}\": missing mandatory field 'target'")]
    NoTarget(String),
    /// Not ingress, host or local.
    #[error("invalid publish mode value ({0}): must be 'ingress', 'host' or 'local'")]
    Mode(String),
}

/// A value of `--publish` in either form.
pub fn parse(text: &str) -> Result<Vec<PortConfig>, PortError> {
    match text.contains('=') {
        true => parse_long(text).map(|port| vec![port]),
        false => parse_short(text),
    }
}

/// `[[address:]published[-published]:]target[-target][/protocol]`, IPv6 addresses in brackets.
pub fn parse_short(text: &str) -> Result<Vec<PortConfig>, PortError> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = parse_protocol(protocol)?;
    let (published, target) = match ports.rsplit_once(':') {
        Some((published, target)) => (published, target),
        None => ("", ports),
    };
    let (address, published) = published.rsplit_once(':').unwrap_or(("", published));
    let host_ip = match address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => parse_host_ip(v6)?,
        None if address.is_empty() => String::new(),
        // Without brackets it is nobody's guess which colon ends an address.
        None if address.contains(':') => return Err(PortError::HostIp(address.to_owned())),
        None => parse_host_ip(address)?,
    };
    let published = Some(published).filter(|p| !p.is_empty());
    let target = parse_range(target)?;
    let published = published.map(parse_range).transpose()?;
    let port = |published: u16, target: u16| PortConfig {
        protocol: protocol.into(),
        target: target.into(),
        published: published.into(),
        host_ip: host_ip.clone(),
        ..PortConfig::default()
    };
    match published {
        None => Ok((target.0..=target.1).map(|t| port(0, t)).collect()),
        Some(range) if range.1 - range.0 == target.1 - target.0 => {
            Ok((range.0..=range.1).zip(target.0..=target.1).map(|(p, t)| port(p, t)).collect())
        }
        Some(range) if target.0 == target.1 => {
            Ok((range.0..=range.1).map(|p| port(p, target.0)).collect())
        }
        Some(_) => Err(PortError::Ranges(text.to_owned())),
    }
}

/// `published=8080,target=80,protocol=tcp,mode=ingress|host|local,host_ip=…`
pub fn parse_long(text: &str) -> Result<PortConfig, PortError> {
    let mut port = PortConfig::default();
    for field in text.split(',') {
        let (key, value) =
            field.split_once('=').ok_or_else(|| PortError::Field(field.to_owned()))?;
        match key.trim().to_ascii_lowercase().as_str() {
            "target" => port.target = parse_port(value)?.into(),
            "published" => port.published = parse_port(value)?.into(),
            "protocol" => port.protocol = parse_protocol(value)?.into(),
            "mode" if value == "local" => port.local = true,
            "mode" => port.mode = parse_mode(value)?.into(),
            "host_ip" => port.host_ip = parse_host_ip(value)?,
            "proxy" | "proxy_protocol" => return Err(PortError::Proxy(field.to_owned())),
            _ => return Err(PortError::Field(key.to_owned())),
        }
    }
    if port.target == 0 {
        return Err(PortError::NoTarget(text.to_owned()));
    }
    Ok(port)
}

/// As it is stored: empty for all addresses.
fn parse_host_ip(text: &str) -> Result<String, PortError> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ok(String::new()),
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(PortError::HostIp(text.to_owned())),
    }
}

/// Whether a host can not have both at a time: one number, one protocol, and an address in common.
/// A port in ingress mode and one in host mode need different numbers on all addresses.
pub fn meet(one: &PortConfig, other: &PortConfig) -> bool {
    let any = one.host_ip.is_empty() || other.host_ip.is_empty() || one.mode != other.mode;
    (one.published, one.protocol) == (other.published, other.protocol)
        && (any || one.host_ip == other.host_ip)
}

/// How it is published, in the word that users write.
pub fn mode_name(port: &PortConfig) -> &'static str {
    match port.mode() {
        PublishMode::Ingress if port.local => "local",
        PublishMode::Ingress => "ingress",
        PublishMode::Host => "host",
    }
}

/// `tcp`, `udp` or `sctp`, in any case.
pub fn parse_protocol(text: &str) -> Result<Protocol, PortError> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err(PortError::Protocol(text.to_owned())),
    }
}

/// `ingress` or `host`.
pub fn parse_mode(text: &str) -> Result<PublishMode, PortError> {
    match text {
        "ingress" => Ok(PublishMode::Ingress),
        "host" => Ok(PublishMode::Host),
        _ => Err(PortError::Mode(text.to_owned())),
    }
}

/// The protocol's name in lower case.
pub fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

fn parse_port(text: &str) -> Result<u16, PortError> {
    let all_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if port > 0 && all_digits => Ok(port),
        _ => Err(PortError::Number(text.to_owned())),
    }
}

fn parse_range(text: &str) -> Result<(u16, u16), PortError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_port(first)?, parse_port(last)?);
    match first <= last {
        true => Ok((first, last)),
        false => Err(PortError::Number(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(u32, u32)> {
        parse_short(text).unwrap().iter().map(|p| (p.published, p.target)).collect()
    }

    #[test]
    fn the_short_form_knows_ranges_and_protocols() {
        assert_eq!(pairs("80"), [(0, 80)]);
        assert_eq!(pairs("8080-8081:80-81"), [(8080, 80), (8081, 81)]);
        assert_eq!(pairs("8080-8081:80"), [(8080, 80), (8081, 80)]);
        assert_eq!(parse_short("53:53/UDP").unwrap()[0].protocol(), Protocol::Udp);
    }

    #[test]
    fn a_bad_short_form_is_refused() {
        for text in ["80/xyz", "tcp", "", "80-82:90-91", "0", "70000", "81-80", "a:80:80"] {
            assert!(parse_short(text).is_err(), "{text}");
        }
        for text in ["1.2.3:80:80", "::1:80:80", "[::1:80:80", "localhost:80:80", "1.2.3.4:80:"] {
            assert!(parse_short(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_kept_with_every_port_of_a_range_and_all_addresses_are_none() {
        let ports = parse_short("127.0.0.1:8080-8081:80-81/udp").unwrap();
        let shown: Vec<_> = ports.iter().map(|p| (p.host_ip.as_str(), p.published)).collect();
        assert_eq!(shown, [("127.0.0.1", 8080), ("127.0.0.1", 8081)]);
        assert_eq!(parse_short("[::1]:80:80").unwrap()[0].host_ip, "::1");
        assert_eq!(parse_short("10.0.0.1::80").unwrap()[0].published, 0);
        assert_eq!(parse_short("0.0.0.0:80:80").unwrap()[0].host_ip, "");
    }

    #[test]
    fn ports_meet_when_they_have_number_protocol_and_an_address_in_common() {
        let port = |text| parse_short(text).unwrap().remove(0);
        assert!(meet(&port("80:80"), &port("127.0.0.1:80:8080")));
        assert!(meet(&port("10.0.0.1:80:80"), &port("10.0.0.1:80:81")));
        for other in ["80:80/udp", "81:80", "10.0.0.1:80:80"] {
            assert!(!meet(&port("127.0.0.1:80:80"), &port(other)), "{other}");
        }
        let host = parse_long("published=80,target=80,mode=host,host_ip=10.0.0.1").unwrap();
        assert!(meet(&port("127.0.0.1:80:80"), &host));
    }

    #[test]
    fn the_long_form_defaults_to_ingress_and_tcp() {
        let port = parse_long("target=80,published=8080").unwrap();
        assert_eq!((port.target, port.published, port.mode()), (80, 8080, PublishMode::Ingress));
        assert_eq!(parse_long("target=22,mode=host").unwrap().mode(), PublishMode::Host);
        let local = parse_long("target=22,mode=local").unwrap();
        assert_eq!((local.mode(), mode_name(&local)), (PublishMode::Ingress, "local"));
        assert_eq!(parse_long("target=80,host_ip=127.0.0.1").unwrap().host_ip, "127.0.0.1");
    }

    #[test]
    fn a_bad_long_form_is_refused() {
        for text in ["target=abc", "published=80", "target=80,mode=x", "target=80,foo=1", "a=b"] {
            assert!(parse_long(text).is_err(), "{text}");
        }
        assert!(parse_long("target=80,host_ip=here").is_err());
        assert!(parse_long("target=80,proxy=v2").unwrap_err().to_string().contains("not built"));
    }
}
