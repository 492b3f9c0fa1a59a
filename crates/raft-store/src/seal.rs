//! Seals what lies on disk: AES-256-GCM under keys derived from the node's data keys, and a checksum
//! around it that tells damage from a wrong key.
//!
//! Each opening of the store, and each rotation of its data key, is an epoch with a key of its own,
//! and counts its nonces: no nonce is ever used twice. Record: crc32 (4) · id of the data key (8) ·
//! epoch (16) · counter (8) · ciphertext and tag. All integers big-endian.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use zeroize::Zeroizing;

use crate::DataKeys;
use crate::keys::DATA_KEY_BYTES;

const CHECKSUM: usize = 4;
const KEY_ID: usize = 8;
const EPOCH: usize = 16;
const COUNTER: usize = 8;
const HEAD: usize = CHECKSUM + KEY_ID + EPOCH + COUNTER;

/// Tells data keys apart and nothing else of them.
type KeyId = [u8; KEY_ID];
type Epoch = [u8; EPOCH];
type DataKey = [u8; DATA_KEY_BYTES];

/// Why a record cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("it is cut short")]
    Short,
    #[error("its checksum does not match")]
    Checksum,
    #[error("it does not open with this data key")]
    Sealed,
    #[error("its content makes no sense")]
    Content,
}

/// What seals from now on.
struct Current {
    key_id: KeyId,
    epoch: Epoch,
    key: LessSafeKey,
    counter: AtomicU64,
}

/// What opens.
#[derive(Default)]
struct Ring {
    keys: HashMap<KeyId, Zeroizing<DataKey>>,
    // Keys of epochs, derived as their records are met.
    derived: HashMap<(KeyId, Epoch), Arc<LessSafeKey>>,
}

/// Seals and opens records.
pub(crate) struct Sealer {
    current: ArcSwap<Current>,
    ring: Mutex<Ring>,
}

impl Sealer {
    /// Seals under the newest of `keys`, opens what any of them sealed.
    pub(crate) fn new(keys: &DataKeys) -> io::Result<Self> {
        let mut ring = Ring::default();
        let mut newest = None;
        for key in keys.iter() {
            let key_id = key_id(key)?;
            ring.keys.insert(key_id, Zeroizing::new(*key));
            newest.get_or_insert((key_id, key));
        }
        let (key_id, key) = newest.ok_or_else(|| io::Error::other("there is no data key"))?;
        let current = ArcSwap::from_pointee(Current::new(key_id, key)?);
        Ok(Self { current, ring: Mutex::new(ring) })
    }

    /// Seals under a new data key from now on; the earlier ones still open.
    pub(crate) fn rotate(&self, key: &DataKey) -> io::Result<()> {
        let key_id = key_id(key)?;
        let next = Current::new(key_id, key)?;
        self.ring().keys.insert(key_id, Zeroizing::new(*key));
        self.current.store(Arc::new(next));
        Ok(())
    }

    /// Whether the record lies under another data key than the current one.
    pub(crate) fn is_outdated(&self, record: &[u8]) -> bool {
        let id = record.get(CHECKSUM..CHECKSUM + KEY_ID);
        id.is_some_and(|id| *id != self.current.load().key_id)
    }

