//! The name of a request, by which a repetition of it is known. A client draws one for each thing that it asks for and sends
//! it with every attempt; what was carried out under it is not carried out again, also by another leader.

/// The metadata key that it travels under.
pub const HEADER: &str = "swarm-request-id";

/// Longest one, bytes.
pub const MAX_LEN: usize = 64;

/// Whether managers take it: 1 to 64 letters, digits, `-` and `_`.
pub fn is_valid(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_LEN).contains(&id.len()) && id.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_short_word() {
        assert!(is_valid(&crate::id::random_id()) && is_valid("a-b_C3"));
        for bad in ["", "a b", "ä", &"x".repeat(MAX_LEN + 1)] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
