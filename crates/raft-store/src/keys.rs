//! The keys that all on disk is sealed under: the current one, and earlier ones that records may
//! still lie under while a rotation is not finished.
//!
//! They are kept by the caller (in a file for root only, wrapped if the cluster is locked): this
//! crate never writes a data key to disk.

use zeroize::Zeroizing;

/// Length of a data key, bytes.
pub const DATA_KEY_BYTES: usize = 32;

/// Data keys, newest first: the first seals, all open. Wiped from memory when dropped.
#[derive(Clone)]
pub struct DataKeys(Vec<Zeroizing<[u8; DATA_KEY_BYTES]>>);

impl std::fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} data keys", self.0.len())
    }
}

impl From<[u8; DATA_KEY_BYTES]> for DataKeys {
    fn from(key: [u8; DATA_KEY_BYTES]) -> Self {
        Self(vec![Zeroizing::new(key)])
    }
}

impl DataKeys {
    /// The same keys with a new one before them.
    #[must_use]
    pub fn rotated(mut self, new: [u8; DATA_KEY_BYTES]) -> Self {
        self.0.insert(0, Zeroizing::new(new));
        self
    }

    /// From what [`Self::bytes`] gave; `None` if that is no whole number of keys, or no key.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (keys, rest) = bytes.as_chunks::<DATA_KEY_BYTES>();
        let whole = rest.is_empty() && !keys.is_empty();
        whole.then(|| Self(keys.iter().map(|key| Zeroizing::new(*key)).collect()))
    }

    /// All keys one after the other, newest first, to be kept.
    pub fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.0.len() * DATA_KEY_BYTES));
        self.0.iter().for_each(|key| bytes.extend_from_slice(&**key));
        bytes
    }

    /// The newest alone: for when [`crate::Replica::reseal`] has ended a rotation.
    #[must_use]
    pub fn newest(mut self) -> Self {
        self.0.truncate(1);
        self
    }

    /// The newest.
    pub fn current(&self) -> Zeroizing<[u8; DATA_KEY_BYTES]> {
        // There is always one: no constructor makes it without.
        self.0.first().cloned().unwrap_or_default()
    }

    /// Whether a rotation is not finished: see [`crate::Replica::reseal`].
    pub fn is_rotating(&self) -> bool {
        self.0.len() > 1
    }

    /// Forgets all keys.
    pub(crate) fn wipe(&mut self) {
        self.0.clear();
    }

    /// Newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8; DATA_KEY_BYTES]> {
        self.0.iter().map(|key| &**key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_as_bytes_and_read_again_newest_first() {
        let keys = DataKeys::from([1; 32]).rotated([2; 32]);
        assert!(keys.is_rotating());
        let again = DataKeys::from_bytes(&keys.bytes()).unwrap();
        assert_eq!(again.iter().collect::<Vec<_>>(), [&[2; 32], &[1; 32]]);
        assert!(!again.clone().newest().is_rotating());
        assert_eq!(again.newest().iter().collect::<Vec<_>>(), [&[2; 32]]);
        assert!(DataKeys::from_bytes(&[1; 31]).is_none());
        assert!(DataKeys::from_bytes(&[]).is_none());
    }

    #[test]
    fn no_key_is_shown() {
        assert_eq!(format!("{:?}", DataKeys::from([77; 32])), "1 data keys");
    }
}
