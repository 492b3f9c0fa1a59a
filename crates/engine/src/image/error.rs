//! What can go wrong with images, told apart by what the caller can do about it.
//!
//! Does not log. Every operation of the image store returns these.

use std::io;

/// An image operation's failure. Messages name the image, the registry and both sides of a
/// mismatch, and are fit to be shown to a user as they are.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Neither a name, nor a digest, nor the beginning of an id of an image of this node.
    #[error("image not found: {0}")]
    NotFound(String),
    /// The text cannot be the name of an image.
    #[error("invalid image reference \"{reference}\": {reason}")]
    InvalidReference { reference: String, reason: String },
    /// The beginning of more than one id.
    #[error("image id \"{prefix}\" is ambiguous: it begins both {first} and {second}")]
    Ambiguous { prefix: String, first: String, second: String },
    /// Not `sha256:` and 64 hexadecimal digits.
    #[error("invalid digest \"{0}\": expected sha256: and 64 lowercase hexadecimal digits")]
    InvalidDigest(String),
    /// Content is not what its digest promises.
    #[error("{what} has the digest {actual}, expected {expected}")]
    DigestMismatch { what: String, expected: String, actual: String },
    /// An image cannot be named because part of it is not on this node.
    #[error("image {image} is incomplete: blob {digest} is missing")]
    MissingBlob { image: String, digest: String },
    /// An archive, manifest, configuration or layer that is malformed or contradicts itself.
    #[error("invalid image: {0}")]
    Invalid(String),
    /// Well-formed, but of a kind that this engine does not handle.
    #[error("unsupported image: {0}")]
    Unsupported(String),
    /// A layer's entry that would reach outside of the layer.
    #[error("unsafe layer entry \"{path}\": {reason}")]
    UnsafeEntry { path: String, reason: String },
    /// Larger than this engine accepts.
    #[error("{what} is over the limit: at most {limit} is allowed")]
    OverLimit { what: String, limit: u64 },
    /// Cannot be removed now.
    #[error("cannot remove image {image}: {reason}")]
    Conflict { image: String, reason: String },
    /// The registry answered that there is no such image.
    #[error("image not found: {reference}: registry {registry} has no such repository or tag")]
    NotInRegistry { registry: String, reference: String },
    /// The registry wants credentials, or other ones.
    #[error("not authorized to pull {reference} from registry {registry}: {reason}")]
    Unauthorized { registry: String, reference: String, reason: String },
    /// No connection to the registry.
    #[error("cannot pull {reference}: registry {registry} is unreachable: {reason}")]
    Unreachable { registry: String, reference: String, reason: String },
    /// The registry stopped answering.
    #[error("cannot pull {reference}: registry {registry} did not answer in time")]
    Timeout { registry: String, reference: String },
    /// Any other answer of the registry.
    #[error("cannot pull {reference}: registry {registry} failed: {reason}")]
    Registry { registry: String, reference: String, reason: String },
    /// The index has no image for the wanted platform.
    #[error("{reference} has no image for platform {wanted}; it has {available}")]
    WrongPlatform { reference: String, wanted: String, available: String },
    /// The disk or the kernel failed.
    #[error("cannot {doing}: {source}")]
    Io { doing: String, source: io::Error },
    /// The runtime is shutting down.
    #[error("the image operation was interrupted")]
    Interrupted,
}

/// The result of an image operation.
pub type Result<T, E = ImageError> = std::result::Result<T, E>;

/// Adds to an I/O error what was being done.
pub(super) trait Doing<T> {
    /// `doing` completes the sentence "cannot …".
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| ImageError::Io { doing: doing(), source: source.into() })
    }
}
