//! Identifiers: 25 characters of base 36 for 128 random bits, zero-padded, as Swarm's users know them.
//!
//! Randomness is passed in, so a seeded run names its objects the same way each time.

use rand::Rng;

/// Characters of an id.
pub const ID_LEN: usize = 25;
/// Characters of an id that tables show.
pub const SHORT_LEN: usize = 12;

const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A new id from 128 bits of `rng`.
pub fn new_id(rng: &mut impl Rng) -> String {
    let mut bytes = [0u8; 16];
    rng.fill_bytes(&mut bytes);
    base36(u128::from_be_bytes(bytes), ID_LEN)
}

/// A new id from the process's random source. For callers at the edge; passes take theirs from outside.
pub fn random_id() -> String {
    new_id(&mut rand::rng())
}

/// `value` in base 36, zero-padded to `width`.
pub fn base36(mut value: u128, width: usize) -> String {
    let mut digits = Vec::with_capacity(width);
    while value > 0 || digits.len() < width {
        // The remainder is below 36, so it fits.
        digits.push(ALPHABET[(value % 36) as usize]);
        value /= 36;
    }
    digits.iter().rev().map(|&b| char::from(b)).collect()
}

/// The part of an id that tables show.
pub fn short(id: &str) -> &str {
    id.get(..SHORT_LEN).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_25_characters_of_base_36() {
        let id = random_id();
        assert_eq!(id.len(), ID_LEN);
        assert!(id.bytes().all(|b| ALPHABET.contains(&b)));
    }

    #[test]
    fn the_largest_value_fits() {
        assert_eq!(base36(u128::MAX, ID_LEN).len(), ID_LEN);
        assert_eq!(base36(35, 3), "00z");
    }
}
