//! `swarmctl stack ls`.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use swarm_api::ListServicesRequest;

use super::stack_of;
use crate::client::{Client, ask};
use crate::listing::{Column, ListFlags, Listing};
use crate::order::natural;

const COLUMNS: &[Column] = &[("NAME", "Name"), ("SERVICES", "Services")];

/// Flags of `stack ls`.
#[derive(Args, Debug)]
pub struct LsFlags {
    #[command(flatten)]
    list: ListFlags,
}

impl LsFlags {
    /// Lists stacks.
    pub async fn run(self, client: &Client) -> Result<()> {
        let services = ask!(client, list_services, ListServicesRequest::default())?.services;
        let mut counts = BTreeMap::<&str, usize>::new();
        for stack in services.iter().filter_map(stack_of) {
            *counts.entry(stack).or_default() += 1;
        }
        let mut stacks: Vec<(&str, usize)> = counts.into_iter().collect();
        stacks.sort_by(|a, b| natural(a.0, b.0));
        let row =
            |(name, count): (&str, usize)| json!({"Name": name, "Services": count.to_string()});
        let rows = stacks.into_iter().map(row).collect();
        Listing { columns: COLUMNS, rows, key: "Name" }.print(&self.list)
    }
}
