//! Offline: what the folder of a replica that does not run still holds, and a new group founded on
//! saved tables.
//!
//! It never changes the tables on its own account: whoever recovers a cluster does, by [`amend`].
//! Blocking; called by `manager`'s recovery.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use openraft::EntryPayload;
use prost::Message;
use swarm_api::RaftCommand;

use crate::apply::apply;
use crate::backend::{self, Backend, LogBackend};
use crate::raft::log::offline;
use crate::raft::snapshot::SnapshotFile;
use crate::raft::wire::Identity;
use crate::raft::{Entry, LogId, Membership, SnapshotMeta, StoredMembership, Vote};
use crate::seal::Sealer;
use crate::state::State;
use crate::{DataKeys, Member, StoreError, Transaction, View};

/// What is left of a replica: its snapshot with every entry of its log applied, also those not
/// known to be committed here, for the others may have acknowledged them.
#[derive(Debug, Clone)]
pub struct Remains {
    /// The node it ran on; empty if it never was in a group.
    pub node_id: String,
    /// Newest term it knew.
    pub term: u64,
    /// Term of its last entry.
    pub last_term: u64,
    /// Entries up to this one were known to be committed when it was last written. Those after it
    /// may or may not have been.
    pub committed: u64,
    /// The group, as its log has it.
    pub members: Vec<Member>,
    /// The tables; their version is the index of the last entry.
    pub view: View,
}

impl Remains {
    /// Reads the folder `dir`. The database may repair itself: give it a copy where that matters.
    pub fn read(dir: &Path, data_keys: &DataKeys) -> Result<Self, StoreError> {
        let kind = Backend::default();
        let path = dir.join(kind.file());
        if !path.exists() {
            return Err(StoreError::Refused(format!("{} holds no manager's log", dir.display())));
        }
        let read = || -> std::io::Result<Self> {
            let sealer = Arc::new(Sealer::new(data_keys)?);
            let backend = backend::open(kind, dir)?;
            let marks = offline::marks(&*backend, &sealer)?;
            let mut tables = Tables::from_snapshot(SnapshotFile::new(dir, Arc::clone(&sealer)))?;
            if marks.purged > tables.state.version {
                let text = format!("{}: its snapshot is older than its log", dir.display());
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
            }
            let next = match tables.last.is_some() || marks.purged > 0 {
                true => tables.state.version + 1,
                false => 0,
            };
            offline::scan(&*backend, &sealer, next, |entry| tables.follow(entry))?;
            let identity = marks.identity.unwrap_or_default();
            Ok(Self {
                node_id: identity.node_id,
                term: marks.term,
                last_term: tables.last.map_or(0, |last| last.leader_id.term),
                committed: marks.committed.max(tables.snapshot),
                members: tables.members(),
                view: View(Arc::new(tables.state)),
            })
        };
        // The database panics at some kinds of damage.
        let damaged = || StoreError::Fatal(format!("{} is damaged", path.display()));
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
        read.map_err(|_| damaged())?.map_err(|e| StoreError::Fatal(e.to_string()))
    }
}

/// Tables brought forward entry by entry.
struct Tables {
    state: State,
    last: Option<LogId>,
    membership: Membership,
    /// Index of the snapshot that they started from.
    snapshot: u64,
}

impl Tables {
    fn from_snapshot(file: SnapshotFile) -> std::io::Result<Self> {
        let Some((meta, state)) = file.read()? else {
            return Ok(Self {
                state: State::default(),
                last: None,
                membership: Membership::default(),
                snapshot: 0,
            });
        };
        Ok(Self {
            snapshot: meta.last_log_id.map_or(0, |last| last.index),
            last: meta.last_log_id,
            membership: meta.last_membership.membership().clone(),
            state,
        })
    }

    fn follow(&mut self, entry: Entry) -> std::io::Result<()> {
        let index = entry.log_id.index;
        match entry.payload {
            EntryPayload::Blank => self.state.version = index,
            EntryPayload::Membership(membership) => {
                self.membership = membership;
                self.state.version = index;
            }
            EntryPayload::Normal(command) => {
                let command = RaftCommand::decode(command.0).map_err(|error| {
                    let text = format!("log entry {index}: {error}");
                    std::io::Error::new(std::io::ErrorKind::InvalidData, text)
                })?;
                match apply(&self.state, command, index) {
                    Ok(applied) => self.state = State::clone(&applied.state),
                    // A refused command changes nothing, as it did where it was proposed.
                    Err(_) => self.state.version = index,
                }
            }
        }
        self.last = Some(entry.log_id);
        Ok(())
    }

    fn members(&self) -> Vec<Member> {
        self.membership.nodes().map(|(id, place)| place.member(*id)).collect()
    }
}

/// `view` with one more transaction, which may write anything: the version goes up by one.
pub fn amend<E: From<StoreError>>(
    view: &View,
    now_ns: i64,
    decide: impl FnOnce(&mut Transaction) -> Result<(), E>,
) -> Result<View, E> {
    let index = view.version() + 1;
    let mut transaction = Transaction::new(view.clone(), view.clone(), (index, now_ns));
    decide(&mut transaction)?;
    if transaction.cost().is_none() {
        return Ok(view.clone());
    }
    let (View(mut state), _) = transaction.into_parts();
    Arc::make_mut(&mut state).version = index;
    Ok(View(state))
}

/// Writes into the empty folder `dir`, made if missing, a replica that is the only member of a new
/// group and holds `view`. `term` must be newer than any that the tables were written in. All of it
/// is on disk when this returns.
pub fn found(
    dir: &Path,
    data_keys: &DataKeys,
    member: &Member,
    term: u64,
    view: &View,
) -> Result<(), StoreError> {
    let kind = Backend::default();
    if dir.join(kind.file()).exists() {
        let text = format!("{} holds a manager's log already", dir.display());
        return Err(StoreError::Refused(text));
    }
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let sealer = Arc::new(Sealer::new(data_keys)?);
        let at =
            LogId::new(openraft::vote::leader_id_std::CommittedLeaderId::new(term), view.version());
        let members = BTreeMap::from([(member.raft_id, member.into())]);
        let membership = Membership::new(vec![BTreeSet::from([member.raft_id])], members);
        let membership = membership.map_err(std::io::Error::other)?;
        let last_membership = StoredMembership::new(Some(at), membership);
        let meta = SnapshotMeta { last_log_id: Some(at), last_membership };
        SnapshotFile::new(dir, Arc::clone(&sealer)).write(&meta, &view.0)?;
        // Last: without a log the folder does not count.
        let backend: Arc<dyn LogBackend> = backend::open(kind, dir)?;
        let identity = Identity { raft_id: member.raft_id, node_id: member.node_id.clone() };
        offline::begin(&*backend, &sealer, &identity, &Vote::new(term, member.raft_id))
    };
    write().map_err(|e| StoreError::Fatal(format!("{}: {e}", dir.display())))
}
