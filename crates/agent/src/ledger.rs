//! The tasks of this node on its disk, so that a restarted daemon goes on with them although no manager is in reach.
//! One file per task, written by a thread of its own. Secrets are not in it. Not fsynced: after a power cut no container
//! runs, and the managers know better.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use prost::Message;
use swarm_api::{Task, TaskStatus};

/// A shared handle to the ledger. The last one to go waits until all is written.
#[derive(Clone)]
pub struct Ledger {
    // Dropped last: its drop ends the thread.
    writer: Arc<Writer>,
}

struct Writer {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Shared {
    dir: PathBuf,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    // Only the newest word about each task: no longer than there are tasks.
    words: BTreeMap<String, Word>,
    writing: bool,
    closed: bool,
}

enum Word {
    Write(Vec<u8>),
    Forget,
}

impl Ledger {
    /// Opens (or makes) the ledger in `dir`.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let writing = shared.clone();
        let thread =
            thread::Builder::new().name("ledger".into()).spawn(move || writing.write_all())?;
        Ok(Self { writer: Arc::new(Writer { shared, thread: Some(thread) }) })
    }

    /// Takes a task with its newest status down. Never blocks on the disk.
    pub fn record(&self, task: &Task, status: &TaskStatus) {
        let entry = Task { status: Some(status.clone()), ..task.clone() };
        self.say(&task.id, Word::Write(entry.encode_to_vec()));
    }

    /// Forgets a task.
    pub fn forget(&self, task_id: &str) {
        self.say(task_id, Word::Forget);
    }

    /// All tasks with their last statuses. A damaged entry is skipped and logged: its task is
    /// reported lost by the managers. Reads the disk: for the start of the daemon.
    pub fn tasks(&self) -> io::Result<Vec<Task>> {
        self.flush();
        let mut tasks = Vec::new();
        for entry in fs::read_dir(&self.writer.shared.dir)? {
            let path = entry?.path();
            if path.extension().is_none_or(|e| e != "task") {
                continue;
            }
            match Task::decode(fs::read(&path)?.as_slice()) {
                Ok(task) => tasks.push(task),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "damaged ledger entry");
                }
            }
        }
        Ok(tasks)
    }

    /// Waits until everything said so far is written.
    fn flush(&self) {
        let shared = &self.writer.shared;
        let mut queue = shared.lock();
        while queue.writing || !queue.words.is_empty() {
            queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn say(&self, task_id: &str, word: Word) {
        self.writer.shared.lock().words.insert(task_id.to_owned(), word);
        self.writer.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Each change of the queue is a single assignment, whole after any panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's work: until the queue is closed and empty.
    fn write_all(&self) {
        let mut queue = self.lock();
        loop {
            if let Some((task_id, word)) = queue.words.pop_first() {
                queue.writing = true;
                drop(queue);
                self.write(&task_id, &word);
                queue = self.lock();
                queue.writing = false;
                self.changed.notify_all();
            } else if queue.closed {
                return;
            } else {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// A failure is logged: the task goes on, only a restart would not know of it.
    fn write(&self, task_id: &str, word: &Word) {
        let path = self.dir.join(format!("{task_id}.task"));
        let written = match word {
            Word::Write(bytes) => {
                let part = path.with_extension("part");
                fs::write(&part, bytes).and_then(|()| fs::rename(&part, &path))
            }
            Word::Forget => match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
        if let Err(error) = written {
            tracing::warn!(task = %task_id, %error, "write ledger");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It does not panic: every error of the disk is logged.
            let _ = thread.join();
        }
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
        let status = |state: TaskState| TaskStatus { state: state.into(), ..TaskStatus::default() };
        ledger.record(&task, &status(TaskState::Ready));
        ledger.record(&task, &status(TaskState::Running));
        drop(ledger);
        let ledger = Ledger::open(dir.path()).unwrap();
        let found = ledger.tasks().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].state(), TaskState::Running);
        ledger.forget("t1");
        assert!(ledger.tasks().unwrap().is_empty());
    }

    #[test]
    fn a_damaged_entry_does_not_hide_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        ledger.record(&Task { id: "t1".into(), ..Task::default() }, &TaskStatus::default());
        fs::write(dir.path().join("t2.task"), b"\xff\xff").unwrap();
        assert_eq!(ledger.tasks().unwrap().len(), 1);
    }
}
