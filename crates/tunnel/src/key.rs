//! Keys: a node's private half, which leaves the node never, its public half, and what every pair
//! of nodes shares besides, made from the cluster's secret.

use std::fmt;

use blake2::Blake2sMac256;
use blake2::digest::{FixedOutput, KeyInit, Update};
use boringtun::x25519;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of every key and secret.
pub const LENGTH: usize = 32;
/// What the shared key is for: no other use of the secret comes to the same bytes.
const PURPOSE: &[u8] = b"swarm overlay tunnel pair 1";

/// The private half of a key. Wiped when dropped; shown to nobody.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
pub struct PrivateKey(#[serde(with = "hex_bytes")] [u8; LENGTH]);

/// The public half.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublicKey(#[serde(with = "hex_bytes")] [u8; LENGTH]);

/// What two nodes share beside their keys. Wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
pub struct SharedKey(#[serde(with = "hex_bytes")] [u8; LENGTH]);

impl PrivateKey {
    /// Of random bytes.
    pub fn new(random: [u8; LENGTH]) -> Self {
        Self(random)
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519::PublicKey::from(&self.secret()).to_bytes())
    }

    pub(crate) fn secret(&self) -> x25519::StaticSecret {
        x25519::StaticSecret::from(self.0)
    }
}

impl PublicKey {
    /// None unless there are [`LENGTH`] bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes as WireGuard has them.
    pub fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    pub(crate) fn point(&self) -> x25519::PublicKey {
        x25519::PublicKey::from(self.0)
    }
}

impl SharedKey {
    /// What the holders of two keys share in a cluster with this secret; the same from both ends.
    pub fn of_pair(secret: &[u8; LENGTH], one: &PublicKey, other: &PublicKey) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        // A key of BLAKE2s' own length is always taken.
        let mut mac = Blake2sMac256::new((secret).into());
        mac.update(PURPOSE);
        mac.update(&low.0);
        mac.update(&high.0);
        Self(mac.finalize_fixed().into())
    }

    pub(crate) fn bytes(&self) -> [u8; LENGTH] {
        self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(…)")
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Keys as hexadecimal text.
mod hex_bytes {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(hex::encode(bytes)))
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.as_bytes(), &mut bytes).map_err(D::Error::custom)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_share_the_same_and_no_other_pair_or_secret_does() {
        let [a, b, c] = [1, 2, 3].map(|n| PrivateKey::new([n; LENGTH]).public());
        let shared = SharedKey::of_pair(&[9; LENGTH], &a, &b);
        assert!(shared == SharedKey::of_pair(&[9; LENGTH], &b, &a));
        assert!(shared != SharedKey::of_pair(&[9; LENGTH], &a, &c));
        assert!(shared != SharedKey::of_pair(&[8; LENGTH], &a, &b));
    }

    #[test]
    fn a_private_key_is_not_printed() {
        let printed = format!("{:?}", PrivateKey::new([0xab; LENGTH]));
        assert!(!printed.contains("ab") && !printed.contains("171"), "{printed}");
    }
}
