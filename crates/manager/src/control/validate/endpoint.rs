//! How a service is reached: its ports, and what is asked of its virtual addresses.

use std::net::IpAddr;

use swarm_api::{EndpointMode, EndpointSpec, LbPolicy, PortConfig, Protocol, PublishMode, port};

use super::invalid;
use crate::refusal::Refusal;

/// Longest time in seconds that a silent connection may be kept: as long as nodes do by themselves.
const MAX_IDLE: i64 = 5 * 24 * 3600;

pub fn check(endpoint: Option<&EndpointSpec>) -> Result<(), Refusal> {
    let Some(endpoint) = endpoint else { return Ok(()) };
    let mut seen: Vec<&PortConfig> = Vec::new();
    for port in &endpoint.ports {
        check_port(endpoint, port)?;
        if port.published != 0 && seen.iter().any(|other| port::meet(other, port)) {
            return Err(Refusal::Invalid(format!(
                "EndpointSpec: duplicate published ports provided: {}",
                port.published
            )));
        }
        seen.push(port);
    }
    check_balance(endpoint)
}

fn check_port(endpoint: &EndpointSpec, port: &PortConfig) -> Result<(), Refusal> {
    if !(1..=65535).contains(&port.target) || port.published > 65535 {
        return Err(Refusal::Invalid(format!(
            "EndpointSpec: port {}:{} must be in the range 1-65535",
            port.published, port.target
        )));
    }
    let ingress = port.mode() == PublishMode::Ingress;
    if ingress && endpoint.mode() == EndpointMode::Dnsrr {
        let text = "EndpointSpec: port published with ingress mode can't be used with dnsrr mode";
        return Err(invalid(text));
    }
    if port.local && !ingress {
        return Err(invalid("EndpointSpec: a port is published with mode host or local, not both"));
    }
    if port.protocol() == Protocol::Sctp {
        return Err(Refusal::NotBuilt(format!(
            "port {}/sctp: publishing sctp ports is not built yet: tcp and udp are",
            port.target
        )));
    }
    match port.host_ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => Ok(()),
        Ok(IpAddr::V6(address)) => Err(Refusal::NotBuilt(format!(
            "port {} on {address}: publishing on IPv6 addresses is not built yet",
            port.published
        ))),
        Err(_) if port.host_ip.is_empty() => Ok(()),
        Err(_) => Err(Refusal::Invalid(format!(
            "EndpointSpec: invalid host address \"{}\": want an IP address",
            port.host_ip
        ))),
    }
}

fn check_balance(endpoint: &EndpointSpec) -> Result<(), Refusal> {
    if LbPolicy::try_from(endpoint.lb_policy).is_err() {
        return Err(invalid("EndpointSpec: unknown load-balancing policy"));
    }
    let asks = endpoint.lb_policy() != LbPolicy::RoundRobin || endpoint.idle_timeout.is_some();
    if asks && endpoint.mode() == EndpointMode::Dnsrr {
        return Err(invalid(
            "EndpointSpec: a load-balancing policy or idle timeout can't be used with dnsrr mode: \
             clients connect to the tasks themselves",
        ));
    }
    match &endpoint.idle_timeout {
        Some(idle) if !(1..=MAX_IDLE).contains(&idle.seconds) || idle.nanos != 0 => {
            Err(Refusal::Invalid(format!(
                "EndpointSpec: idle timeout must be whole seconds from 1s to {}h",
                MAX_IDLE / 3600
            )))
        }
        _ => Ok(()),
    }
}
