//! What goes from a host when its node leaves its cluster: the tasks' containers, the networks, the
//! cluster's state. Volumes and images stay.
//!
//! Called when nothing of the membership runs any more; `leave` and `member` see to that.

use anyhow::{Context, Result};
use swarm_overlay_net::{NetConfig, NodeNet};

use crate::daemon::Daemon;
use crate::state::Settings;

/// The node's networks, as they are on the host.
pub async fn open_net(daemon: &Daemon, settings: &Settings) -> Result<NodeNet> {
    let config = NetConfig {
        run_dir: daemon.args.run_dir.join("net"),
        underlay: settings.data_path_addr.parse().context("data path address")?,
        vxlan_port: settings.data_path_port,
        host_netns: None,
    };
    NodeNet::open(config).await.context("open the data plane")
}

/// Removes all of it. Every step is taken, whatever fails; what failed is told together.
pub async fn erase(daemon: &Daemon, net: &NodeNet) -> Result<()> {
    let failures = swarm_agent::remove_containers(&daemon.engine).await;
    let mut failures: Vec<String> = failures.iter().map(ToString::to_string).collect();
    let mut note = |what: &str, error: &dyn std::fmt::Display| {
        failures.push(format!("{what}: {error}"));
    };
    for sandbox in net.sandboxes().await {
        if let Err(error) = net.delete_sandbox(&sandbox).await {
            note("remove a sandbox", &error);
        }
    }
    if let Err(error) = net.set_ingress(Vec::new()).await {
        note("withdraw published ports", &error);
    }
    for network in net.list().await {
        if let Err(error) = net.remove(&network).await {
            note("remove a network", &error);
        }
    }
    net.settle().await;
    if let Err(error) = daemon.state.wipe() {
        note("remove the cluster state", &error);
    }
    anyhow::ensure!(failures.is_empty(), "the node left, but {}", failures.join("; "));
    Ok(())
}
