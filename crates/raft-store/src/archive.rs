//! Archives: all tables in one file that may leave the cluster, sealed under a key of its own.
//!
//! File: magic (8) · key id (8) · salt (32) · checksum of these (4), then frames of length (4), kind
//! (1) and sealed body: what it covers (c), chunks of data (d), an end (e); nothing comes after it.
//! The sealing key is derived from the archive key and the salt, the nonce counts the frames, and
//! each frame is bound to the head: nothing can be changed, moved or cut off unnoticed. Integers are
//! big-endian. Blocking; written by `manager` for operators, read again when a cluster is recovered.

use std::io::{self, Read};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{digest, hkdf, rand};
use prost::Message;
use swarm_api::RaftMember;

use crate::raft::snapshot::{Assembly, CHUNK_BYTES, chunks, count};
use crate::raft::wire::SnapshotEnd;
use crate::{Member, View};

const MAGIC: &[u8; 8] = b"swsave\x001";
const KEY_ID: usize = 8;
const SALT: usize = 32;
const HEAD: usize = MAGIC.len() + KEY_ID + SALT + 4;
/// A frame holds a chunk, or what the archive covers: at most some thousand members.
const FRAME_LIMIT: u32 = 4 << 20;
const _: () = assert!(CHUNK_BYTES < FRAME_LIMIT as usize);

/// What an archive holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveCover {
    /// Log index of the last change in it.
    pub index: u64,
    /// Raft term of that change.
    pub term: u64,
    /// Clock of the manager that saved it, nanoseconds.
    pub saved_at_ns: i64,
    /// The managers at that time.
    pub members: Vec<Member>,
}

/// Why an archive cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Some other kind of file.
    #[error("this is no snapshot of a swarm")]
    Foreign,
    /// Sealed under another key: find that one.
    #[error("this snapshot was made under the key {wanted}, the key given is {given}")]
    WrongKey {
        /// Id of the key that opens it.
        wanted: String,
        /// Id of the key that was tried.
        given: String,
    },
    /// Not whole any more: use another.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// The file itself.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Clone, PartialEq, Message)]
struct CoverFrame {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(int64, tag = "3")]
    saved_at_ns: i64,
    #[prost(message, repeated, tag = "4")]
    members: Vec<RaftMember>,
}

/// Short name of an archive key, which tells nothing of the key.
pub fn archive_key_id(key: &[u8; 32]) -> String {
    key_id(key).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_id(key: &[u8; 32]) -> [u8; KEY_ID] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"swarm archive key id");
    context.update(key);
    let mut id = [0; KEY_ID];
    id.copy_from_slice(&context.finish().as_ref()[..KEY_ID]);
    id
}

/// Writes `view` as an archive, piece by piece, to `emit`. The index of `cover` is the view's.
pub fn write_archive(
    view: &View,
    cover: &ArchiveCover,
    key: &[u8; 32],
    mut emit: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), ArchiveError> {
    let mut salt = [0; SALT];
    rand::fill(&mut salt).map_err(|_| io::Error::other("no randomness from the system"))?;
    let head = head(key, &salt);
    emit(&head)?;
    let mut frames = Frames::new(key, head)?;
    let members = cover.members.iter().map(|m| RaftMember {
        raft_id: m.raft_id,
        node_id: m.node_id.clone(),
        addr: m.addr.clone(),
    });
    let first = CoverFrame {
        index: view.version(),
        term: cover.term,
        saved_at_ns: cover.saved_at_ns,
        members: members.collect(),
    };
    emit(&frames.seal(b'c', first.encode_to_vec())?)?;
    for chunk in chunks(&view.0) {
        emit(&frames.seal(b'd', chunk)?)?;
    }
    let end = SnapshotEnd { items: count(&view.0) };
    Ok(emit(&frames.seal(b'e', end.encode_to_vec())?)?)
}

/// Reads and checks all of an archive.
pub fn read_archive(
    mut input: impl Read,
    key: &[u8; 32],
) -> Result<(ArchiveCover, View), ArchiveError> {
    let head = read_head(&mut input, key)?;
    let mut frames = Frames::new(key, head)?;
    let (kind, first) = frames.read(&mut input)?;
    if kind != b'c' {
        return Err(NONSENSE);
    }
    let first = CoverFrame::decode(&*first).map_err(|_| NONSENSE)?;
    let mut assembly = Assembly::default();
    let end = loop {
        match frames.read(&mut input)? {
            (b'd', chunk) => assembly.add(&chunk).map_err(|_| NONSENSE)?,
            (b'e', end) => break SnapshotEnd::decode(&*end).map_err(|_| NONSENSE)?,
            _ => return Err(NONSENSE),
        }
    };
    if input.read(&mut [0])? != 0 {
        return Err(ArchiveError::Damaged("something comes after its end"));
    }
    let state = assembly.finish(first.index, end).map_err(|_| NONSENSE)?;
    let members = first.members.into_iter();
    let members =
        members.map(|m| Member { raft_id: m.raft_id, node_id: m.node_id, addr: m.addr }).collect();
    let (index, term, saved_at_ns) = (first.index, first.term, first.saved_at_ns);
    Ok((ArchiveCover { index, term, saved_at_ns, members }, View(Arc::new(state))))
}

