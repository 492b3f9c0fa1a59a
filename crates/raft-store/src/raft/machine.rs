//! The replicated state machine: the tables, brought forward one committed entry at a time.
//!
//! It lives in memory; a snapshot on disk and the log behind it restore it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use openraft::EntryPayload;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use prost::Message;
use swarm_api::RaftCommand;
use tokio_stream::{Stream, StreamExt};

use super::snapshot::SnapshotFile;
use super::{Command, LogId, Reply, Snapshot, SnapshotMeta, StoredMembership, Types};
use crate::apply::{Foresight, apply};
use crate::state::State;
use crate::subscription::{Commit, Publisher};

/// The tables at a snapshot's version: shares memory with the newest ones.
#[derive(Clone)]
pub(crate) struct Frozen(pub(crate) Arc<State>);

impl std::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tables at version {}", self.0.version)
    }
}

type Newest = Arc<Mutex<Option<(SnapshotMeta, Frozen)>>>;

/// The state machine.
pub(crate) struct Machine {
    state: Arc<State>,
    applied: Option<LogId>,
    membership: StoredMembership,
    newest: Newest,
    file: SnapshotFile,
    publisher: Arc<Publisher>,
    foresight: Foresight,
}

impl Machine {
    /// Restores what the newest snapshot holds. Blocking.
    pub(crate) fn open(
        file: SnapshotFile,
        publisher: Arc<Publisher>,
        foresight: Foresight,
    ) -> io::Result<Self> {
        let mut machine = Self {
            state: Arc::default(),
            applied: None,
            membership: StoredMembership::default(),
            newest: Newest::default(),
            file,
            publisher,
            foresight,
        };
        if let Some((meta, state)) = machine.file.read()? {
            machine.adopt(meta, Frozen(Arc::new(state)));
        }
        Ok(machine)
    }

    fn adopt(&mut self, meta: SnapshotMeta, frozen: Frozen) {
        self.state = Arc::clone(&frozen.0);
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((meta, frozen));
        self.publisher.replace(Arc::clone(&self.state));
    }

    fn apply_command(&mut self, at: LogId, command: &Command) -> io::Result<Reply> {
        let (index, place) = (at.index, (at.leader_id.term, at.index));
        let applied = match self.foresight.take(place, &command.0, &self.state) {
            Some(applied) => Ok(applied),
            None => {
                // It decoded when it was proposed: if not here, this replica is older than the
                // leader, and must not guess.
                let command = RaftCommand::decode(command.0.clone()).map_err(|error| {
                    let text = format!("log entry {index}: {error}");
                    io::Error::new(io::ErrorKind::InvalidData, text)
                })?;
                apply(&self.state, command, index)
            }
        };
        match applied {
            Ok(applied) => {
                self.state = applied.state;
                let commit = Commit { version: index, changes: applied.changes };
                self.publisher.commit(Arc::clone(&self.state), commit);
                Ok(Reply(Ok(())))
            }
            Err(error) => {
                self.pass(index);
                Ok(Reply(Err(error)))
            }
        }
    }

    /// An entry that changes nothing still moves the version.
    fn pass(&mut self, index: u64) {
        Arc::make_mut(&mut self.state).version = index;
        self.publisher.advance(Arc::clone(&self.state));
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Frozen;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + Send,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let index = entry.log_id.index;
            let reply = match &entry.payload {
                EntryPayload::Normal(command) => self.apply_command(entry.log_id, command)?,
                EntryPayload::Blank => {
                    self.pass(index);
                    Reply(Ok(()))
                }
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                    self.pass(index);
                    Reply(Ok(()))
                }
            };
            self.applied = Some(entry.log_id);
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let last_membership = self.membership.clone();
        Builder {
            meta: SnapshotMeta { last_log_id: self.applied, last_membership },
            frozen: Frozen(Arc::clone(&self.state)),
            newest: Arc::clone(&self.newest),
            file: self.file.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, frozen: Frozen) -> io::Result<()> {
        // At start the newest one on disk is "installed" again.
        if self.newest.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(m, _)| m)
            != Some(meta)
        {
            write(&self.file, meta, &frozen).await?;
        }
        self.adopt(meta.clone(), frozen);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(newest.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Writes a snapshot of the tables as they were when it was made.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    frozen: Frozen,
    newest: Newest,
    file: SnapshotFile,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Frozen;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        write(&self.file, &self.meta, &self.frozen).await?;
        let (meta, snapshot) = (self.meta.clone(), self.frozen.clone());
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((meta.clone(), snapshot.clone()));
        Ok(Snapshot { meta, snapshot })
    }
}

async fn write(file: &SnapshotFile, meta: &SnapshotMeta, frozen: &Frozen) -> io::Result<()> {
    let (file, meta, state) = (file.clone(), meta.clone(), Arc::clone(&frozen.0));
    let ground = file.ground();
    ground.blocking(move || file.write(&meta, &state)).await?
}
