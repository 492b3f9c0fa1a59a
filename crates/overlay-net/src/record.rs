//! What survives a crash of the daemon: one small file per network and sandbox in the run
//! directory, beside the pins. Gone after a reboot, as is everything it describes.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::fs;

use crate::error::{Context, NetError, Result};
use crate::table::{Attachment, HostPort, IngressPort, NetworkTable, Six};
use crate::uplink::Slot;

const NETWORK: &str = "network";
const SANDBOX: &str = "sandbox";
const INGRESS: &str = "ingress";

/// Lasting facts of one network on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkRecord {
    pub id: String,
    pub name: String,
    pub vni: u32,
    pub subnet: Ipv4Net,
    pub more: Vec<Ipv4Net>,
    pub six: Option<Six>,
    pub gateway: Ipv4Addr,
    pub node_address: Ipv4Addr,
    pub mtu: u32,
    pub internal: bool,
    pub ingress: bool,
    pub slot: Slot,
}

/// One container's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    pub id: String,
    pub attachments: Vec<Attachment>,
    pub ports: Vec<BoundPort>,
}

/// A host port and the way it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BoundPort {
    /// As asked for, with `published` as it really is.
    pub port: HostPort,
    /// Network through which the container is reached, and its address there.
    pub network_id: String,
    pub address: Ipv4Addr,
    /// Port at the network's end of the uplink that stands for this one.
    pub inner: u16,
}

/// The directory of records and pins.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    dir: PathBuf,
}

impl NetworkRecord {
    pub fn new(table: &NetworkTable, mtu: u32, slot: Slot) -> Self {
        Self {
            id: table.id.clone(),
            name: table.name.clone(),
            vni: table.vni,
            subnet: table.subnet,
            more: table.more.clone(),
            six: table.six,
            gateway: table.gateway,
            node_address: table.node_address,
            mtu,
            internal: table.internal,
            ingress: table.ingress,
            slot,
        }
    }

    /// All IPv4 subnets.
    pub fn subnets(&self) -> impl Iterator<Item = Ipv4Net> {
        std::iter::once(self.subnet).chain(self.more.iter().copied())
    }
}

impl Records {
    pub async fn open(run_dir: &Path) -> Result<Self> {
        let dir = run_dir.join("net");
        for part in [NETWORK, SANDBOX, "state"] {
            let dir = dir.join(part);
            fs::create_dir_all(&dir).await.context(|| format!("create {}", dir.display()))?;
        }
        Ok(Self { dir })
    }

    pub fn network_pin(&self, id: &str) -> PathBuf {
        self.dir.join(NETWORK).join(id)
    }

    pub fn sandbox_pin(&self, id: &str) -> PathBuf {
        self.dir.join(SANDBOX).join(id)
    }

    /// Pins of networks, by id, whether recorded or not.
    pub async fn network_pins(&self) -> Result<Vec<String>> {
        names(&self.dir.join(NETWORK)).await
    }

    /// Pins of sandboxes, by id, whether recorded or not.
    pub async fn sandbox_pins(&self) -> Result<Vec<String>> {
        names(&self.dir.join(SANDBOX)).await
    }

    pub async fn networks(&self) -> Result<Vec<NetworkRecord>> {
        self.load_all(NETWORK).await
    }

    pub async fn sandboxes(&self) -> Result<Vec<SandboxRecord>> {
        self.load_all(SANDBOX).await
    }

    pub async fn ingress(&self) -> Result<Vec<IngressPort>> {
        Ok(load(&self.file(INGRESS, "ports")).await?.unwrap_or_default())
    }

    pub async fn save_network(&self, record: &NetworkRecord) -> Result<()> {
        save(&self.file(NETWORK, &record.id), record).await
    }

    pub async fn save_sandbox(&self, record: &SandboxRecord) -> Result<()> {
        save(&self.file(SANDBOX, &record.id), record).await
    }

    pub async fn save_ingress(&self, ports: &[IngressPort]) -> Result<()> {
        save(&self.file(INGRESS, "ports"), &ports).await
    }

    pub async fn forget_network(&self, id: &str) -> Result<()> {
        forget(&self.file(NETWORK, id)).await
    }

    pub async fn forget_sandbox(&self, id: &str) -> Result<()> {
        forget(&self.file(SANDBOX, id)).await
    }

    fn file(&self, kind: &str, id: &str) -> PathBuf {
        self.dir.join("state").join(format!("{kind}-{id}.json"))
    }

    async fn load_all<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>> {
        let (dir, prefix) = (self.dir.join("state"), format!("{kind}-"));
        let mut all = Vec::new();
        for name in names(&dir).await? {
            if name.starts_with(&prefix) && name.ends_with(".json") {
                all.extend(load(&dir.join(name)).await?);
            }
        }
        Ok(all)
    }
}

async fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path).await {
        Ok(bytes) => {
            let parsed = serde_json::from_slice(&bytes).map_err(io::Error::from);
            parsed.map(Some).context(|| format!("read {}", path.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(NetError::kernel(format!("read {}", path.display()), error)),
    }
}

/// Written beside and renamed, so that a crash leaves the old or the new, never half.
async fn save(path: &Path, value: &impl Serialize) -> Result<()> {
    let what = || format!("write {}", path.display());
    let bytes = serde_json::to_vec(value).map_err(io::Error::from).context(what)?;
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).await.context(what)?;
    fs::rename(&beside, path).await.context(what)
}

async fn forget(path: &Path) -> Result<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(NetError::kernel(format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

async fn names(dir: &Path) -> Result<Vec<String>> {
    let what = || format!("list {}", dir.display());
    let mut entries = fs::read_dir(dir).await.context(what)?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.context(what)? {
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}
