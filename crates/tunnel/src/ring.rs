//! A node's own keys over time: the newest, and the one before as long as there may be nodes that
//! have not heard of the newest. Which key two nodes share follows from the epochs of the cluster's
//! secret that their keys were made in, so both come to the same without talking. Pure; who keeps
//! the ring passes in time and randomness.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::{LENGTH, PrivateKey, PublicKey, SharedKey};

/// The key before the newest is kept for this long: the others learn of the new one through the
/// managers, and a node that reaches none meanwhile keeps its traffic.
pub const OVERLAP: Duration = Duration::from_secs(60);
/// Keys held at a time: turning them faster than they can be dropped loses nothing but old ones.
const KEYS_MAX: usize = 3;

/// One of a node's own keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnKey {
    /// The private half.
    pub private: PrivateKey,
    /// Epoch of the cluster's secret that it was made in.
    pub epoch: u64,
    /// Seconds since 1970.
    pub made_at: u64,
}

/// The cluster's secret of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Rises by one each time the secret is replaced.
    pub epoch: u64,
    /// The secret itself.
    pub secret: zeroize::Zeroizing<[u8; LENGTH]>,
}

/// The ring.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ring {
    /// The newest first.
    pub keys: Vec<OwnKey>,
}

impl Ring {
    /// Makes the key that the secret's present epoch wants, and drops the one before when it has
    /// had its time. Returns whether anything changed.
    pub fn turn(&mut self, epoch: u64, now: u64, random: impl FnOnce() -> [u8; LENGTH]) -> bool {
        let before = self.keys.len();
        let newest = self.keys.first();
        if newest.is_none_or(|key| key.epoch < epoch) {
            let private = PrivateKey::new(random());
            self.keys.insert(0, OwnKey { private, epoch, made_at: now });
            self.keys.truncate(KEYS_MAX);
            return true;
        }
        let settled = newest.is_some_and(|key| now >= key.made_at + OVERLAP.as_secs());
        if settled {
            self.keys.truncate(1);
        }
        self.keys.len() != before
    }

    /// Whether the ring will change by itself as time goes on.
    pub fn is_turning(&self) -> bool {
        self.keys.len() > 1
    }
}

/// What the holders of two keys share: made from the secret of the older epoch of the two, which
/// both know. None when that secret is known no more.
pub fn shared(
    secrets: &[Secret],
    own: (&PublicKey, u64),
    other: (&PublicKey, u64),
) -> Option<SharedKey> {
    let epoch = own.1.min(other.1);
    let secret = secrets.iter().find(|s| s.epoch == epoch)?;
    Some(SharedKey::of_pair(&secret.secret, own.0, other.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(epoch: u64) -> Secret {
        Secret { epoch, secret: [epoch as u8; LENGTH].into() }
    }

    #[test]
    fn a_new_epoch_makes_a_key_and_the_old_one_goes_when_it_has_had_its_time() {
        let mut ring = Ring::default();
        assert!(ring.turn(1, 100, || [1; LENGTH]));
        assert!(!ring.turn(1, 10_000, || [2; LENGTH]) && !ring.is_turning());
        assert!(ring.turn(2, 10_000, || [3; LENGTH]));
        let epochs = |ring: &Ring| ring.keys.iter().map(|k| k.epoch).collect::<Vec<_>>();
        assert_eq!(epochs(&ring), [2, 1]);
        assert!(!ring.turn(2, 10_059, || [4; LENGTH]));
        assert!(ring.turn(2, 10_060, || [4; LENGTH]));
        assert_eq!(epochs(&ring), [2]);
    }

    #[test]
    fn a_node_that_has_turned_shares_the_same_with_one_that_has_not() {
        let [a, b] = [1, 2].map(|n| PrivateKey::new([n; LENGTH]).public());
        let (early, late) = (vec![secret(1)], vec![secret(2), secret(1)]);
        let from_b = shared(&early, (&b, 1), (&a, 2));
        assert!(from_b.is_some() && from_b == shared(&late, (&a, 2), (&b, 1)));
        assert!(shared(&late, (&a, 2), (&b, 2)) != from_b);
        assert!(shared(&[secret(3), secret(2)], (&a, 1), (&b, 3)).is_none());
    }
}
