//! `swarmctl info`.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use swarm_api::{GetClusterRequest, InfoResponse, LocalState, NodeRole};

use crate::client::{Client, ask};
use crate::output;
use crate::template::Template;

/// Prefix length of every IPv6 subnet that is cut from a pool.
const SIX: u32 = 64;

/// Flags of `info`.
#[derive(Args, Debug)]
pub struct InfoFlags {
    /// "json" or a template such as "{{.NodeID}}"
    #[arg(short, long)]
    format: Option<String>,
}

impl InfoFlags {
    /// Shows the node's part in its cluster.
    pub async fn run(self, client: &Client) -> Result<()> {
        let info = client.info().await?;
        let pools = match info.control_available {
            true => pools(client).await,
            false => Vec::new(),
        };
        let text = match self.format.as_deref() {
            None | Some("") => pretty(&info, &pools),
            Some("json") => shape(&info, &pools).to_string(),
            Some(template) => Template::parse(template)?.render(&shape(&info, &pools))?,
        };
        Ok(output::line(text)?)
    }
}

/// Where networks get their subnets from, and how large these are. A page without them is better than none.
async fn pools(client: &Client) -> Vec<(String, u32)> {
    let cluster = ask!(client, get_cluster, GetClusterRequest {});
    let cluster = cluster.ok().and_then(|answer| answer.cluster).unwrap_or_default();
    let size = |pool: &str| if pool.contains(':') { SIX } else { cluster.subnet_size };
    cluster.default_addr_pool.iter().map(|pool| (pool.clone(), size(pool))).collect()
}

fn state(info: &InfoResponse) -> &'static str {
    match info.state() {
        LocalState::Inactive => "inactive",
        LocalState::Joining => "pending",
        LocalState::InCluster => "active",
        LocalState::Error => "error",
        LocalState::Locked => "locked",
    }
}

fn shape(info: &InfoResponse, pools: &[(String, u32)]) -> Value {
    let pool = |(base, size): &(String, u32)| json!({"Base": base, "Size": size});
    json!({
        "Name": info.hostname,
        "ServerVersion": info.version,
        "State": state(info),
        "Error": info.error,
        "NodeID": info.node_id,
        "ClusterID": info.cluster_id,
        "IsManager": info.role() == NodeRole::Manager,
        "ControlAvailable": info.control_available,
        "NodeAddr": info.addr,
        "Managers": info.managers,
        "DefaultAddressPools": pools.iter().map(pool).collect::<Vec<_>>(),
    })
}

fn pretty(info: &InfoResponse, pools: &[(String, u32)]) -> String {
    let mut lines = vec![
        format!("Name: {}", info.hostname),
        format!("Version: {}", info.version),
        format!("Swarm: {}", state(info)),
    ];
    if !info.error.is_empty() {
        lines.push(format!(" Error: {}", info.error));
    }
    if info.state() != LocalState::Inactive {
        lines.push(format!(" NodeID: {}", info.node_id));
        lines.push(format!(" Is Manager: {}", info.role() == NodeRole::Manager));
        lines.push(format!(" ClusterID: {}", info.cluster_id));
        if info.role() == NodeRole::Manager {
            lines.push(format!(" Cluster API served: {}", info.control_available));
        }
        if !pools.is_empty() {
            lines.push(" Default Address Pools:".into());
            lines.extend(pools.iter().map(|(base, size)| format!("  {base}, a /{size} each")));
        }
        lines.push(format!(" Node Address: {}", info.addr));
        lines.push(" Manager Addresses:".into());
        lines.extend(info.managers.iter().map(|manager| format!("  {manager}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_outside_of_clusters_shows_no_cluster() {
        let info = InfoResponse { hostname: "h".into(), version: "1".into(), ..Default::default() };
        assert_eq!(pretty(&info, &[]), "Name: h\nVersion: 1\nSwarm: inactive");
    }

    #[test]
    fn an_error_is_shown() {
        let info = InfoResponse {
            state: LocalState::Error.into(),
            error: "no route".into(),
            ..Default::default()
        };
        assert!(pretty(&info, &[]).contains("Error: no route"));
    }
}
