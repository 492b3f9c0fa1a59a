//! `--force-new-cluster`: the manager that holds the last of the state becomes the only one, as the
//! node that it is and with everything it knows.

use std::fs;
use std::io;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use swarm_api::NodeRole;
use swarm_ca::Kept;
use swarm_manager::recovery::{Heir, Salvage, restore};

use super::{aside, sync_parent};
use crate::address::{self, interfaces};
use crate::file;
use crate::state::{Settings, StateDir};

/// What a worker answers.
pub const WORKER: &str =
    "this node is a worker: only a manager holds the cluster's state, run this on one";
/// In the new store's folder once all of it, and what belongs to it, is written.
const READY: &str = "ready";
/// Says that the flag did its work: left on a command line, it must not do it again.
const DONE: &str = "forced-new-cluster";

/// Addresses that are to change, as given by the user.
#[derive(Debug, Default, Clone)]
pub struct Addresses {
    /// Where it listens.
    pub listen: Option<String>,
    /// What others are told.
    pub advertise: Option<String>,
}

/// What `swarmd --force-new-cluster` does before the daemon takes up its membership.
pub fn at_start(state: &StateDir, addresses: &Addresses) -> Result<()> {
    let done = state.root().join(DONE);
    if done.exists() {
        bail!(
            "this node has already become the only manager of a new cluster: start swarmd without \
             --force-new-cluster, or remove {} to do it again",
            done.display()
        );
    }
    run(state, addresses)?;
    Ok(file::write(state.root(), DONE, b"")?)
}

/// Makes this node the only manager. Nothing may use the folder. Blocking.
pub fn run(state: &StateDir, addresses: &Addresses) -> Result<()> {
    let Some(kept) = state.identity()? else {
        bail!("this node is in no cluster: there is nothing to make a new cluster from");
    };
    let Kept::Open(identity) = kept else {
        bail!(
            "this node is locked: start swarmd, unlock it with 'swarmctl unlock', then run \
             'swarmctl init --force-new-cluster'"
        );
    };
    ensure!(identity.role == NodeRole::Manager && state.raft().is_dir(), WORKER);
    let settings = state.settings()?.context("the node's settings are missing")?;
    let settings = moved(settings, addresses)?;
    let data_keys = state.known_data_keys()?.context("the keys of its store are missing")?;
    let salvage = Salvage::from_folder(&state.raft(), &data_keys)?;
    let node_id = identity.node_id.clone();
    ensure!(
        salvage.node_id.as_ref() == Some(&node_id) && salvage.knows(&node_id),
        "the store here is not that of node {node_id}"
    );
    let lost: Vec<String> = salvage
        .members
        .iter()
        .filter(|m| m.node_id != node_id)
        .map(|m| format!("{} ({})", salvage.hostname(&m.node_id), m.addr))
        .collect();
    tracing::warn!(
        index = salvage.index(),
        term = salvage.term,
        committed = salvage.committed,
        others = lost.join(", "),
        "making a new cluster with this node as its only manager"
    );
    let heir = Heir {
        node_id,
        hostname: salvage.hostname(&identity.node_id),
        addr: settings.advertise_addr.clone(),
    };
    let fresh = state.raft().with_extension("new");
    remove(&fresh)?;
    let identity = restore(&salvage, &heir, &fresh, &data_keys, SystemTime::now())?;
    state.save_identity(&identity)?;
    state.save_settings(&settings)?;
    file::write(&fresh, READY, b"")?;
    finish(state)
}

/// Puts a store that was made in the place of the old one, also after an interruption. The old one is
/// moved aside.
pub fn finish(state: &StateDir) -> Result<()> {
    let (raft, fresh) = (state.raft(), state.raft().with_extension("new"));
    if !fresh.join(READY).exists() {
        return Ok(());
    }
    if raft.exists() {
        let old = aside(&raft, SystemTime::now())?;
        tracing::info!(path = %old.display(), "the former store is kept");
        fs::rename(&raft, old)?;
    }
    fs::rename(&fresh, &raft)?;
    sync_parent(&raft)?;
    remove_file(&raft.join(READY))
}

/// The settings with other addresses; one that it listens on follows the advertised one.
fn moved(mut settings: Settings, addresses: &Addresses) -> Result<Settings> {
    let interfaces = interfaces();
    let old: std::net::SocketAddr =
        settings.advertise_addr.parse().context("advertised address")?;
    let mut listen: std::net::SocketAddr = match &addresses.listen {
        Some(text) => address::parse(text, &interfaces)?,
        None => settings.listen_addr.parse().context("listen address")?,
    };
    if let Some(text) = &addresses.advertise {
        let own_port = listen.port();
        let any = std::net::SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), own_port);
        let new = address::advertised(Some(text), any, &interfaces)?;
        if listen.ip() == old.ip() && addresses.listen.is_none() {
            listen.set_ip(new.ip());
        }
        if settings.data_path_addr == old.ip().to_string() {
            settings.data_path_addr = new.ip().to_string();
        }
        settings.advertise_addr = new.to_string();
    }
    settings.listen_addr = listen.to_string();
    if addresses.advertise.is_some() || addresses.listen.is_some() {
        settings.asked.advertise.clone_from(&settings.advertise_addr);
        settings.asked.listen.clone_from(&settings.listen_addr);
    }
    settings.managers = vec![settings.advertise_addr.clone()];
    Ok(settings)
}

fn remove(path: &std::path::Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn remove_file(path: &std::path::Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            listen_addr: "192.0.2.1:2377".into(),
            advertise_addr: "192.0.2.1:2377".into(),
            data_path_addr: "192.0.2.1".into(),
            data_path_port: 4789,
            managers: vec!["192.0.2.1:2377".into(), "192.0.2.2:2377".into()],
            asked: crate::place::Wish::default(),
            flags: crate::place::Wish::default(),
        }
    }

    #[test]
    fn a_new_address_takes_the_place_of_the_old_one_everywhere() {
        let addresses = Addresses { listen: None, advertise: Some("198.51.100.9".into()) };
        let it = moved(settings(), &addresses).unwrap();
        assert_eq!(it.advertise_addr, "198.51.100.9:2377");
        assert_eq!(
            (it.listen_addr.as_str(), it.data_path_addr.as_str()),
            ("198.51.100.9:2377", "198.51.100.9")
        );
        assert_eq!(it.managers, ["198.51.100.9:2377"]);
        let it = moved(settings(), &Addresses::default()).unwrap();
        assert_eq!(it.advertise_addr, "192.0.2.1:2377");
        assert_eq!(it.managers, ["192.0.2.1:2377"]);
    }

    #[test]
    fn a_node_without_a_cluster_has_nothing_to_make_one_from() {
        let dir = tempfile::tempdir().unwrap();
        let error = at_start(&StateDir::new(dir.path()), &Addresses::default()).unwrap_err();
        assert!(error.to_string().contains("this node is in no cluster"), "{error}");
    }
}
