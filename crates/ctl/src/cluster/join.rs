//! `swarmctl join`.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::{JoinRequest, NodeAvailability};
use tokio::time::timeout;

use super::{Availability, Role};
use crate::client::{Client, local};
use crate::output;

/// As long as the incumbent waits.
const JOIN_WITHIN: Duration = Duration::from_secs(20);

/// Flags of `join`.
#[derive(Args)]
pub struct JoinFlags {
    /// Token from 'swarmctl join-token worker|manager'
    #[arg(long)]
    token: String,
    /// Address to listen on, as IP[:PORT] (0.0.0.0:2377)
    #[arg(long, value_name = "ADDR", default_value = "")]
    listen_addr: String,
    /// Address told to other nodes, as IP|INTERFACE[:PORT]
    #[arg(long, value_name = "ADDR", default_value = "")]
    advertise_addr: String,
    /// Address for traffic between containers, as IP|INTERFACE
    #[arg(long, value_name = "ADDR", default_value = "")]
    data_path_addr: String,
    /// Whether this node takes tasks
    #[arg(long, value_enum, default_value = "active")]
    availability: Availability,
    /// Address of a manager, as HOST:PORT
    #[arg(value_name = "HOST:PORT", required = true)]
    managers: Vec<String>,
}

/// Without the token.
impl std::fmt::Debug for JoinFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinFlags").field("managers", &self.managers).finish_non_exhaustive()
    }
}

impl JoinFlags {
    /// Joins and says as what.
    pub async fn run(self, client: &Client) -> Result<()> {
        let request = JoinRequest {
            listen_addr: self.listen_addr,
            advertise_addr: self.advertise_addr,
            data_path_addr: self.data_path_addr,
            remote_addrs: self.managers,
            token: self.token,
            availability: NodeAvailability::from(self.availability).into(),
        };
        let mut node = client.node();
        let Ok(answer) = timeout(JOIN_WITHIN, node.join(request)).await else {
            bail!(
                "timeout was reached before the node joined; the attempt continues in the \
                 background: see 'swarmctl info' for how it goes"
            );
        };
        let role = match local(answer)?.role() {
            swarm_api::NodeRole::Manager => Role::Manager,
            swarm_api::NodeRole::Worker => Role::Worker,
        };
        Ok(output::line(format_args!("This node joined a swarm as a {}.", role.name()))?)
    }
}
