//! Ids derived from what asks for the object: a retry finds what the first try made, also under another leader, and never
//! makes two.

use aws_lc_rs::digest;
use swarm_api::id;

/// The id of the object that a request makes; a random one for a request without id.
pub fn of_request(request_id: &str) -> String {
    match request_id.is_empty() {
        true => id::random_id(),
        false => of_bytes(request_id.as_bytes()),
    }
}

/// The id that belongs to these bytes.
pub fn of_bytes(bytes: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, bytes);
    let mut first = [0u8; 16];
    first.copy_from_slice(&hash.as_ref()[..16]);
    id::base36(u128::from_be_bytes(first), id::ID_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_id_yields_one_object_id() {
        assert_eq!(of_request("r1"), of_request("r1"));
        assert_ne!(of_request("r1"), of_request("r2"));
        assert_ne!(of_request(""), of_request(""));
        assert_eq!(of_request("r1").len(), id::ID_LEN);
    }
}
