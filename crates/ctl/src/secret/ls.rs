//! `swarmctl secret ls`.

use std::time::SystemTime;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use swarm_api::object::Stored;
use swarm_api::{ListSecretsRequest, Secret};

use crate::age::ago;
use crate::client::{Client, ask};
use crate::filter::FilterSet;
use crate::labels;
use crate::listing::{Column, ListFlags, Listing};
use crate::order::natural;

const COLUMNS: &[Column] = &[
    ("ID", "ID"),
    ("NAME", "Name"),
    ("DRIVER", "Driver"),
    ("CREATED", "CreatedAt"),
    ("UPDATED", "UpdatedAt"),
];

/// Flags of `secret ls`.
#[derive(Args, Debug)]
pub struct LsFlags {
    /// Only secrets with KEY=VALUE: id, name, label
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    list: ListFlags,
}

impl LsFlags {
    /// Lists secrets.
    pub async fn run(self, client: &Client) -> Result<()> {
        let filters = FilterSet::parse(&self.filter, &["id", "name", "label"])?;
        let request = ListSecretsRequest { filters: filters.request() };
        let mut secrets = ask!(client, list_secrets, request)?.secrets;
        secrets.retain(|secret| filters.labels_match("label", secret.labels()));
        secrets.sort_by(|a, b| natural(a.name(), b.name()));
        let now = SystemTime::now();
        let rows = secrets.iter().map(|secret| row(secret, now)).collect();
        Listing { columns: COLUMNS, rows, key: "ID" }.print(&self.list)
    }
}

fn row(secret: &Secret, now: SystemTime) -> Value {
    let meta = secret.meta.unwrap_or_default();
    json!({
        "ID": secret.id,
        "Name": secret.name(),
        "Driver": "",
        "CreatedAt": ago(meta.created_at.as_ref(), now),
        "UpdatedAt": ago(meta.updated_at.as_ref(), now),
        "Labels": labels::joined(secret.labels()),
    })
}
