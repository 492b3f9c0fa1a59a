//! `swarmctl network ls`.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};
use swarm_api::object::Stored;
use swarm_api::{ListNetworksRequest, Network};

use super::users;
use crate::age::rfc3339;
use crate::client::{Client, ask};
use crate::filter::FilterSet;
use crate::labels;
use crate::listing::{Column, ListFlags, Listing};
use crate::order::natural;

const COLUMNS: &[Column] =
    &[("NETWORK ID", "ID"), ("NAME", "Name"), ("DRIVER", "Driver"), ("SCOPE", "Scope")];

const FILTERS: &[&str] = &["id", "name", "driver", "scope", "type", "dangling", "label"];

/// Flags of `network ls`.
#[derive(Args, Debug)]
pub struct LsFlags {
    /// Only networks with KEY=VALUE: id, name, driver, scope, type, dangling, label
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
        let filters = FilterSet::parse(&self.filter, FILTERS)?;
        check(&filters)?;
        let mut networks = ask!(client, list_networks, ListNetworksRequest::default())?.networks;
        if !filters.values("dangling").is_empty() {
            let used = users::used(client).await?;
            let dangles = |n: &Network| !is_builtin(n) && !used.contains(&n.id);
            networks.retain(|n| filters.allows("dangling", |v| is_true(v) == dangles(n)));
        }
        networks.retain(|network| keeps(network, &filters));
        networks.sort_by(|a, b| natural(a.name(), b.name()));
        let rows = networks.iter().map(|network| row(network, self.no_trunc)).collect();
        Listing { columns: COLUMNS, rows, key: "ID" }.print(&self.list)
    }
}

/// Refuses values that nothing could pass.
fn check(filters: &FilterSet) -> Result<()> {
    for (key, known) in [
        ("type", &["custom", "builtin"][..]),
        ("scope", &["swarm", "local", "global"]),
        ("dangling", &["true", "false", "1", "0"]),
    ] {
        if let Some(wrong) = filters.values(key).iter().find(|v| !known.contains(&v.as_str())) {
            bail!("invalid filter '{key}={wrong}' (known here: {})", known.join(", "));
        }
    }
    Ok(())
}

fn is_true(value: &str) -> bool {
    matches!(value, "true" | "1")
}

fn is_builtin(network: &Network) -> bool {
    network.spec.as_ref().is_some_and(|s| s.ingress)
}

fn keeps(network: &Network, filters: &FilterSet) -> bool {
    let driver = network.spec.as_ref().map_or("", |s| &s.driver);
    filters.allows("id", |id| network.id.contains(id))
        && filters.allows("name", |name| network.name().contains(name))
        && filters.allows("driver", |d| d == driver)
        && filters.allows("scope", |scope| scope == "swarm")
        && filters.allows("type", |t| (t == "builtin") == is_builtin(network))
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
