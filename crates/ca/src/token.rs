//! Join tokens: `SWMTKN-1-<root digest, 50 base-36 characters>-<secret, 25>`. The digest pins the root before the secret is
//! shown to anyone.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

use rand::Rng;
use subtle::ConstantTimeEq;
use swarm_api::id::{ID_LEN, new_id};

use crate::Root;

const PREFIX: &str = "SWMTKN";
const VERSION: &str = "1";
/// 256 bits in base 36.
const DIGEST_LEN: usize = 50;

/// A parsed join token. Its secret is as good as membership: it is never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    digest: String,
    secret: String,
}

/// Why a text is no join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid join token: want SWMTKN-1-<50 characters>-<25 characters>, as join-token prints it"
)]
pub struct TokenError;

impl JoinToken {
    /// A new token for `root`.
    pub fn generate(root: &Root, rng: &mut impl Rng) -> Self {
        Self { digest: root.digest(), secret: new_id(rng) }
    }

    /// Digest of the root that it pins.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether `given` is this token. Takes the same time wherever they differ.
    pub fn matches(&self, given: &JoinToken) -> bool {
        let digest = self.digest.as_bytes().ct_eq(given.digest.as_bytes());
        let secret = self.secret.as_bytes().ct_eq(given.secret.as_bytes());
        (digest & secret).into()
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split('-').collect();
        let [PREFIX, VERSION, digest, secret] = parts[..] else { return Err(TokenError) };
        let base36 = |t: &str| t.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        if digest.len() != DIGEST_LEN || secret.len() != ID_LEN {
            return Err(TokenError);
        }
        if !base36(digest) || !base36(secret) {
            return Err(TokenError);
        }
        Ok(Self { digest: digest.to_owned(), secret: secret.to_owned() })
    }
}

impl Display for JoinToken {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PREFIX}-{VERSION}-{}-{}", self.digest, self.secret)
    }
}

impl std::fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinToken").field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// 32 bytes as a number in base 36, zero-padded to 50 characters.
pub(crate) fn base36_digest(bytes: &[u8]) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![b'0'; DIGEST_LEN];
    for digit in digits.iter_mut().rev() {
        // Long division of the number by 36; the remainder is the next digit.
        let remainder = number.iter_mut().fold(0u32, |rest, byte| {
            let value = rest * 256 + u32::from(*byte);
            // A quotient below 256, as the rest is below 36.
            *byte = (value / 36) as u8;
            value % 36
        });
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[remainder as usize];
    }
    String::from_utf8_lossy(&digits).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn a_token_survives_printing_and_parsing() {
        let root = Root::generate("c1", SystemTime::now()).unwrap();
        let token = JoinToken::generate(&root, &mut rand::rng());
        let parsed: JoinToken = token.to_string().parse().unwrap();
        assert!(parsed.matches(&token));
        assert_eq!(parsed.digest(), root.digest());
        let other = JoinToken::generate(&root, &mut rand::rng());
        assert!(!other.matches(&token));
    }

    #[test]
    fn a_token_of_another_form_is_refused() {
        let (digest, secret) = ("1".repeat(50), "2".repeat(25));
        assert!(format!("SWMTKN-1-{digest}-{secret}").parse::<JoinToken>().is_ok());
        for text in [
            String::new(),
            format!("SWMTKN-2-{digest}-{secret}"),
            format!("SWMTKN-1-{digest}-{}", &secret[1..]),
            format!("SWMTKN-1-{digest}-{}", secret.replace('2', "A")),
            format!("SWMTKN-1-{digest}"),
        ] {
            assert_eq!(text.parse::<JoinToken>(), Err(TokenError), "{text}");
        }
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let text = format!("SWMTKN-1-{}-{}", "1".repeat(50), "z".repeat(25));
        let token: JoinToken = text.parse().unwrap();
        assert!(!format!("{token:?}").contains("zzz"));
    }

    #[test]
    fn a_digest_is_its_number_in_base_36() {
        assert_eq!(base36_digest(&[0; 32]), "0".repeat(50));
        let mut bytes = [0; 32];
        bytes[31] = 37;
        assert!(base36_digest(&bytes).ends_with("0011"));
    }
}
