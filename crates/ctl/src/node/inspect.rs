//! `swarmctl node inspect`.

use anyhow::Result;
use clap::Args;
use swarm_api::Node;

use super::find;
use crate::client::Client;
use crate::inspect::Form;
use crate::shape;
use crate::shape::node::{availability, reachability, role, state};
use crate::tasks::capital;

/// Flags of `node inspect`.
#[derive(Args, Debug)]
pub struct InspectFlags {
    #[command(flatten)]
    form: Form,
    /// Nodes; "self" is the connected one
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

impl InspectFlags {
    /// Shows the nodes.
    pub async fn run(self, client: &Client) -> Result<()> {
        self.form.check()?;
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for reference in &self.nodes {
            match find(client, reference).await {
                Ok(node) => found.push(node),
                Err(error) => errors.push(error),
            }
        }
        self.form.print(&found, errors, shape::node::node, pretty)
    }
}

fn pretty(node: &Node) -> String {
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    let description = node.description.clone().unwrap_or_default();
    let platform = description.platform.unwrap_or_default();
    let resources = description.resources.unwrap_or_default();
    let memory = swarm_api::size::format_binary(u64::try_from(resources.memory_bytes).unwrap_or(0));
    let mut lines =
        vec![format!("ID:\t\t\t{}", node.id), format!("Hostname:\t\t{}", node.hostname())];
    for (key, value) in spec.annotations.iter().flat_map(|a| &a.labels) {
        lines.push(format!("Label:\t\t\t{key}={value}"));
    }
    lines.extend([
        format!("Role:\t\t\t{}", capital(role(node.role()))),
        "Status:".into(),
        format!(" State:\t\t\t{}", capital(state(status.state()))),
    ]);
    if !status.message.is_empty() {
        lines.push(format!(" Message:\t\t{}", status.message));
    }
    lines.extend([
        format!(" Availability:\t\t{}", capital(availability(spec.availability()))),
        format!(" Address:\t\t{}", status.addr),
    ]);
    if let Some(manager) = &node.manager_status {
        lines.extend([
            "Manager Status:".into(),
            format!(" Address:\t\t{}", manager.addr),
            format!(" Raft Status:\t\t{}", capital(reachability(manager.reachability()))),
            format!(" Leader:\t\t{}", if manager.leader { "Yes" } else { "No" }),
        ]);
    }
    lines.extend([
        "Platform:".into(),
        format!(" Operating System:\t{}", platform.os),
        format!(" Architecture:\t\t{}", platform.architecture),
        "Resources:".into(),
        format!(" CPUs:\t\t\t{}", resources.nano_cpus / 1_000_000_000),
        format!(" Memory:\t\t{memory}"),
        format!("Engine Version:\t\t{}", description.engine.unwrap_or_default().version),
    ]);
    lines.join("\n") + "\n"
}
