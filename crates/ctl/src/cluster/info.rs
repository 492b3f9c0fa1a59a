//! `swarmctl info`.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use swarm_api::{InfoResponse, LocalState, NodeRole};

use crate::client::Client;
use crate::output;
use crate::template::Template;

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
        let text = match self.format.as_deref() {
            None | Some("") => pretty(&info),
            Some("json") => shape(&info).to_string(),
            Some(template) => Template::parse(template)?.render(&shape(&info))?,
        };
        Ok(output::line(text)?)
    }
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

fn shape(info: &InfoResponse) -> Value {
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
    })
}

fn pretty(info: &InfoResponse) -> String {
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
        assert_eq!(pretty(&info), "Name: h\nVersion: 1\nSwarm: inactive");
    }

    #[test]
    fn an_error_is_shown() {
        let info = InfoResponse {
            state: LocalState::Error.into(),
            error: "no route".into(),
            ..Default::default()
        };
        assert!(pretty(&info).contains("Error: no route"));
    }
}
