//! Starting, signalling, stopping, awaiting and removing containers.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use super::client::{CallError, ask};
use super::{Engine, Entry, blocking};
use crate::plan::file;
use crate::spec::RemoveVolumes;
use crate::state::now;
use crate::wire::Request;
use crate::{EngineError, ExitStatus, Phase, cgroup};

/// Grace of a stop when neither the caller nor the container names one.
pub const STOP_GRACE: Duration = Duration::from_secs(10);
/// A killed container is gone within this time, or its processes hang in the kernel.
const KILL_DEADLINE: Duration = Duration::from_secs(30);

impl Engine {
    /// Runs the command of a created container. An exited one is set up again first, unless it
    /// had secrets or configs, which are gone.
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        let mut entry = self.entry(id)?;
        let phase = entry.phase.borrow().clone();
        match phase {
            Phase::Created => {}
            Phase::Running => return Err(wrong_state(&entry, "start")),
            Phase::Exited(_) if entry.record.has_files => {
                return Err(EngineError::InvalidSpec {
                    container: entry.record.name.clone(),
                    message: "its secrets and configs are gone, create it again".to_owned(),
                });
            }
            Phase::Exited(_) => entry = self.set_up_again(&entry).await?,
        }
        let run = self.run_dir(&entry.record.id);
        ask(&run, &Request::Start).await.map_err(|error| call_error(&entry, error))?;
        entry.live().started_at = Some(now());
        // It may have ended already.
        entry.phase.send_if_modified(|phase| {
            let created = *phase == Phase::Created;
            if created {
                *phase = Phase::Running;
            }
            created
        });
        self.check_health(&entry);
        Ok(())
    }

    async fn set_up_again(&self, old: &Entry) -> Result<Arc<Entry>, EngineError> {
        let record = old.record.clone();
        let (dir, run) = (self.dir(&record.id), self.run_dir(&record.id));
        blocking(move || {
            // May have gone with a reboot.
            let _ = fs::remove_dir_all(&run);
            fs::create_dir_all(&run).map_err(EngineError::io("make run directory"))?;
            fs::remove_file(dir.join(file::EXIT)).map_err(EngineError::io("remove exit status"))
        })
        .await?;
        let pid = self.spawn_shim(&record, Vec::new()).await?;
        let entry = Arc::new(Entry::new(record, Phase::Created));
        entry.live().pid = Some(pid);
        self.insert(entry.clone());
        self.watch(entry.clone());
        Ok(entry)
    }

    /// Waits until the container has ended.
    pub async fn wait(&self, id: &str) -> Result<ExitStatus, EngineError> {
        let entry = self.entry(id)?;
        wait_for_end(&entry).await
    }

    /// Sends a signal to the container's first process.
    pub async fn kill(&self, id: &str, signal: i32) -> Result<(), EngineError> {
        let entry = self.entry(id)?;
        if matches!(*entry.phase.borrow(), Phase::Exited(_)) {
            return Err(wrong_state(&entry, "kill"));
        }
        self.signal(&entry, signal).await
    }

    async fn signal(&self, entry: &Entry, signal: i32) -> Result<(), EngineError> {
        let run = self.run_dir(&entry.record.id);
        match ask(&run, &Request::Kill { signal }).await {
            // Gone in this moment: its end is reported, the signal was not needed.
            Ok(_) | Err(CallError::Lost(_)) => Ok(()),
            Err(error) => Err(call_error(entry, error)),
        }
    }

    /// Asks the container to end, by its stop signal or `signal`, and kills it when it has not
    /// within `grace` (10 s, or what its specification says). Does nothing when it has ended.
    pub async fn stop(
        &self,
        id: &str,
        signal: Option<i32>,
        grace: Option<Duration>,
    ) -> Result<ExitStatus, EngineError> {
        let entry = self.entry(id)?;
        let phase = entry.phase.borrow().clone();
        let grace = grace.or(entry.record.spec.stop_grace).unwrap_or(STOP_GRACE);
        match phase {
            Phase::Exited(status) => return Ok(status),
            // It waits for its start and would not notice a polite signal.
            Phase::Created => {}
            Phase::Running if grace.is_zero() => {}
            Phase::Running => {
                self.signal(&entry, signal.unwrap_or(entry.record.stop_signal)).await?;
                if let Ok(status) = tokio::time::timeout(grace, wait_for_end(&entry)).await {
                    return status;
                }
            }
        }
        self.signal(&entry, libc::SIGKILL).await?;
        match tokio::time::timeout(KILL_DEADLINE, wait_for_end(&entry)).await {
            Ok(status) => status,
            Err(_) => Err(EngineError::Shim {
                container: entry.record.name.clone(),
                message: "it did not end within 30 s of SIGKILL".to_owned(),
            }),
        }
    }

    /// Removes a container that does not run, with everything that was its own.
    pub async fn remove(&self, id: &str, volumes: RemoveVolumes) -> Result<(), EngineError> {
        let entry = self.entry(id)?;
        let phase = entry.phase.borrow().clone();
        match phase {
            Phase::Running => return Err(wrong_state(&entry, "remove")),
            Phase::Created => drop(self.stop(&entry.record.id, None, None).await?),
            Phase::Exited(_) => {}
        }
        let id = entry.record.id.clone();
        let (dir, run) = (self.dir(&id), self.run_dir(&id));
        let (cgroup, name) = (entry.record.plan.cgroup.clone(), entry.record.name.clone());
        blocking(move || {
            let context = |what: &str| EngineError::io(format!("remove {what} of {name}"));
            cgroup::remove(&cgroup).map_err(context("cgroup"))?;
            // The record goes first: without it the rest is rubbish the next start removes.
            absent(fs::remove_file(dir.join(file::RECORD))).map_err(context("record"))?;
            absent(fs::remove_dir_all(run)).map_err(context("run directory"))?;
            absent(fs::remove_dir_all(dir)).map_err(context("directory"))
        })
        .await?;
        {
            let mut table = self.table();
            table.by_id.remove(&id);
            table.names.remove(&entry.record.name);
        }
        self.inner.volumes.release(&id);
        if volumes == RemoveVolumes::Anonymous {
            for name in &entry.record.anonymous_volumes {
                self.inner.volumes.remove(name).await?;
            }
        }
        Ok(())
    }
}

async fn wait_for_end(entry: &Entry) -> Result<ExitStatus, EngineError> {
    let mut phase = entry.phase.subscribe();
    let ended = phase.wait_for(|phase| matches!(phase, Phase::Exited(_))).await;
    match ended.as_deref() {
        Ok(Phase::Exited(status)) => Ok(status.clone()),
        _ => Err(EngineError::NotFound(entry.record.id.clone())),
    }
}

fn absent(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn wrong_state(entry: &Entry, operation: &'static str) -> EngineError {
    let container = entry.record.name.clone();
    EngineError::WrongState { container, state: entry.phase.borrow().word(), operation }
}

/// A shim's refusal as the engine's error.
pub(super) fn call_error(entry: &Entry, error: CallError) -> EngineError {
    let container = entry.record.name.clone();
    match error {
        CallError::Refused(failure) if failure.code != 0 => {
            EngineError::NotExecutable { container, message: failure.message, code: failure.code }
        }
        other => EngineError::Shim { container, message: other.to_string() },
    }
}
