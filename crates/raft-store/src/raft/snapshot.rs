//! Snapshots: the tables as a stream of chunks, and the one file that holds the newest.
//!
//! File: magic (8) · random id (16) · frames of length (4), kind (1) and sealed record: what it
//! covers (c), chunks of data (d), an end (e). It becomes visible whole, by a rename, or not at
//! all.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand;
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

use super::SnapshotMeta;
use super::wire::{Cover, Item, Request, SnapshotEnd, Undecodable};
use crate::ground::{Ground, at};
use crate::record;
use crate::seal::{Damage, Sealer};
use crate::state::State;
use swarm_api::{Kind, Object};

/// Largest chunk of a snapshot, bytes.
pub const CHUNK_BYTES: usize = 1 << 20;

const MAGIC: &[u8; 8] = b"swsnap\x001";
const FILE: &str = "snapshot";
const PARTIAL: &str = "snapshot.partial";
/// A frame holds a chunk or what the snapshot covers, and some bytes around it.
const FRAME_LIMIT: u32 = 4 << 20;

const KINDS: [Kind; 7] = [
    Kind::Node,
    Kind::Service,
    Kind::Task,
    Kind::Network,
    Kind::Secret,
    Kind::Config,
    Kind::Cluster,
];

/// How many things the snapshot of a state holds.
pub(crate) fn count(state: &State) -> u64 {
    let objects: usize = KINDS.iter().map(|kind| state.table(*kind).len()).sum();
    (objects + state.requests().count()) as u64
}

#[cfg(feature = "simulation")]
pub(crate) fn items(state: &State) -> impl Iterator<Item = Item> {
    let objects = KINDS.into_iter().flat_map(|kind| state.table(kind).iter());
    let objects = objects.map(|o| Item { object: Some((**o).clone()), request: None });
    let requests = state.requests().map(|(id, version)| Item {
        object: None,
        request: Some(Request { id: id.to_owned(), version }),
    });
    objects.chain(requests)
}

/// Key of an item's object, as in `wire`: number and wire type.
const ITEM_OBJECT: u8 = 1 << 3 | 2;

/// An [`Item`], written without a copy of the object.
fn put_object(out: &mut Vec<u8>, object: &Object) {
    let length = object.encoded_len() as u64;
    encode_varint(1 + encoded_len_varint(length) as u64 + length, out);
    out.push(ITEM_OBJECT);
    encode_varint(length, out);
    object.encode_raw(out);
}

fn put_request(out: &mut Vec<u8>, (id, version): (&str, u64)) {
    let request = Some(Request { id: id.to_owned(), version });
    out.extend_from_slice(&Item { object: None, request }.encode_length_delimited_to_vec());
}

/// The state cut into chunks of exactly [`CHUNK_BYTES`], but the last.
pub(crate) fn chunks(state: &State) -> impl Iterator<Item = Vec<u8>> {
    let mut objects = KINDS.into_iter().flat_map(|kind| state.table(kind).iter());
    let mut requests = state.requests();
    let mut pending = Vec::new();
    std::iter::from_fn(move || {
        while pending.len() < CHUNK_BYTES {
            if let Some(object) = objects.next() {
                put_object(&mut pending, object);
            } else if let Some(request) = requests.next() {
                put_request(&mut pending, request);
            } else {
                break;
            }
        }
        if pending.is_empty() {
            return None;
        }
        let rest = pending.split_off(pending.len().min(CHUNK_BYTES));
        Some(std::mem::replace(&mut pending, rest))
    })
}

/// Puts chunks together to a state again.
#[derive(Default)]
pub(crate) struct Assembly {
    state: State,
    pending: Vec<u8>,
    items: u64,
}

impl Assembly {
    pub(crate) fn add(&mut self, chunk: &[u8]) -> Result<(), Undecodable> {
        self.pending.extend_from_slice(chunk);
        let mut rest = &self.pending[..];
        loop {
            let mut body = rest;
            // A length that is cut off by the end of the chunk comes complete with the next one.
            let Ok(length) = prost::decode_length_delimiter(&mut body) else { break };
            let Some(encoded) = body.get(..length) else { break };
            let item = Item::decode(encoded).map_err(|_| Undecodable("snapshot"))?;
            insert(&mut self.state, item)?;
            self.items += 1;
            rest = &body[length..];
        }
        self.pending = rest.to_vec();
        Ok(())
    }

