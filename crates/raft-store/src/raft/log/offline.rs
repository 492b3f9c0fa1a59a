//! The log of a replica that does not run, read from end to end. Used by `rescue`.

use std::io;

use super::{COMMITTED, IDENTITY, PURGED, SCAN_BYTES, VOTE, damaged, entry_of, named};
use crate::backend::{LogBackend, Write};
use crate::raft::wire::{Ballot, Identity, Position};
use crate::raft::{Entry, Vote};
use crate::seal::{Damage, Sealer};
use prost::Message;

/// What a log says besides its entries.
pub(crate) struct Marks {
    pub(crate) identity: Option<Identity>,
    pub(crate) term: u64,
    /// Index of the last entry known to be committed; what was committed last may not be noted yet.
    pub(crate) committed: u64,
    pub(crate) purged: u64,
}

/// Reads the marks. Blocking.
pub(crate) fn marks(backend: &dyn LogBackend, sealer: &Sealer) -> io::Result<Marks> {
    let index =
        |name| Ok::<_, io::Error>(named::<Position>(backend, sealer, name)?.map_or(0, |p| p.index));
    Ok(Marks {
        identity: named(backend, sealer, IDENTITY)?,
        term: named::<Ballot>(backend, sealer, VOTE)?.map_or(0, |b| b.term),
        committed: index(COMMITTED)?,
        purged: index(PURGED)?,
    })
}

/// Gives each entry from `from` on to `take`, in order and without gaps. Blocking.
pub(crate) fn scan(
    backend: &dyn LogBackend,
    sealer: &Sealer,
    from: u64,
    mut take: impl FnMut(Entry) -> io::Result<()>,
) -> io::Result<()> {
    let mut next = from;
    loop {
        let records = backend.read(next, u64::MAX, SCAN_BYTES)?;
        if records.is_empty() {
            return Ok(());
        }
        for (index, record) in records {
            if index != next {
                let what = format!("log entries before {index} are missing");
                return Err(damaged(backend.path(), &what, Damage::Content));
            }
            take(entry_of(backend.path(), sealer, index, &record)?)?;
            next = index + 1;
        }
    }
}

/// Begins an empty log: whose it is, and the vote that keeps it from going back to an earlier term.
pub(crate) fn begin(
    backend: &dyn LogBackend,
    sealer: &Sealer,
    identity: &Identity,
    vote: &Vote,
) -> io::Result<()> {
    let set = |name: &'static str, plain: Vec<u8>| {
        Ok::<_, io::Error>(Write::Set { name, record: sealer.seal(name.as_bytes(), &plain)? })
    };
    backend.commit(vec![
        set(IDENTITY, identity.encode_to_vec())?,
        set(VOTE, Ballot::from(vote).encode_to_vec())?,
    ])
}
