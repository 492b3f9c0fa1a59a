//! The lock on a manager's secrets: keys that people keep (`SWMKEY-1-…` unlocks managers,
//! `SWMSNAP-1-…` opens snapshots), and secrets wrapped under a key so that they may lie on a disk.
//!
//! It decides nothing about when a node is locked; the node does. Wrapped secret: salt (32) ·
//! ciphertext and tag, AES-256-GCM under a key derived from the wrapping key and the salt.

use std::fmt::{Debug, Display, Formatter};
use std::str::FromStr;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::CaError;

const KEY: usize = 32;
const SALT: usize = 32;

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid key: want {prefix} and 43 characters")]
pub struct KeyTextError {
    prefix: &'static str,
}

fn random() -> Result<[u8; KEY], CaError> {
    let mut key = [0; KEY];
    let failed = |_| CaError::malformed("key", "the random source of the system failed");
    rand::fill(&mut key).map_err(failed)?;
    Ok(key)
}

macro_rules! text_key {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Zeroizing<[u8; KEY]>);

        impl $name {
            /// A new one.
            pub fn generate() -> Result<Self, CaError> {
                random().map(Self::new)
            }

            /// Of these bytes.
            pub fn new(bytes: [u8; KEY]) -> Self {
                Self(Zeroizing::new(bytes))
            }

            /// From the store: `None` unless it has the length of a key.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::new)
            }

            /// The key itself.
            pub fn bytes(&self) -> &[u8; KEY] {
                &self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.as_slice().ct_eq(other.0.as_slice()).into()
            }
        }

        impl FromStr for $name {
            type Err = KeyTextError;

            fn from_str(text: &str) -> Result<Self, KeyTextError> {
                let wrong = || KeyTextError { prefix: $prefix };
                let rest = text.trim().strip_prefix($prefix).ok_or_else(wrong)?;
                let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(rest).map_err(|_| wrong())?);
                Self::from_slice(&bytes).ok_or_else(wrong)
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}{}", $prefix, STANDARD_NO_PAD.encode(self.0.as_slice()))
            }
        }

        impl Debug for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

text_key! {
    /// Unlocks the managers of a cluster with autolock. `Display` shows it whole, `Debug` never.
    UnlockKey, "SWMKEY-1-"
}

text_key! {
    /// Opens the snapshots of a cluster. `Display` shows it whole, `Debug` never.
    RecoveryKey, "SWMSNAP-1-"
}

/// The wrapped secret does not open: the key is another, or the secret is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not open with this key")]
pub struct WrongKey;

/// A key that wraps other secrets.
#[derive(Clone)]
pub struct WrapKey(Zeroizing<[u8; KEY]>);

impl Debug for WrapKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WrapKey").finish_non_exhaustive()
    }
}

impl From<&UnlockKey> for WrapKey {
    fn from(key: &UnlockKey) -> Self {
        Self(key.0.clone())
    }
}

impl WrapKey {
    /// A new one.
    pub fn generate() -> Result<Self, CaError> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    /// Of what was opened; `None` unless it has the length of a key.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|key| Self(Zeroizing::new(key)))
    }

    /// The key itself.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Wraps `plain`; `context` (what it is) must be the same when it is opened.
    pub fn wrap(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, CaError> {
        let failed = |_| CaError::malformed("secret", "it cannot be wrapped");
        let salt = random()?;
        let key = self.derive(&salt).map_err(|_| failed(WrongKey))?;
        let mut body = plain.to_vec();
        key.seal_in_place_append_tag(nonce(), Aad::from(context.as_bytes()), &mut body)
            .map_err(|_| failed(WrongKey))?;
        Ok([&salt[..], &body].concat())
    }

    /// What [`Self::wrap`] wrapped.
    pub fn open(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, WrongKey> {
        let (salt, body) = wrapped.split_first_chunk::<SALT>().ok_or(WrongKey)?;
        let mut body = Zeroizing::new(body.to_vec());
        let key = self.derive(salt)?;
        let plain = key.open_in_place(nonce(), Aad::from(context.as_bytes()), &mut body);
        let length = plain.map_err(|_| WrongKey)?.len();
        body.truncate(length);
        Ok(body)
    }

    fn derive(&self, salt: &[u8; SALT]) -> Result<LessSafeKey, WrongKey> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(self.0.as_slice());
        let okm = secret.expand(&[b"swarm wrapped secret"], &AES_256_GCM).map_err(|_| WrongKey)?;
        Ok(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

/// Each salt makes a key of its own, which seals once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_printing_and_parsing_and_is_not_in_debug_output() {
        let key = UnlockKey::generate().unwrap();
        let text = key.to_string();
        assert!(text.starts_with("SWMKEY-1-") && text.len() == 9 + 43, "{text}");
        assert_eq!(text.parse::<UnlockKey>().unwrap(), key);
        assert!(!format!("{key:?}").contains(&text[9..]));
        let opens = RecoveryKey::generate().unwrap().to_string();
        assert!(opens.parse::<UnlockKey>().is_err() && opens.parse::<RecoveryKey>().is_ok());
        for bad in ["", "SWMKEY-1-", "SWMKEY-1-AAAA", &text[..50], &format!("{text}A")] {
            assert!(bad.parse::<UnlockKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrapped_secret_opens_with_its_key_as_what_it_is_and_whole() {
        let key = WrapKey::generate().unwrap();
        let wrapped = key.wrap("data key", b"hunter2").unwrap();
        assert!(!wrapped.windows(7).any(|w| w == b"hunter2"));
        assert_eq!(&**key.open("data key", &wrapped).unwrap(), b"hunter2");
        assert!(key.open("tls key", &wrapped).is_err());
        assert!(WrapKey::generate().unwrap().open("data key", &wrapped).is_err());
        for position in 0..wrapped.len() {
            let mut damaged = wrapped.clone();
            damaged[position] ^= 1;
            assert!(key.open("data key", &damaged).is_err(), "{position}");
        }
    }
}