    /// Forgets all data keys but the current one.
    pub(crate) fn forget_outdated(&self) {
        let current = self.current.load().key_id;
        let mut ring = self.ring();
        ring.keys.retain(|id, _| *id == current);
        ring.derived.retain(|(id, _), _| *id == current);
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals `plain`; `context` (what and where it is) must be the same when it is opened.
    pub(crate) fn seal(&self, context: &[u8], plain: &[u8]) -> io::Result<Vec<u8>> {
        let current = self.current.load();
        let counter = current.counter.fetch_add(1, Ordering::Relaxed);
        let mut record = Vec::with_capacity(HEAD + plain.len() + AES_256_GCM.tag_len());
        record.extend_from_slice(&[0; CHECKSUM]);
        record.extend_from_slice(&current.key_id);
        record.extend_from_slice(&current.epoch);
        record.extend_from_slice(&counter.to_be_bytes());
        record.extend_from_slice(plain);
        let tag = current
            .key
            .seal_in_place_separate_tag(nonce(counter), Aad::from(context), &mut record[HEAD..])
            .map_err(|_| io::Error::other("cannot seal a record"))?;
        record.extend_from_slice(tag.as_ref());
        let checksum = checksum(context, &record[CHECKSUM..]);
        record[..CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        Ok(record)
    }

    /// Opens a record.
    pub(crate) fn open(&self, context: &[u8], record: &[u8]) -> Result<Vec<u8>, Damage> {
        let (stored, rest) = record.split_first_chunk::<CHECKSUM>().ok_or(Damage::Short)?;
        let (key_id, after) = rest.split_first_chunk::<KEY_ID>().ok_or(Damage::Short)?;
        let (epoch, after) = after.split_first_chunk::<EPOCH>().ok_or(Damage::Short)?;
        let (counter, body) = after.split_first_chunk::<COUNTER>().ok_or(Damage::Short)?;
        if u32::from_be_bytes(*stored) != checksum(context, rest) {
            return Err(Damage::Checksum);
        }
        let key = self.key_of(*key_id, *epoch).ok_or(Damage::Sealed)?;
        let nonce = nonce(u64::from_be_bytes(*counter));
        let mut body = body.to_vec();
        let plain = key.open_in_place(nonce, Aad::from(context), &mut body);
        let length = plain.map_err(|_| Damage::Sealed)?.len();
        body.truncate(length);
        Ok(body)
    }

    /// The record sealed anew under the current key.
    pub(crate) fn reseal(&self, context: &[u8], record: &[u8]) -> io::Result<Vec<u8>> {
        let plain = self.open(context, record).map(Zeroizing::new);
        let damaged = |damage| io::Error::new(io::ErrorKind::InvalidData, damage);
        self.seal(context, &plain.map_err(damaged)?)
    }

    /// Key of an epoch; `None` if its data key is not known.
    fn key_of(&self, key_id: KeyId, epoch: Epoch) -> Option<Arc<LessSafeKey>> {
        let mut ring = self.ring();
        if let Some(key) = ring.derived.get(&(key_id, epoch)) {
            return Some(Arc::clone(key));
        }
        let key = Arc::new(derive(ring.keys.get(&key_id)?, &epoch).ok()?);
        ring.derived.insert((key_id, epoch), Arc::clone(&key));
        Some(key)
    }
}

impl Current {
    fn new(key_id: KeyId, key: &DataKey) -> io::Result<Self> {
        let mut epoch = Epoch::default();
        rand::fill(&mut epoch).map_err(|_| io::Error::other("no randomness from the system"))?;
        let key = derive(key, &epoch)?;
        Ok(Self { key_id, epoch, key, counter: AtomicU64::new(0) })
    }
}

fn failed(_: aws_lc_rs::error::Unspecified) -> io::Error {
    io::Error::other("cannot derive a sealing key")
}

fn derive(data_key: &DataKey, epoch: &Epoch) -> io::Result<LessSafeKey> {
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, epoch).extract(data_key);
    let okm = secret.expand(&[b"swarm raft-store record"], &AES_256_GCM).map_err(failed)?;
    Ok(LessSafeKey::new(UnboundKey::from(okm)))
}

/// Length of what is derived to tell keys apart.
struct IdLength;

impl hkdf::KeyType for IdLength {
    fn len(&self) -> usize {
        KEY_ID
    }
}

fn key_id(data_key: &DataKey) -> io::Result<KeyId> {
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"").extract(data_key);
    let okm = secret.expand(&[b"swarm raft-store key id"], IdLength).map_err(failed)?;
    let mut id = KeyId::default();
    okm.fill(&mut id).map_err(failed)?;
    Ok(id)
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn checksum(context: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(context);
    hasher.update(rest);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_again_also_after_a_restart() {
        let first = Sealer::new(&[7; 32].into()).unwrap();
        let record = first.seal(b"log 1", b"secret").unwrap();
        assert!(!record.windows(6).any(|w| w == b"secret"));
        assert_eq!(first.open(b"log 1", &record).unwrap(), b"secret");
        let second = Sealer::new(&[7; 32].into()).unwrap();
        assert_eq!(second.open(b"log 1", &record).unwrap(), b"secret");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let sealer = Sealer::new(&[7; 32].into()).unwrap();
        let record = sealer.seal(b"log 1", b"secret").unwrap();
        for position in 0..record.len() {
            let mut damaged = record.clone();
            damaged[position] ^= 1;
            assert_eq!(sealer.open(b"log 1", &damaged), Err(Damage::Checksum));
            assert!(sealer.open(b"log 1", &record[..position]).is_err());
        }
    }

    #[test]
    fn a_record_in_another_place_or_under_another_key_does_not_open() {
        let sealer = Sealer::new(&[7; 32].into()).unwrap();
        let record = sealer.seal(b"log 1", b"secret").unwrap();
        assert_eq!(sealer.open(b"log 2", &record), Err(Damage::Checksum));
        let other = Sealer::new(&[8; 32].into()).unwrap();
        assert_eq!(other.open(b"log 1", &record), Err(Damage::Sealed));
    }

    #[test]
    fn after_a_rotation_earlier_records_open_until_their_key_is_forgotten() {
        let sealer = Sealer::new(&[7; 32].into()).unwrap();
        let old = sealer.seal(b"log 1", b"secret").unwrap();
        sealer.rotate(&[8; 32]).unwrap();
        let new = sealer.seal(b"log 2", b"secret").unwrap();
        assert!(sealer.is_outdated(&old) && !sealer.is_outdated(&new));
        let again = sealer.reseal(b"log 1", &old).unwrap();
        assert!(!sealer.is_outdated(&again));
        sealer.forget_outdated();
        assert_eq!(sealer.open(b"log 1", &old), Err(Damage::Sealed));
        let fresh = Sealer::new(&[8; 32].into()).unwrap();
        assert_eq!(fresh.open(b"log 1", &again).unwrap(), b"secret");
        assert_eq!(fresh.open(b"log 2", &new).unwrap(), b"secret");
    }
}
