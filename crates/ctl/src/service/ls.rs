//! `swarmctl service ls`; `stack services` shows the same table.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use swarm_api::object::Stored;
use swarm_api::{
    ListServicesRequest, PortConfig, PublishMode, Service, ServiceCounts, service_spec,
};

use crate::client::{Client, ask};
use crate::filter::FilterSet;
use crate::labels;
use crate::listing::{Column, ListFlags, Listing};
use crate::order::natural;
use crate::tasks::without_digest;

const COLUMNS: &[Column] = &[
    ("ID", "ID"),
    ("NAME", "Name"),
    ("MODE", "Mode"),
    ("REPLICAS", "Replicas"),
    ("IMAGE", "Image"),
    ("PORTS", "Ports"),
];

/// Flags of `service ls`.
#[derive(Args, Debug)]
pub struct LsFlags {
    /// Only services with KEY=VALUE: id, name, mode, label
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    list: ListFlags,
}

impl LsFlags {
    /// Lists services.
    pub async fn run(self, client: &Client) -> Result<()> {
        print(client, &self.filter, &self.list, |_| true).await.map(drop)
    }
}

/// Shows the services that pass the filters and `keep`; tells how many there are.
pub async fn print(
    client: &Client,
    filter: &[String],
    list: &ListFlags,
    keep: impl Fn(&Service) -> bool,
) -> Result<usize> {
    let filters = FilterSet::parse(filter, &["id", "name", "mode", "label"])?;
    let request = ListServicesRequest { filters: filters.request(), modes: Vec::new() };
    let answer = ask!(client, list_services, request)?;
    let mut services = answer.services;
    services.retain(|s| {
        keep(s)
            && filters.allows("mode", |wanted| wanted == mode(s))
            && filters.labels_match("label", s.labels())
    });
    services.sort_by(|a, b| natural(a.spec_name(), b.spec_name()));
    let row_of = |s: &Service| row(s, answer.counts.get(&s.id));
    let rows: Vec<Value> = services.iter().map(row_of).collect();
    let count = rows.len();
    Listing { columns: COLUMNS, rows, key: "ID" }.print(list)?;
    Ok(count)
}

/// `replicated` or `global`.
pub fn mode(service: &Service) -> &'static str {
    match service.spec.as_ref().and_then(|s| s.mode.as_ref()) {
        Some(service_spec::Mode::Global(_)) => "global",
        _ => "replicated",
    }
}

fn row(service: &Service, counts: Option<&ServiceCounts>) -> Value {
    let task = service.spec.as_ref().and_then(|s| s.task.as_ref());
    let image = task.and_then(|t| t.container.as_ref()).map_or("", |c| &c.image);
    json!({
        "ID": swarm_api::id::short(&service.id),
        "Name": service.spec_name(),
        "Mode": mode(service),
        "Replicas": replicas(service, counts),
        "Image": without_digest(image),
        "Ports": ports(service.endpoint.as_ref().map_or(&[], |e| &e.ports)),
        "Labels": labels::joined(service.labels()),
    })
}

fn replicas(service: &Service, counts: Option<&ServiceCounts>) -> String {
    let counts = counts.cloned().unwrap_or_default();
    let placement =
        service.spec.as_ref().and_then(|s| s.task.as_ref()).and_then(|t| t.placement.as_ref());
    let most = placement.map_or(0, |p| p.max_replicas);
    let text = format!("{}/{}", counts.running, counts.desired);
    match most {
        0 => text,
        most => format!("{text} (max {most} per node)"),
    }
}

/// Ports published on every node, neighbours folded into ranges: `*:80-81->80-81/tcp`.
pub fn ports(ports: &[PortConfig]) -> String {
    let mut all: Vec<&PortConfig> =
        ports.iter().filter(|p| p.mode() == PublishMode::Ingress && p.published != 0).collect();
    all.sort_by_key(|p| (p.protocol, &p.host_ip, p.published));
    let mut ranges: Vec<(&PortConfig, u32)> = Vec::new();
    for port in all {
        match ranges.last_mut() {
            Some((first, length))
                if (first.protocol, &first.host_ip) == (port.protocol, &port.host_ip)
                    && first.published + *length == port.published
                    && first.target + *length == port.target =>
            {
                *length += 1;
            }
            _ => ranges.push((port, 1)),
        }
    }
    let shown: Vec<String> =
        ranges.into_iter().map(|(first, length)| range(first, length)).collect();
    shown.join(", ")
}

fn range(first: &PortConfig, length: u32) -> String {
    let protocol = swarm_api::port::protocol_name(first.protocol());
    let span = |start: u32| match length {
        1 => start.to_string(),
        _ => format!("{start}-{}", start + length - 1),
    };
    let address = if first.host_ip.is_empty() { "*" } else { &first.host_ip };
    format!("{address}:{}->{}/{protocol}", span(first.published), span(first.target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_ports_fold_into_ranges() {
        let mut list = swarm_api::port::parse_short("80-81:80-81").unwrap();
        list.extend(swarm_api::port::parse_short("53:53/udp").unwrap());
        list.extend(swarm_api::port::parse_short("8080:80").unwrap());
        list.extend(swarm_api::port::parse("published=9,target=9,mode=host").unwrap());
        list.extend(swarm_api::port::parse_short("127.0.0.1:82:82").unwrap());
        let shown = "*:80-81->80-81/tcp, *:8080->80/tcp, 127.0.0.1:82->82/tcp, *:53->53/udp";
        assert_eq!(ports(&list), shown);
    }

    #[test]
    fn replicas_are_running_of_desired() {
        let counts = ServiceCounts { running: 1, desired: 3, completed: 0 };
        assert_eq!(replicas(&Service::default(), Some(&counts)), "1/3");
    }
}