    pub(crate) fn finish(mut self, version: u64, end: SnapshotEnd) -> Result<State, Undecodable> {
        if !self.pending.is_empty() || self.items != end.items {
            return Err(Undecodable("snapshot"));
        }
        self.state.version = version;
        Ok(self.state)
    }
}

fn insert(state: &mut State, item: Item) -> Result<(), Undecodable> {
    match item {
        Item { object: Some(object), .. } if record::kind(&object) != Kind::Unknown => {
            state.put(Arc::new(object));
        }
        Item { request: Some(request), object: None } => {
            state.remember(&request.id, request.version);
        }
        Item { .. } => return Err(Undecodable("snapshot")),
    }
    Ok(())
}

/// The file of the newest snapshot.
#[derive(Clone)]
pub(crate) struct SnapshotFile {
    dir: PathBuf,
    sealer: Arc<Sealer>,
    ground: Ground,
    // Held while it is replaced: two would write to the same partial file.
    replacing: Arc<Mutex<()>>,
}

impl SnapshotFile {
    pub(crate) fn new(dir: &Path, sealer: Arc<Sealer>) -> Self {
        Self { dir: dir.to_owned(), sealer, ground: Ground::Host, replacing: Arc::default() }
    }

    /// On this ground, in place of the host.
    pub(crate) fn on(self, ground: Ground) -> Self {
        Self { ground, ..self }
    }

    /// Who does the work of [`Self::write`].
    pub(crate) fn ground(&self) -> Ground {
        self.ground.clone()
    }

    /// Its size in bytes; 0 if there is none, or it is simulated.
    pub(crate) fn bytes(&self) -> u64 {
        std::fs::metadata(self.dir.join(FILE)).map_or(0, |file| file.len())
    }

    /// Replaces the snapshot. Blocking; on disk when it returns.
    pub(crate) fn write(&self, meta: &SnapshotMeta, state: &State) -> io::Result<()> {
        let _turn = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let write = |file: &mut dyn Write| self.write_to(file, meta, state);
        self.ground.replace(&self.dir, (FILE, PARTIAL), write)
    }

    /// Seals it anew if any of it lies under an earlier data key. Blocking.
    pub(crate) fn reseal(&self) -> io::Result<()> {
        let _turn = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.dir.join(FILE);
        let Some(mut old) = self.ground.read(&path)? else { return Ok(()) };
        let outdated = |record: &[u8]| self.sealer.is_outdated(record);
        if !Frames::begin(&mut old).and_then(|f| f.any(outdated)).map_err(|e| at(&path, e))? {
            return Ok(());
        }
        let Some(mut old) = self.ground.read(&path)? else { return Ok(()) };
        self.ground.replace(&self.dir, (FILE, PARTIAL), |file| {
            let mut frames = Frames::begin(&mut old)?;
            file.write_all(MAGIC)?;
            file.write_all(&frames.id)?;
            loop {
                let (number, id) = (frames.number, frames.id);
                let (kind, record) = frames.next()?;
                let record = self.sealer.reseal(&place(&id, number, kind), &record)?;
                write_frame(file, kind, &record)?;
                if kind == b'e' {
                    return Ok(());
                }
            }
        })
    }