const NONSENSE: ArchiveError = ArchiveError::Damaged("its content makes no sense");
const CUT: ArchiveError = ArchiveError::Damaged("it is cut short");

fn head(key: &[u8; 32], salt: &[u8; SALT]) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(MAGIC);
    head[8..16].copy_from_slice(&key_id(key));
    head[16..48].copy_from_slice(salt);
    let checksum = crc32fast::hash(&head[..48]);
    head[48..].copy_from_slice(&checksum.to_be_bytes());
    head
}

fn read_head(input: &mut impl Read, key: &[u8; 32]) -> Result<[u8; HEAD], ArchiveError> {
    let mut head = [0; HEAD];
    let mut magic = [0; 8];
    let read = fill(input, &mut magic)?;
    if read < magic.len() || magic != *MAGIC {
        return Err(ArchiveError::Foreign);
    }
    head[..8].copy_from_slice(&magic);
    if fill(input, &mut head[8..])? < HEAD - 8 {
        return Err(CUT);
    }
    if head[48..] != crc32fast::hash(&head[..48]).to_be_bytes() {
        return Err(ArchiveError::Damaged("its head's checksum does not match"));
    }
    let wanted = &head[8..16];
    if *wanted != key_id(key) {
        let wanted = wanted.iter().map(|byte| format!("{byte:02x}")).collect();
        return Err(ArchiveError::WrongKey { wanted, given: archive_key_id(key) });
    }
    Ok(head)
}

/// Reads until `buffer` is full or the input ends; how much.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match input.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Seals or opens the frames of one archive, in order.
struct Frames {
    key: LessSafeKey,
    head: [u8; HEAD],
    number: u64,
}

impl Frames {
    fn new(key: &[u8; 32], head: [u8; HEAD]) -> io::Result<Self> {
        let failed = |_| io::Error::other("cannot derive a sealing key");
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, &head[16..48]);
        let secret = salt.extract(key);
        let okm = secret.expand(&[b"swarm archive frame"], &AES_256_GCM).map_err(failed)?;
        Ok(Self { key: LessSafeKey::new(UnboundKey::from(okm)), head, number: 0 })
    }

    /// Nonce and bound context of the next frame. Each salt is used for one archive only, so the
    /// number alone never repeats under a key.
    fn next(&mut self, kind: u8) -> (Nonce, [u8; HEAD + 1]) {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.number.to_be_bytes());
        self.number += 1;
        let mut context = [kind; HEAD + 1];
        context[..HEAD].copy_from_slice(&self.head);
        (Nonce::assume_unique_for_key(nonce), context)
    }

    fn seal(&mut self, kind: u8, mut body: Vec<u8>) -> io::Result<Vec<u8>> {
        let (nonce, context) = self.next(kind);
        let sealed = self.key.seal_in_place_append_tag(nonce, Aad::from(context), &mut body);
        sealed.map_err(|_| io::Error::other("cannot seal a frame"))?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(5 + body.len());
        frame.extend_from_slice(&length.to_be_bytes());
        frame.push(kind);
        frame.append(&mut body);
        Ok(frame)
    }

    fn read(&mut self, input: &mut impl Read) -> Result<(u8, Vec<u8>), ArchiveError> {
        let mut start = [0; 5];
        if fill(input, &mut start)? < start.len() {
            return Err(CUT);
        }
        let [a, b, c, d, kind] = start;
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > FRAME_LIMIT {
            return Err(NONSENSE);
        }
        let mut body = vec![0; length as usize];
        if fill(input, &mut body)? < body.len() {
            return Err(CUT);
        }
        let (nonce, context) = self.next(kind);
        let plain = self.key.open_in_place(nonce, Aad::from(context), &mut body);
        let damaged = |_| ArchiveError::Damaged("a part of it does not open");
        let length = plain.map_err(damaged)?.len();
        body.truncate(length);
        Ok((kind, body))
    }
}

#[cfg(test)]
mod tests;
