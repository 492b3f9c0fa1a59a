//! The tasks of this node on its disk, so that a restarted daemon goes on with them although no manager is in reach.
//! One file per task. Secrets are not in it. Not fsynced: after a power cut no container runs, and the managers know better.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use swarm_api::{Task, TaskStatus};

/// A shared handle to the ledger's folder.
#[derive(Clone)]
pub struct Ledger {
    dir: Arc<Path>,
}

impl Ledger {
    /// Opens (or makes) the ledger in `dir`.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.into() })
    }

    /// Writes a task with its newest status. A failure is logged: the task goes on, only a restart would forget it.
    pub fn record(&self, task: &Task, status: &TaskStatus) {
        let entry = Task { status: Some(status.clone()), ..task.clone() };
        let path = self.path(&task.id);
        let part = path.with_extension("part");
        let written =
            fs::write(&part, entry.encode_to_vec()).and_then(|()| fs::rename(&part, &path));
        if let Err(error) = written {
            tracing::warn!(task = %task.id, %error, "write ledger");
        }
    }

    /// Forgets a task.
    pub fn forget(&self, task_id: &str) {
        match fs::remove_file(self.path(task_id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(task = %task_id, %error, "remove ledger entry");
            }
            _ => {}
        }
    }

    /// All tasks with their last statuses. A damaged entry is skipped and logged: its task is reported lost by the managers.
    pub fn tasks(&self) -> io::Result<Vec<Task>> {
        let mut tasks = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_none_or(|e| e != "task") {
                continue;
            }
            match Task::decode(fs::read(&path)?.as_slice()) {
                Ok(task) => tasks.push(task),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "damaged ledger entry")
                }
            }
        }
        Ok(tasks)
    }

    fn path(&self, task_id: &str) -> PathBuf {
        self.dir.join(format!("{task_id}.task"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_api::TaskState;

    #[test]
    fn a_task_is_found_again_with_its_last_status_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        let task = Task { id: "t1".into(), ..Task::default() };
        let status = TaskStatus { state: TaskState::Running.into(), ..TaskStatus::default() };
        ledger.record(&task, &status);
        let found = Ledger::open(dir.path()).unwrap().tasks().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].state(), TaskState::Running);
        ledger.forget("t1");
        assert!(ledger.tasks().unwrap().is_empty());
    }
}
