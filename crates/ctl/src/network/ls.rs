//! `swarmctl network ls`.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use swarm_api::object::Stored;
use swarm_api::{ListNetworksRequest, Network};

use crate::age::rfc3339;
use crate::client::{Client, ask};
use crate::filter::FilterSet;
use crate::labels;
use crate::listing::{Column, ListFlags, Listing};
use crate::order::natural;

const COLUMNS: &[Column] =
    &[("NETWORK ID", "ID"), ("NAME", "Name"), ("DRIVER", "Driver"), ("SCOPE", "Scope")];

/// Flags of `network ls`.
#[derive(Args, Debug)]
pub struct LsFlags {
    /// Only networks with KEY=VALUE: id, name, driver, scope, label
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Show ids in full
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    list: ListFlags,
}

impl LsFlags {
    /// Lists networks.
    pub async fn run(self, client: &Client) -> Result<()> {
        let filters = FilterSet::parse(&self.filter, &["id", "name", "driver", "scope", "label"])?;
        let mut networks = ask!(client, list_networks, ListNetworksRequest::default())?.networks;
        networks.retain(|network| keeps(network, &filters));
        networks.sort_by(|a, b| natural(a.name(), b.name()));
        let rows = networks.iter().map(|network| row(network, self.no_trunc)).collect();
        Listing { columns: COLUMNS, rows, key: "ID" }.print(&self.list)
    }
}

fn keeps(network: &Network, filters: &FilterSet) -> bool {
    let driver = network.spec.as_ref().map_or("", |s| &s.driver);
    filters.allows("id", |id| network.id.contains(id))
        && filters.allows("name", |name| network.name().contains(name))
        && filters.allows("driver", |d| d == driver)
        && filters.allows("scope", |scope| scope == "swarm")
        && filters.labels_match("label", network.labels())
}

fn row(network: &Network, whole: bool) -> Value {
    let spec = network.spec.clone().unwrap_or_default();
    let id = network.id.as_str();
    json!({
        "ID": if whole { id } else { swarm_api::id::short(id) },
        "Name": network.name(),
        "Driver": spec.driver,
        "Scope": "swarm",
        "IPv4": true,
        "IPv6": spec.ipv6,
        "Internal": spec.internal,
        "Labels": labels::joined(network.labels()),
        "CreatedAt": rfc3339(network.meta.as_ref().and_then(|m| m.created_at.as_ref())),
    })
}
