//! SHA-256 digests in their textual form, and readers that compute them on the way.
//!
//! Knows nothing of where content lives. Used by every part of the image store.

use std::io::{self, Read};

use aws_lc_rs::digest::{Context, SHA256, digest};

use super::error::{ImageError, Result};

const PREFIX: &str = "sha256:";
const HEX_LEN: usize = 64;

/// The hexadecimal part of `sha256:…`. This check is also what makes a digest safe as a file name.
pub(super) fn hex_of(text: &str) -> Result<&str> {
    text.strip_prefix(PREFIX)
        .filter(|hex| is_hex(hex) && hex.len() == HEX_LEN)
        .ok_or_else(|| ImageError::InvalidDigest(text.to_owned()))
}

/// Whether every character is a lowercase hexadecimal digit.
pub(super) fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The digest of bytes in memory.
pub(super) fn of_bytes(bytes: &[u8]) -> String {
    format!("{PREFIX}{}", hex::encode(digest(&SHA256, bytes)))
}

/// Computes a digest bit by bit.
pub(super) struct Hasher(Context);

impl Hasher {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> String {
        format!("{PREFIX}{}", hex::encode(self.0.finish()))
    }
}

/// Passes bytes through, counting and hashing them, and fails once there are more than `limit`.
pub(super) struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
    count: u64,
    limit: u64,
}

impl<R: Read> HashingReader<R> {
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self { inner, hasher: Hasher::new(), count: 0, limit }
    }

    /// Reads what is left, and gives the digest and the length of everything.
    pub(super) fn finish(mut self) -> io::Result<(String, u64)> {
        let mut rest = [0; 16 * 1024];
        while self.read(&mut rest)? > 0 {}
        Ok((self.hasher.finish(), self.count))
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        self.count += n as u64;
        if self.count > self.limit {
            let message = format!("content is longer than {} bytes", self.limit);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sha256_with_64_lowercase_digits_is_a_digest() {
        let good = of_bytes(b"");
        assert_eq!(hex_of(&good).unwrap().len(), HEX_LEN);
        for bad in ["", "sha256:", "sha512:00", "sha256:../../etc/passwd", &good.to_uppercase()] {
            assert!(hex_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reader_over_its_limit_fails_instead_of_going_on() {
        let reader = HashingReader::new(&[7_u8; 100][..], 99);
        assert_eq!(reader.finish().unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
