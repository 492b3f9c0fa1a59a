//! Finds out how a stream is compressed and undoes it.
//!
//! Trusts the content, not its media type: archives are often labelled wrongly.

use std::io::{self, BufRead, BufReader, Read};

use super::manifest::{LAYER, LAYER_GZIP, LAYER_ZSTD};

/// Read-ahead of a compressed stream, in bytes.
const BUFFER: usize = 128 * 1024;

/// How a blob is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// The OCI media type of a layer compressed this way.
    pub(super) fn layer_media_type(self) -> &'static str {
        match self {
            Self::None => LAYER,
            Self::Gzip => LAYER_GZIP,
            Self::Zstd => LAYER_ZSTD,
        }
    }

    /// Tells by the first bytes; formats that layers never use are named in the error.
    pub(super) fn detect(head: &[u8]) -> io::Result<Self> {
        match head {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', ..] => Err(unsupported("bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Err(unsupported("xz")),
            _ => Ok(Self::None),
        }
    }
}

fn unsupported(name: &str) -> io::Error {
    let message = format!("{name} compression is not supported, use gzip, zstd or none");
    io::Error::new(io::ErrorKind::Unsupported, message)
}

/// The plain content of `reader`, and how it was compressed.
pub(super) fn plain<'a>(reader: impl Read + 'a) -> io::Result<(Box<dyn Read + 'a>, Compression)> {
    let mut reader = BufReader::with_capacity(BUFFER, reader);
    let compression = Compression::detect(reader.fill_buf()?)?;
    let plain: Box<dyn Read + 'a> = match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
    };
    Ok((plain, compression))
}
