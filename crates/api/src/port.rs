//! Published ports as users write them: short (`8080-8081:80-81/udp`) and long (`published=8080,target=80,mode=host`).

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
    /// The short form names an address.
    #[error(
        "\"{0}\": an address is not supported here, as every node publishes the port; use \
         published=PORT,target=PORT,mode=host,host_ip=ADDRESS"
    )]
    HostIp(String),
    /// A key that the long form does not have.
    #[error("invalid field \"{0}\": want published, target, protocol, mode or host_ip")]
    Field(String),
    /// The long form lacks a target.
    #[error("\"{0}\": missing mandatory field 'target'")]
    NoTarget(String),
    /// Not ingress or host.
    #[error("invalid publish mode value ({0}): must be either 'ingress' or 'host'")]
    Mode(String),
    /// Only a host-mode port has an address.
    #[error("\"{0}\": host_ip needs mode=host")]
    HostIpMode(String),
}

/// A value of `--publish` in either form.
pub fn parse(text: &str) -> Result<Vec<PortConfig>, PortError> {
    match text.contains('=') {
        true => parse_long(text).map(|port| vec![port]),
        false => parse_short(text),
    }
}

/// `[published[-published]:]target[-target][/protocol]`
pub fn parse_short(text: &str) -> Result<Vec<PortConfig>, PortError> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = parse_protocol(protocol)?;
    let (published, target) = match ports.rsplit_once(':') {
        Some((address, _)) if address.contains(':') => {
            return Err(PortError::HostIp(text.to_owned()));
        }
        Some((published, target)) => (Some(published).filter(|p| !p.is_empty()), target),
        None => (None, ports),
    };
    let target = parse_range(target)?;
    let published = published.map(parse_range).transpose()?;
    let port = |published: u16, target: u16| PortConfig {
        protocol: protocol.into(),
        target: target.into(),
        published: published.into(),
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

/// `published=8080,target=80,protocol=tcp,mode=ingress|host,host_ip=…`
pub fn parse_long(text: &str) -> Result<PortConfig, PortError> {
    let mut port = PortConfig::default();
    for field in text.split(',') {
        let (key, value) =
            field.split_once('=').ok_or_else(|| PortError::Field(field.to_owned()))?;
        match key.trim().to_ascii_lowercase().as_str() {
            "target" => port.target = parse_port(value)?.into(),
            "published" => port.published = parse_port(value)?.into(),
            "protocol" => port.protocol = parse_protocol(value)?.into(),
            "mode" => port.mode = parse_mode(value)?.into(),
            "host_ip" => port.host_ip = value.to_owned(),
            _ => return Err(PortError::Field(key.to_owned())),
        }
    }
    if port.target == 0 {
        return Err(PortError::NoTarget(text.to_owned()));
    }
    if !port.host_ip.is_empty() && port.mode() != PublishMode::Host {
        return Err(PortError::HostIpMode(text.to_owned()));
    }
    Ok(port)
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
        for text in ["80/xyz", "tcp", "", "80-82:90-91", "0", "70000", "81-80", "1.2.3.4:80:80"] {
            assert!(parse_short(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_long_form_defaults_to_ingress_and_tcp() {
        let port = parse_long("target=80,published=8080").unwrap();
        assert_eq!((port.target, port.published, port.mode()), (80, 8080, PublishMode::Ingress));
        assert_eq!(parse_long("target=22,mode=host").unwrap().mode(), PublishMode::Host);
    }

    #[test]
    fn a_bad_long_form_is_refused() {
        for text in ["target=abc", "published=80", "target=80,mode=x", "target=80,foo=1", "a=b"] {
            assert!(parse_long(text).is_err(), "{text}");
        }
        assert!(parse_long("target=80,host_ip=127.0.0.1").is_err());
    }
}
