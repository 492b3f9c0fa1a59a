//! `swarmctl init`.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::{InitRequest, NodeAvailability};
use tokio::time::{Instant, sleep};

use super::{Availability, Role, join_command, unlock_key, update};
use crate::client::{Client, local};
use crate::output;

/// A first manager elects itself within a second or two.
const READY_WITHIN: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);
/// Ports that users may choose for the data path.
const DATA_PATH_PORTS: std::ops::RangeInclusive<u32> = 1024..=49151;

/// Flags of `init`.
#[derive(Args, Debug)]
pub struct InitFlags {
    /// Address to listen on, as IP[:PORT] (0.0.0.0:2377)
    #[arg(long, value_name = "ADDR", default_value = "")]
    listen_addr: String,
    /// Address told to other nodes, as IP|INTERFACE[:PORT]
    #[arg(long, value_name = "ADDR", default_value = "")]
    advertise_addr: String,
    /// Address for traffic between containers, as IP|INTERFACE
    #[arg(long, value_name = "ADDR", default_value = "")]
    data_path_addr: String,
    /// UDP port for traffic between containers (4789)
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    data_path_port: u32,
    /// Subnet that networks get theirs from; repeatable
    #[arg(long, value_name = "CIDR")]
    default_addr_pool: Vec<String>,
    /// Prefix length of a network's subnet (20)
    #[arg(long, value_name = "BITS", default_value_t = 0)]
    default_addr_pool_mask_length: u32,
    /// Whether this node takes tasks
    #[arg(long, value_enum, default_value = "active")]
    availability: Availability,
    /// Make this manager the only one of its cluster, with all state, when the others are lost for good
    #[arg(long)]
    force_new_cluster: bool,
    #[command(flatten)]
    spec: update::SpecFlags,
}

impl InitFlags {
    fn request(&self) -> Result<InitRequest> {
        self.spec.check()?;
        let port = self.data_path_port;
        if port != 0 && !DATA_PATH_PORTS.contains(&port) {
            bail!("data path port {port} is not in the valid range (1024-49151)");
        }
        Ok(InitRequest {
            listen_addr: self.listen_addr.clone(),
            advertise_addr: self.advertise_addr.clone(),
            data_path_addr: self.data_path_addr.clone(),
            data_path_port: port,
            default_addr_pool: self.default_addr_pool.clone(),
            subnet_size: self.default_addr_pool_mask_length,
            availability: NodeAvailability::from(self.availability).into(),
            force_new_cluster: self.force_new_cluster,
        })
    }

    /// Makes the cluster and says how others join.
    pub async fn run(self, client: &Client) -> Result<()> {
        let made = local(client.node().init(self.request()?).await)?;
        wait_until_serving(client).await?;
        let locks = self.spec.changes_something() && self.spec.apply(client).await?;
        let node_id = made.node_id;
        output::line(format_args!(
            "Swarm initialized: current node ({node_id}) is now a manager.\n"
        ))?;
        output::line("To add a worker to this swarm, run the following command:\n")?;
        output::line(format_args!("    {}\n", join_command(client, Role::Worker).await?))?;
        output::line(
            "To add a manager to this swarm, run 'swarmctl join-token manager' and follow the \
             instructions.",
        )?;
        if locks {
            output::line("")?;
            unlock_key::show(client).await?;
        }
        Ok(())
    }
}

/// Waits until the new manager answers for the cluster.
async fn wait_until_serving(client: &Client) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let info = client.info().await?;
        if info.control_available {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("the cluster was made, but its manager does not serve yet: {}", info.error);
        }
        sleep(POLL).await;
    }
}
