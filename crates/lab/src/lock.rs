//! One command at a time on one thing: advisory locks on files or folders, freed by the kernel when
//! the process ends however it ends.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::LabError;

/// Holds a lock until dropped.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "held for its drop")] Flock<File>);

/// Locks an existing file or folder, calling `waiting` once if another process has it. `None` if
/// the path is gone, also when whoever held the lock removed it meanwhile.
pub(crate) fn hold(path: &Path, waiting: impl FnOnce()) -> Result<Option<Held>, LabError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LabError::on_path("open", path)(error)),
    };
    let inode = file.metadata().map_err(LabError::on_path("read", path))?.ino();
    let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((file, Errno::EWOULDBLOCK)) => {
            waiting();
            Flock::lock(file, FlockArg::LockExclusive)
                .map_err(|(_, errno)| LabError::on_path("lock", path)(errno))?
        }
        Err((_, errno)) => return Err(LabError::on_path("lock", path)(errno)),
    };
    let current = std::fs::metadata(path).is_ok_and(|metadata| metadata.ino() == inode);
    Ok(current.then_some(Held(lock)))
}
