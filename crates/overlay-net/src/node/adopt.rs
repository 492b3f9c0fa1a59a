//! Start of the data plane: takes over what an earlier daemon left, removes what nobody recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::{Entry, Inner, Links, NetConfig, NodeNet, State, netns};
use crate::error::Result;
use crate::netns::NetNs;
use crate::network::{HostSide, Network};
use crate::nft::Firewall;
use crate::record::Records;
use crate::reserve::reserve;
use crate::sysctl;
use crate::table::ipv4;
use crate::underlay::Underlay;

impl NodeNet {
    /// Opens the data plane. Namespaces, links and published ports of an earlier daemon are taken
    /// over as they are and keep working; call [`NodeNet::apply`] for each network, then
    /// [`NodeNet::create_sandbox`] for each container, to have them verified and repaired.
    pub async fn open(config: NetConfig) -> Result<Self> {
        let underlay = ipv4("data path", config.underlay)?;
        let host_ns = match &config.host_netns {
            Some(path) => NetNs::open(path)?,
            None => NetNs::current()?,
        };
        let links = Links::open(&host_ns).await?;
        sysctl::host(&host_ns).await?;
        let records = Records::open(&config.run_dir).await?;
        let state = State {
            networks: adopt_networks(&records).await?,
            sandboxes: adopt_sandboxes(&records, &host_ns).await?,
            dying: BTreeMap::new(),
            ingress: records.ingress().await?,
            firewall: Firewall::open(&host_ns).await?,
            rules: None,
        };
        let paths = Underlay::open(&links, underlay).await?;
        let host = HostSide { links, underlay, vxlan_port: config.vxlan_port };
        let (state, background) = (Mutex::new(state), TaskTracker::new());
        let inner = Inner { host, records, underlay: paths, state, background };
        let node = Self { inner: Arc::new(inner) };
        node.set_host_rules(&mut *node.inner.state.lock().await).await?;
        Ok(node)
    }
}

async fn adopt_networks(records: &Records) -> Result<BTreeMap<String, Network>> {
    let mut networks = BTreeMap::new();
    for record in records.networks().await? {
        let pin = records.network_pin(&record.id);
        let id = record.id.clone();
        if netns::is_pinned(&pin) {
            networks.insert(id, Network::open(record, &pin).await?);
        } else {
            // The machine was restarted: nothing of it is left.
            records.forget_network(&id).await?;
        }
    }
    for id in records.network_pins().await? {
        if !networks.contains_key(&id) {
            netns::delete(&records.network_pin(&id))?;
        }
    }
    Ok(networks)
}

async fn adopt_sandboxes(records: &Records, host: &NetNs) -> Result<BTreeMap<String, Entry>> {
    let mut sandboxes = BTreeMap::new();
    for record in records.sandboxes().await? {
        let id = record.id.clone();
        if !netns::is_pinned(&records.sandbox_pin(&id)) {
            records.forget_sandbox(&id).await?;
            continue;
        }
        let mut reservations = Vec::new();
        for bound in &record.ports {
            let port = &bound.port;
            let address = port.host_ip.map(|ip| ipv4("host ip", ip)).transpose()?;
            match reserve(host, address, port.protocol, port.published).await {
                Ok(held) => reservations.push(held),
                // The rules lead to the container all the same: its holder gets nothing.
                Err(error) => tracing::warn!(sandbox = id, %error, "host port not held again"),
            }
        }
        sandboxes.insert(id, Entry { record, ready: false, routed: BTreeMap::new(), reservations });
    }
    for id in records.sandbox_pins().await? {
        if !sandboxes.contains_key(&id) {
            netns::delete(&records.sandbox_pin(&id))?;
        }
    }
    Ok(sandboxes)
}
