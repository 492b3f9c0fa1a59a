//! Seals what lies on disk: AES-256-GCM under keys derived from the node's data key, and a checksum
//! around it that tells damage from a wrong key.
//!
//! Each opening of the store is an epoch with a key of its own, and counts its nonces: no nonce is
//! ever used twice. Record: crc32 (4) · epoch (16) · counter (8) · ciphertext and tag. All integers
//! big-endian.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use zeroize::Zeroizing;

const CHECKSUM: usize = 4;
const EPOCH: usize = 16;
const COUNTER: usize = 8;
const HEAD: usize = CHECKSUM + EPOCH + COUNTER;

type Epoch = [u8; EPOCH];

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

/// Seals and opens records.
pub(crate) struct Sealer {
    data_key: Zeroizing<[u8; 32]>,
    epoch: Epoch,
    key: LessSafeKey,
    counter: AtomicU64,
    // Keys of earlier epochs, derived as their records are met.
    earlier: Mutex<HashMap<Epoch, Arc<LessSafeKey>>>,
}

impl Sealer {
    pub(crate) fn new(data_key: &[u8; 32]) -> io::Result<Self> {
        let mut epoch = Epoch::default();
        rand::fill(&mut epoch).map_err(|_| io::Error::other("no randomness from the system"))?;
        let key = derive(data_key, &epoch)?;
        Ok(Self {
            data_key: Zeroizing::new(*data_key),
            epoch,
            key,
            counter: AtomicU64::new(0),
            earlier: Mutex::default(),
        })
    }

    /// Seals `plain`; `context` (what and where it is) must be the same when it is opened.
    pub(crate) fn seal(&self, context: &[u8], plain: &[u8]) -> io::Result<Vec<u8>> {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut body = plain.to_vec();
        self.key
            .seal_in_place_append_tag(nonce(counter), Aad::from(context), &mut body)
            .map_err(|_| io::Error::other("cannot seal a record"))?;
        let mut record = Vec::with_capacity(HEAD + body.len());
        record.extend_from_slice(&[0; CHECKSUM]);
        record.extend_from_slice(&self.epoch);
        record.extend_from_slice(&counter.to_be_bytes());
        record.extend_from_slice(&body);
        let checksum = checksum(context, &record[CHECKSUM..]);
        record[..CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        Ok(record)
    }

    /// Opens a record.
    pub(crate) fn open(&self, context: &[u8], record: &[u8]) -> Result<Vec<u8>, Damage> {
        let (stored, rest) = record.split_first_chunk::<CHECKSUM>().ok_or(Damage::Short)?;
        let (epoch, after) = rest.split_first_chunk::<EPOCH>().ok_or(Damage::Short)?;
        let (counter, body) = after.split_first_chunk::<COUNTER>().ok_or(Damage::Short)?;
        if u32::from_be_bytes(*stored) != checksum(context, rest) {
            return Err(Damage::Checksum);
        }
        let key = self.key_of(epoch).map_err(|_| Damage::Sealed)?;
        let nonce = nonce(u64::from_be_bytes(*counter));
        let mut body = body.to_vec();
        let key = key.as_deref().unwrap_or(&self.key);
        let plain = key.open_in_place(nonce, Aad::from(context), &mut body);
        let length = plain.map_err(|_| Damage::Sealed)?.len();
        body.truncate(length);
        Ok(body)
    }

    /// Key of an earlier epoch; `None` for this one.
    fn key_of(&self, epoch: &Epoch) -> io::Result<Option<Arc<LessSafeKey>>> {
        if *epoch == self.epoch {
            return Ok(None);
        }
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = earlier.get(epoch) {
            return Ok(Some(Arc::clone(key)));
        }
        let key = Arc::new(derive(&self.data_key, epoch)?);
        earlier.insert(*epoch, Arc::clone(&key));
        Ok(Some(key))
    }
}

fn derive(data_key: &[u8; 32], epoch: &Epoch) -> io::Result<LessSafeKey> {
    let failed = |_| io::Error::other("cannot derive a sealing key");
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, epoch);
    let secret = salt.extract(data_key);
    let okm = secret.expand(&[b"swarm raft-store record"], &AES_256_GCM).map_err(failed)?;
    Ok(LessSafeKey::new(UnboundKey::from(okm)))
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
        let first = Sealer::new(&[7; 32]).unwrap();
        let record = first.seal(b"log 1", b"secret").unwrap();
        assert!(!record.windows(6).any(|w| w == b"secret"));
        assert_eq!(first.open(b"log 1", &record).unwrap(), b"secret");
        let second = Sealer::new(&[7; 32]).unwrap();
        assert_eq!(second.open(b"log 1", &record).unwrap(), b"secret");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
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
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let record = sealer.seal(b"log 1", b"secret").unwrap();
        assert_eq!(sealer.open(b"log 2", &record), Err(Damage::Checksum));
        let other = Sealer::new(&[8; 32]).unwrap();
        assert_eq!(other.open(b"log 1", &record), Err(Damage::Sealed));
    }
}
