//! Finds the containers an earlier engine left, and watches each live one through its shim until
//! it ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::client::{Answer, Call, ask};
use super::{Engine, Entry, blocking};
use crate::plan::{PlanMount, file};
use crate::shim::write_exit;
use crate::state::{Record, now};
use crate::wire::Request;
use crate::{EngineError, ExitStatus, Phase, cgroup};

/// Exit code of a container whose end nobody saw.
const UNSEEN: i32 = 255;

impl Engine {
    pub(super) async fn adopt(&self) -> Result<(), EngineError> {
        let root = self.inner.config.root.join("containers");
        let records = blocking(move || read_records(&root)).await?;
        for record in records {
            self.adopt_one(record).await?;
        }
        Ok(())
    }

    async fn adopt_one(&self, record: Record) -> Result<(), EngineError> {
        let (dir, run) = (self.dir(&record.id), self.run_dir(&record.id));
        for mount in &record.plan.mounts {
            if let PlanMount::Bind { source, .. } = mount
                && let Some(name) = self.inner.volumes.name_of(source)
            {
                self.inner.volumes.acquire(&name, &record.id);
            }
        }
        let state = match ask(&run, &Request::State).await {
            Ok(Answer::State(state)) => Some(state),
            // No shim: it has ended, and left word if it could.
            _ => None,
        };
        let phase = match &state {
            Some(state) if state.started_at.is_some() => Phase::Running,
            Some(_) => Phase::Created,
            None => Phase::Exited(end_of(dir, run.clone(), record.plan.cgroup.clone()).await?),
        };
        let entry = Arc::new(Entry::new(record, phase.clone()));
        if let Some(state) = state {
            *entry.live() = super::Live { pid: Some(state.pid), started_at: state.started_at };
        } else {
            let started = tokio::fs::read_to_string(run.join(file::STARTED)).await;
            entry.live().started_at = started.ok().and_then(|text| text.parse().ok());
        }
        self.insert(entry.clone());
        match phase {
            Phase::Exited(_) => {}
            Phase::Created => self.watch(entry),
            Phase::Running => {
                self.watch(entry.clone());
                self.check_health(&entry);
            }
        }
        Ok(())
    }

    pub(super) fn insert(&self, entry: Arc<Entry>) {
        let mut table = self.table();
        let (id, name) = (entry.record.id.clone(), entry.record.name.clone());
        table.names.insert(name, id.clone());
        table.by_id.insert(id, entry);
    }

    /// Watches a live container until it ends or the engine is dropped.
    pub(super) fn watch(&self, entry: Arc<Entry>) {
        let (dir, run) = (self.dir(&entry.record.id), self.run_dir(&entry.record.id));
        let closed = self.inner.closed.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = follow(&entry, dir, run) => {}
            }
        });
    }
}

async fn follow(entry: &Entry, dir: PathBuf, run: PathBuf) {
    if let Ok(mut call) = Call::open(&run, &Request::Wait).await {
        // The answer itself or the connection's end: the exit file says the same and more.
        let _ = call.next().await;
    }
    let cgroup = entry.record.plan.cgroup.clone();
    let status = match end_of(dir, run, cgroup).await {
        Ok(status) => status,
        Err(error) => ExitStatus {
            code: UNSEEN,
            finished_at: now(),
            error: Some(error.to_string()),
            ..ExitStatus::default()
        },
    };
    entry.live().pid = None;
    entry.ended.send_replace(true);
    // The phase first: whoever sees the health gone must find the reason.
    entry.phase.send_replace(Phase::Exited(status));
    entry.health.send_replace(crate::HealthState::None);
}

/// How a container without a shim ended. One whose shim was lost is killed, cleaned up after and
/// given a status that says so.
async fn end_of(dir: PathBuf, run: PathBuf, cgroup: String) -> Result<ExitStatus, EngineError> {
    blocking(move || {
        if let Ok(text) = std::fs::read(dir.join(file::EXIT))
            && let Ok(status) = serde_json::from_slice(&text)
        {
            return Ok(status);
        }
        let rebooted = !run.exists();
        cgroup::kill(&cgroup);
        cgroup::remove(&cgroup).map_err(EngineError::io(format!("remove cgroup {cgroup}")))?;
        let reason = if rebooted { "the node was restarted" } else { "its shim was killed" };
        let status = ExitStatus {
            code: UNSEEN,
            finished_at: now(),
            error: Some(reason.to_owned()),
            ..ExitStatus::default()
        };
        write_exit(&dir, &status).map_err(EngineError::io("write exit status"))?;
        Ok(status)
    })
    .await
}

/// All whole records; what a crash left half made is removed.
fn read_records(root: &Path) -> Result<Vec<Record>, EngineError> {
    let mut records = Vec::new();
    for entry in std::fs::read_dir(root).map_err(EngineError::io("list containers"))?.flatten() {
        let path = entry.path();
        let text = match std::fs::read(path.join(file::RECORD)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::remove_dir_all(&path)
                    .map_err(EngineError::io(format!("remove {}", path.display())))?;
                continue;
            }
            Err(error) => {
                return Err(EngineError::io(format!("read {}", path.display()))(error));
            }
        };
        match serde_json::from_slice(&text) {
            Ok(record) => records.push(record),
            Err(error) => {
                return Err(EngineError::io(format!("read {}", path.display()))(error.into()));
            }
        }
    }
    Ok(records)
}
