//! `swarmctl network df`: used and free addresses, and what a change would take.

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use swarm_api::{GetAddressUsageRequest, GetAddressUsageResponse, NetworkUsage, PoolUsage};

use crate::client::{Client, ask};
use crate::listing::{Column, ListFlags, Listing};
use crate::{output, table};

const COLUMNS: &[Column] = &[
    ("NETWORK", "Name"),
    ("SUBNETS", "Subnets"),
    ("SIZE", "Size"),
    ("SERVICES", "Services"),
    ("NODES", "Nodes"),
    ("TASKS", "Tasks"),
    ("RESERVED", "Reserved"),
    ("FREE", "Free"),
];

/// Flags of `network df`.
#[derive(Args, Debug)]
pub struct DfFlags {
    /// What it would take to scale a service
    #[arg(long, value_name = "SERVICE=REPLICAS")]
    scale: Option<String>,
    /// "table", "json" or a template such as "{{.Name}} {{.Free}}"
    #[arg(long)]
    format: Option<String>,
    /// Networks; all if none is named
    #[arg(value_name = "NETWORK")]
    networks: Vec<String>,
}

impl DfFlags {
    fn request(&self) -> Result<GetAddressUsageRequest> {
        let networks = self.networks.clone();
        let Some(scale) = &self.scale else {
            return Ok(GetAddressUsageRequest { networks, ..Default::default() });
        };
        let wrong = || format!("invalid --scale \"{scale}\": use SERVICE=REPLICAS");
        let (service, replicas) = scale.split_once('=').with_context(wrong)?;
        let replicas = replicas.parse().with_context(wrong)?;
        if service.is_empty() {
            bail!(wrong());
        }
        Ok(GetAddressUsageRequest { networks, service: service.to_owned(), replicas })
    }

    /// Shows networks, pools, and what the change would take.
    pub async fn run(self, client: &Client) -> Result<()> {
        let usage = ask!(client, get_address_usage, self.request()?)?;
        let rows = usage.networks.iter().map(row).collect();
        let list = ListFlags { quiet: false, format: self.format.clone() };
        Listing { columns: COLUMNS, rows, key: "ID" }.print(&list)?;
        if self.format.as_deref().is_none_or(|format| format == "table") {
            output::raw(pools(&usage.pools).as_bytes())?;
            if let Some(scale) = &self.scale {
                output::line(format_args!("\n{}", verdict(scale, &usage)))?;
            }
        }
        Ok(())
    }
}

fn row(usage: &NetworkUsage) -> Value {
    json!({
        "ID": usage.network_id,
        "Name": usage.name,
        "Subnets": usage.subnets.join(", "),
        "Size": usage.size,
        "Services": usage.services,
        "Nodes": usage.nodes,
        "Tasks": usage.tasks,
        "Reserved": usage.reserved,
        "Free": usage.free,
        "MoreTasks": usage.more_tasks,
        "MoreNodes": usage.more_nodes,
    })
}

fn pools(pools: &[PoolUsage]) -> String {
    let mut lines = vec!["\nPOOL\tEACH\tSUBNETS\tUSED\tFREE".to_owned()];
    lines.extend(pools.iter().map(|p| {
        let used = p.subnets.saturating_sub(p.free);
        format!("{}\t/{}\t{}\t{used}\t{}", p.pool, p.length, p.subnets, p.free)
    }));
    table::align(&lines)
}

/// One line per network that the change would touch.
fn verdict(scale: &str, usage: &GetAddressUsageResponse) -> String {
    let touched = usage.networks.iter().filter(|n| n.more_tasks > 0);
    let lines: Vec<String> = touched.map(|n| one(scale, n)).collect();
    match lines.is_empty() {
        true => format!("{scale} takes no more addresses"),
        false => lines.join("\n"),
    }
}

fn one(scale: &str, network: &NetworkUsage) -> String {
    let NetworkUsage { name, more_tasks, more_nodes, free, .. } = network;
    let most = more_tasks + more_nodes;
    let fits = match most.checked_sub(*free) {
        None | Some(0) => format!("{} stay free", free - most),
        Some(lack) => format!(
            "{lack} too few: grow it with 'swarmctl network update --add-subnet CIDR {name}'"
        ),
    };
    format!(
        "{scale} takes up to {most} addresses of network {name} ({more_tasks} for tasks, up to \
         {more_nodes} for nodes): {free} are free, {fits}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_does_not_fit_says_how_much_is_lacking_and_the_remedy() {
        let network = NetworkUsage {
            name: "app".into(),
            more_tasks: 7,
            more_nodes: 1,
            free: 3,
            ..NetworkUsage::default()
        };
        let said = one("web=10", &network);
        assert!(said.contains("up to 8 addresses of network app"), "{said}");
        assert!(said.contains("3 are free, 5 too few: grow it with"), "{said}");
        assert!(one("web=10", &NetworkUsage { free: 8, ..network }).ends_with("0 stay free"));
        let nothing = GetAddressUsageResponse::default();
        assert_eq!(verdict("web=1", &nothing), "web=1 takes no more addresses");
    }

    #[test]
    fn a_scale_is_a_service_and_a_number() {
        let flags =
            |scale: &str| DfFlags { scale: Some(scale.into()), format: None, networks: vec![] };
        assert_eq!(flags("web=9").request().unwrap().replicas, 9);
        for wrong in ["web", "web=x", "=3"] {
            assert!(flags(wrong).request().is_err(), "{wrong}");
        }
    }
}
