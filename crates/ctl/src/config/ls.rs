//! `swarmctl config ls`.

use std::time::SystemTime;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use swarm_api::object::Stored;
use swarm_api::{Config, ListConfigsRequest};

use crate::age::ago;
use crate::client::{Client, ask};
use crate::filter::FilterSet;
use crate::labels;
use crate::listing::{Column, ListFlags, Listing};
use crate::order::natural;

const COLUMNS: &[Column] =
    &[("ID", "ID"), ("NAME", "Name"), ("CREATED", "CreatedAt"), ("UPDATED", "UpdatedAt")];

/// Flags of `config ls`.
#[derive(Args, Debug)]
pub struct LsFlags {
    /// Only configs with KEY=VALUE: id, name, label
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    list: ListFlags,
}

impl LsFlags {
    /// Lists configs.
    pub async fn run(self, client: &Client) -> Result<()> {
        let filters = FilterSet::parse(&self.filter, &["id", "name", "label"])?;
        let request = ListConfigsRequest { filters: filters.request() };
        let mut configs = ask!(client, list_configs, request)?.configs;
        configs.retain(|config| filters.labels_match("label", config.labels()));
        configs.sort_by(|a, b| natural(a.name(), b.name()));
        let now = SystemTime::now();
        let rows = configs.iter().map(|config| row(config, now)).collect();
        Listing { columns: COLUMNS, rows, key: "ID" }.print(&self.list)
    }
}

fn row(config: &Config, now: SystemTime) -> Value {
    let meta = config.meta.unwrap_or_default();
    json!({
        "ID": config.id,
        "Name": config.name(),
        "CreatedAt": ago(meta.created_at.as_ref(), now),
        "UpdatedAt": ago(meta.updated_at.as_ref(), now),
        "Labels": labels::joined(config.labels()),
    })
}