    fn write_to(&self, file: &mut dyn Write, meta: &SnapshotMeta, state: &State) -> io::Result<()> {
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| io::Error::other("no randomness from the system"))?;
        file.write_all(MAGIC)?;
        file.write_all(&id)?;
        let mut number = 0;
        let mut frame = |kind: u8, plain: &[u8]| {
            let record = self.sealer.seal(&place(&id, number, kind), plain)?;
            number += 1;
            write_frame(&mut *file, kind, &record)
        };
        frame(b'c', &Cover::new(meta, state.version).encode_to_vec())?;
        for chunk in chunks(state) {
            frame(b'd', &chunk)?;
        }
        frame(b'e', &SnapshotEnd { items: count(state) }.encode_to_vec())
    }

    /// The snapshot, checked; `None` if there is none yet. Blocking.
    pub(crate) fn read(&self) -> io::Result<Option<(SnapshotMeta, State)>> {
        let path = self.dir.join(FILE);
        match self.ground.read(&path)? {
            Some(file) => self.read_from(file).map(Some).map_err(|e| at(&path, e)),
            None => Ok(None),
        }
    }

    fn read_from(&self, mut file: impl Read) -> io::Result<(SnapshotMeta, State)> {
        let mut frames = Frames::begin(&mut file)?;
        let mut frame = || {
            let (number, id) = (frames.number, frames.id);
            let (kind, record) = frames.next()?;
            let plain = self.sealer.open(&place(&id, number, kind), &record).map_err(damaged)?;
            Ok::<_, io::Error>((kind, plain))
        };
        let (first, cover) = frame()?;
        if first != b'c' {
            return Err(damaged(Damage::Content));
        }
        let cover = Cover::decode(&*cover).map_err(|_| damaged(Damage::Content))?;
        let version = cover.version;
        let meta = cover.meta().map_err(|_| damaged(Damage::Content))?;
        let mut assembly = Assembly::default();
        loop {
            match frame()? {
                (b'd', chunk) => assembly.add(&chunk).map_err(|_| damaged(Damage::Content))?,
                (b'e', end) => {
                    let end = SnapshotEnd::decode(&*end).map_err(|_| damaged(Damage::Content))?;
                    let state = assembly.finish(version, end);
                    return Ok((meta, state.map_err(|_| damaged(Damage::Content))?));
                }
                _ => return Err(damaged(Damage::Content)),
            }
        }
    }
}

/// The frames of a file, still sealed.
struct Frames<'a, R> {
    file: &'a mut R,
    id: [u8; 16],
    number: u64,
}

impl<'a, R: Read> Frames<'a, R> {
    fn begin(file: &'a mut R) -> io::Result<Self> {
        let mut magic = [0; 8];
        let mut id = [0; 16];
        file.read_exact(&mut magic).map_err(cut)?;
        file.read_exact(&mut id).map_err(cut)?;
        if magic != *MAGIC {
            return Err(damaged(Damage::Content));
        }
        Ok(Self { file, id, number: 0 })
    }

    fn next(&mut self) -> io::Result<(u8, Vec<u8>)> {
        self.number += 1;
        read_frame(self.file)
    }

    /// Whether it is so of any record up to the end.
    fn any(mut self, what: impl Fn(&[u8]) -> bool) -> io::Result<bool> {
        loop {
            match self.next()? {
                (_, record) if what(&record) => return Ok(true),
                (b'e', _) => return Ok(false),
                _ => {}
            }
        }
    }
}

fn write_frame(file: &mut (impl Write + ?Sized), kind: u8, record: &[u8]) -> io::Result<()> {
    let length = u32::try_from(record.len()).map_err(io::Error::other)?;
    file.write_all(&length.to_be_bytes())?;
    file.write_all(&[kind])?;
    file.write_all(record)
}

fn read_frame(file: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    file.read_exact(&mut head).map_err(cut)?;
    let [a, b, c, d, kind] = head;
    let length = u32::from_be_bytes([a, b, c, d]);
    if length > FRAME_LIMIT {
        return Err(damaged(Damage::Content));
    }
    let mut record = vec![0; length as usize];
    file.read_exact(&mut record).map_err(cut)?;
    Ok((kind, record))
}

fn place(id: &[u8; 16], number: u64, kind: u8) -> [u8; 25] {
    let mut context = [0; 25];
    context[..16].copy_from_slice(id);
    context[16..24].copy_from_slice(&number.to_be_bytes());
    context[24] = kind;
    context
}

fn damaged(damage: Damage) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the snapshot is damaged: {damage}"))
}

fn cut(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(Damage::Short),
        _ => error,
    }
}
