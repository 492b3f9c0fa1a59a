//! `swarmctl node ls`.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use swarm_api::{ListNodesRequest, Node, Reachability};

use crate::client::{Client, ask};
use crate::filter::FilterSet;
use crate::labels;
use crate::listing::{Column, ListFlags, Listing};
use crate::order::natural;
use crate::shape::node::{availability, reachability, role, state};
use crate::tasks::capital;

const COLUMNS: &[Column] = &[
    ("ID", "_ID"),
    ("HOSTNAME", "Hostname"),
    ("STATUS", "_Status"),
    ("AVAILABILITY", "Availability"),
    ("MANAGER STATUS", "ManagerStatus"),
    ("ENGINE VERSION", "EngineVersion"),
];

/// Flags of `node ls`.
#[derive(Args, Debug)]
pub struct LsFlags {
    /// Only nodes with KEY=VALUE: id, name, role, label, node.label
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    list: ListFlags,
}

impl LsFlags {
    /// Lists nodes.
    pub async fn run(self, client: &Client) -> Result<()> {
        let allowed = ["id", "name", "role", "label", "node.label"];
        let filters = FilterSet::parse(&self.filter, &allowed)?;
        let own = client.info().await?.node_id;
        let mut nodes = ask!(client, list_nodes, ListNodesRequest::default())?.nodes;
        nodes.retain(|node| keeps(node, &filters));
        nodes.sort_by(|a, b| natural(a.hostname(), b.hostname()));
        let rows = nodes.iter().map(|node| row(node, &own)).collect();
        Listing { columns: COLUMNS, rows, key: "ID" }.print(&self.list)
    }
}

fn keeps(node: &Node, filters: &FilterSet) -> bool {
    let own = node.spec.as_ref().and_then(|s| s.annotations.as_ref()).map(|a| &a.labels);
    let engine = node.description.as_ref().and_then(|d| d.engine.as_ref()).map(|e| &e.labels);
    filters.allows("id", |id| node.id.starts_with(id))
        && filters.allows("name", |name| node.hostname().starts_with(name))
        && filters.allows("role", |r| r == role(node.role()))
        && filters.labels_match("label", engine)
        && filters.labels_match("node.label", own)
}

fn manager_status(node: &Node) -> String {
    match &node.manager_status {
        None => String::new(),
        Some(m) if m.leader => "Leader".into(),
        Some(m) if m.reachability() == Reachability::Unknown => "Unknown".into(),
        Some(m) => capital(reachability(m.reachability())),
    }
}

/// `+3m2s`: the node's clock is ahead of the leader's. Empty while they agree.
fn skew(milliseconds: i64) -> String {
    let seconds = Duration::from_millis(milliseconds.unsigned_abs()).as_secs();
    match (seconds, milliseconds > 0) {
        (0, _) => String::new(),
        (_, ahead) => {
            let sign = if ahead { '+' } else { '-' };
            format!("{sign}{}", swarm_api::duration::format(Duration::from_secs(seconds)))
        }
    }
}

fn row(node: &Node, own: &str) -> Value {
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    let engine = node.description.as_ref().and_then(|d| d.engine.as_ref());
    let is_self = node.id == own;
    let state = capital(state(status.state()));
    let skew = skew(status.clock_skew_ms);
    let noted = if skew.is_empty() { state.clone() } else { format!("{state} (clock {skew})") };
    json!({
        "ID": node.id,
        "_ID": format!("{} {}", node.id, if is_self { "*" } else { " " }),
        "Self": is_self,
        "Hostname": node.hostname(),
        "Status": state,
        "_Status": noted,
        "ClockSkew": skew,
        "Availability": capital(availability(spec.availability())),
        "ManagerStatus": manager_status(node),
        "EngineVersion": engine.map_or("", |e| e.version.as_str()),
        "Labels": labels::joined(spec.annotations.as_ref().map(|a| &a.labels)),
    })
}

#[cfg(test)]
mod tests {
    use swarm_api::{ManagerStatus, NodeState, NodeStatus};

    use super::*;

    #[test]
    fn the_own_node_is_marked_and_the_leader_named() {
        let node = Node {
            id: "abc".into(),
            status: Some(NodeStatus { state: NodeState::NodeReady.into(), ..Default::default() }),
            manager_status: Some(ManagerStatus { leader: true, ..Default::default() }),
            ..Node::default()
        };
        let row = row(&node, "abc");
        assert_eq!((&row["_ID"], &row["ID"]), (&json!("abc *"), &json!("abc")));
        assert_eq!((&row["Status"], &row["ManagerStatus"]), (&json!("Ready"), &json!("Leader")));
        assert_eq!(row["Availability"], "Active");
    }

    #[test]
    fn a_clock_that_is_off_shows_in_the_table_and_leaves_the_status_field_alone() {
        let status = |clock_skew_ms| {
            let state = NodeState::NodeReady.into();
            Some(NodeStatus { state, clock_skew_ms, ..Default::default() })
        };
        let shown = |skew| {
            let row = row(&Node { status: status(skew), ..Node::default() }, "");
            ["_Status", "Status", "ClockSkew"].map(|f| row[f].as_str().unwrap().to_owned())
        };
        assert_eq!(shown(0), ["Ready", "Ready", ""]);
        assert_eq!(shown(182_400), ["Ready (clock +3m2s)", "Ready", "+3m2s"]);
        assert_eq!(shown(-7_200_000), ["Ready (clock -2h0m0s)", "Ready", "-2h0m0s"]);
    }
}
