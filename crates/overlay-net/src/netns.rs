//! Network namespaces: make, pin to a path, open, enter, delete. Entering happens on a thread of
//! its own that ends with the closure, so no thread of the runtime ever changes namespace.
//! Called by the rest of this crate and by the lab.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{NSFS_MAGIC, statfs};
use tokio::sync::oneshot;

use crate::error::{Context, NetError, Result};

/// The namespace of the thread that opens it.
const OWN: &str = "/proc/thread-self/ns/net";

/// An open network namespace. Cheap to clone; keeps the namespace alive while held.
#[derive(Clone, Debug)]
pub struct NetNs(Arc<File>);

impl NetNs {
    /// The namespace the calling thread is in.
    pub fn current() -> Result<Self> {
        Self::open(Path::new(OWN))
    }

    /// Opens a namespace by path: a pin made by [`NetNs::create`], or `/proc/<pid>/ns/net`.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).context(|| format!("open namespace {}", path.display()))?;
        Ok(Self(Arc::new(file)))
    }

    /// Makes a namespace and pins it at `path` (an nsfs bind mount), or opens the one already
    /// pinned there. A plain file left at `path` by a reboot is reused.
    pub async fn create(path: &Path) -> Result<Self> {
        if is_pinned(path) {
            return Self::open(path);
        }
        let at = path.to_owned();
        on_thread(move || pin_new(&at)).await?
    }

    /// Pins this namespace at `path`, once more when the pin was removed.
    pub fn pin(&self, path: &Path) -> Result<()> {
        if is_pinned(path) {
            return Ok(());
        }
        let open = format!("/proc/self/fd/{}", self.raw_fd());
        bind(Path::new(&open), path)
    }

    /// Runs `f` on a new thread inside the namespace and waits for it without blocking the
    /// runtime. Sockets made by `f` stay in the namespace wherever they are used later.
    pub async fn run<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let ns = self.clone();
        on_thread(move || ns.enter_here().map(|()| f())).await?
    }

    /// [`NetNs::run`] for callers outside a runtime: blocks until `f` is done.
    pub fn run_blocking<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let ns = self.clone();
        let thread = spawn(move || ns.enter_here().map(|()| f()))?;
        thread.join().map_err(|_| panicked())?
    }

    /// Moves the calling thread for good. For threads that end, or a process about to exec.
    pub fn enter_here(&self) -> Result<()> {
        setns(self.as_fd(), CloneFlags::CLONE_NEWNET).context(|| "enter namespace".to_owned())
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// True when a namespace is pinned at `path` in this mount namespace.
pub fn is_pinned(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC)
}

/// Removes the pin at `path`; the namespace ends when nothing else holds it. Absent is fine.
pub fn delete(path: &Path) -> Result<()> {
    while is_pinned(path) {
        umount2(path, MntFlags::MNT_DETACH).context(|| format!("unmount {}", path.display()))?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(NetError::kernel(format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

fn pin_new(path: &Path) -> Result<NetNs> {
    unshare(CloneFlags::CLONE_NEWNET).context(|| "make a network namespace".to_owned())?;
    bind(Path::new(OWN), path)?;
    NetNs::open(path)
}

fn bind(namespace: &Path, path: &Path) -> Result<()> {
    let what = || format!("pin namespace {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).context(what)?;
    }
    File::create(path).context(what)?;
    mount(Some(namespace), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).context(what)
}

async fn on_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    spawn(move || {
        // The receiver is gone only when the caller's future was dropped: nobody wants the value.
        let _ = sender.send(f());
    })?;
    receiver.await.map_err(|_| panicked())
}

fn spawn<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>> {
    let builder = thread::Builder::new().name("netns".to_owned());
    builder.spawn(f).context(|| "start a thread for a namespace".to_owned())
}

fn panicked() -> NetError {
    NetError::kernel("work in a namespace", io::Error::other("its thread panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pinned_namespace_is_another_one_and_goes_with_its_pin() {
        let dir = tempfile::tempdir().unwrap();
        let pin = dir.path().join("deep/a");
        let ns = NetNs::create(&pin).await.unwrap();
        assert!(is_pinned(&pin));
        let inside = ns.run(|| fs::read_link(OWN).unwrap()).await.unwrap();
        assert_ne!(inside, fs::read_link(OWN).unwrap());
        let again = NetNs::create(&pin).await.unwrap();
        let same = again.run_blocking(|| fs::read_link(OWN).unwrap()).unwrap();
        assert_eq!(inside, same);
        delete(&pin).unwrap();
        assert!(!pin.exists());
        delete(&pin).unwrap();
    }
}
