//! A container's log: numbered segment files in one directory, each a sequence of records.
//!
//! Record: time (8 bytes, nanoseconds since 1970), stream and flags (1), length (4), data,
//! length again (4, so that the end can be read backwards); all little endian. The shim is the
//! only writer ([`writer`]); readers ([`reader`]) take segments in the order of their numbers and
//! so never miss a rotation.

pub mod reader;
pub mod writer;

use std::path::{Path, PathBuf};

use bytes::Bytes;

/// Bytes before a record's data.
pub const HEADER: usize = 13;
/// Bytes after a record's data.
pub const TRAILER: usize = 4;
/// Longest data of one record; longer lines are split and marked partial.
pub const MAX_DATA: usize = 16 << 10;
/// Flag: the line continues in the next record of the stream.
const PARTIAL: u8 = 0x80;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// The engine itself, about the log (dropped output).
    Engine = 0,
    Stdout = 1,
    Stderr = 2,
}

/// One line of a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Nanoseconds since 1970.
    pub time: u64,
    pub stream: LogStream,
    /// Without the line's end.
    pub data: Bytes,
    /// The line was longer than a record and continues in the next one.
    pub partial: bool,
}

/// Which lines a reader wants.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// Goes on until the container ends.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// Only lines not older than this, in nanoseconds since 1970.
    pub since: Option<u64>,
    pub stdout: bool,
    pub stderr: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { follow: false, tail: None, since: None, stdout: true, stderr: true }
    }
}

impl LogOptions {
    fn wants(&self, line: &LogLine) -> bool {
        let stream = match line.stream {
            LogStream::Stdout => self.stdout,
            LogStream::Stderr => self.stderr,
            LogStream::Engine => true,
        };
        stream && self.since.is_none_or(|since| line.time >= since)
    }
}

/// Appends one record to `out`. `data` must not be longer than [`MAX_DATA`].
pub fn encode(out: &mut Vec<u8>, time: u64, stream: LogStream, partial: bool, data: &[u8]) {
    let length = (data.len() as u32).to_le_bytes();
    out.extend_from_slice(&time.to_le_bytes());
    out.push(stream as u8 | if partial { PARTIAL } else { 0 });
    out.extend_from_slice(&length);
    out.extend_from_slice(data);
    out.extend_from_slice(&length);
}

/// A record's header: time, stream, partial, length of data. None when it cannot be one.
pub fn decode_header(bytes: &[u8; HEADER]) -> Option<(u64, LogStream, bool, usize)> {
    let mut time = [0; 8];
    time.copy_from_slice(&bytes[..8]);
    let mut length = [0; 4];
    length.copy_from_slice(&bytes[9..]);
    let stream = match bytes[8] & !PARTIAL {
        0 => LogStream::Engine,
        1 => LogStream::Stdout,
        2 => LogStream::Stderr,
        _ => return None,
    };
    let length = u32::from_le_bytes(length) as usize;
    let partial = bytes[8] & PARTIAL != 0;
    (length <= MAX_DATA).then(|| (u64::from_le_bytes(time), stream, partial, length))
}

/// The file of segment `number`.
pub fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}"))
}

/// The numbers of the segments present, ascending.
pub fn segments(dir: &Path) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut numbers: Vec<u64> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests;
