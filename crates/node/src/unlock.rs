//! A manager whose keys are locked: what it says until it gets the unlock key, and how it goes on then.
//! Its containers run all the while.

use std::sync::{Arc, PoisonError};

use anyhow::{Context, Result};
use swarm_ca::{Identity, Kept, Nameplate, UnlockKey};
use tonic::Status;

use crate::daemon::{Daemon, NO_CLUSTER};
use crate::member::Member;
use crate::state::Settings;
use crate::vault::VaultError;

/// What every call for the cluster is answered with.
pub const LOCKED: &str = "Swarm is encrypted and needs to be unlocked before it can be used. \
     Please use \"swarmctl unlock\" to unlock it.";
const WRONG: &str = "swarm could not be unlocked: invalid key provided";

/// What is known of a membership that is locked.
#[derive(Debug, Clone)]
pub struct Locked {
    /// Of the certificate, which is no secret.
    pub plate: Nameplate,
    /// Addresses and managers.
    pub settings: Settings,
}

/// The identity, if the membership can be taken up; else the daemon says from now on that it is locked.
pub fn held_back(daemon: &Daemon, kept: Kept, settings: &Settings) -> Result<Option<Identity>> {
    let plate = match kept {
        Kept::Locked(plate) => plate,
        Kept::Open(identity) => {
            if !daemon.state.vault().is_locked().context("read the keys")? {
                return Ok(Some(*identity));
            }
            Nameplate {
                node_id: identity.node_id.clone(),
                role: identity.role,
                cluster_id: identity.cluster_id.clone(),
            }
        }
    };
    set(daemon, Some(Locked { plate, settings: settings.clone() }));
    daemon.slot.clear(LOCKED);
    Ok(None)
}

fn set(daemon: &Daemon, locked: Option<Locked>) {
    *daemon.locked.lock().unwrap_or_else(PoisonError::into_inner) = locked;
}

/// Whether, and as what, the membership is locked.
pub fn locked(daemon: &Daemon) -> Option<Locked> {
    daemon.locked.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// After the node has left, keys and all.
pub fn forget(daemon: &Daemon) {
    set(daemon, None);
    daemon.slot.clear(NO_CLUSTER);
}

/// For calls that make no sense while locked.
pub fn refuse_locked(daemon: &Daemon) -> Result<(), Status> {
    match locked(daemon) {
        Some(_) => Err(Status::failed_precondition(LOCKED)),
        None => Ok(()),
    }
}

/// Takes up the membership with the key, if it is the right one.
pub async fn unlock(daemon: &Arc<Daemon>, key: &str) -> Result<(), Status> {
    let mut place = daemon.member.lock().await;
    if locked(daemon).is_none() {
        let text = match place.is_some() {
            true => "swarm is not locked",
            false => "this node is not part of a swarm",
        };
        return Err(Status::failed_precondition(text));
    }
    let key: UnlockKey = key.parse().map_err(|_| Status::permission_denied(WRONG))?;
    let state = daemon.state.clone();
    let opened = tokio::task::spawn_blocking(move || state.vault().unlock(&key)).await;
    match opened.map_err(|e| Status::internal(e.to_string()))? {
        Ok(()) => {}
        Err(VaultError::WrongKey) => return Err(Status::permission_denied(WRONG)),
        Err(error) => return Err(Status::internal(error.to_string())),
    }
    let member = take_up(daemon).await;
    *place = Some(member.map_err(|e| Status::internal(format!("{e:#}")))?);
    set(daemon, None);
    tracing::info!("unlocked");
    Ok(())
}

/// Goes on as the member that the disk tells of, which is not locked.
pub async fn take_up(daemon: &Arc<Daemon>) -> Result<Member> {
    let settings = daemon.state.settings().context("load the settings")?;
    let settings = settings.context("the node's settings are missing")?;
    match daemon.state.identity().context("load the identity")? {
        Some(Kept::Open(identity)) => Member::resume(daemon, *identity, settings).await,
        Some(Kept::Locked(_)) => anyhow::bail!("this node is locked"),
        None => anyhow::bail!("this node is in no cluster"),
    }
}
