//! The writing side of a log. Runs inside the shim: it never fails its caller. What cannot be
//! written (a full disk) is dropped and counted, and the count is written once there is room.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use super::{LogStream, MAX_DATA, encode, segment, segments};

/// Appends records and keeps the segments within their limits.
pub struct Writer {
    dir: PathBuf,
    max_size: u64,
    max_files: u32,
    number: u64,
    size: u64,
    file: Option<File>,
    dropped: u64,
    reported: u64,
}

impl Writer {
    /// Continues after the newest segment of `dir`. At least one segment is kept.
    pub fn new(dir: PathBuf, max_size: u64, max_files: u32) -> Self {
        let number = segments(&dir).last().map_or(1, |last| last + 1);
        let max_files = max_files.max(1);
        Self { dir, max_size, max_files, number, size: 0, file: None, dropped: 0, reported: 0 }
    }

    /// Bytes of records dropped so far because they could not be written.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Writes encoded whole records.
    pub fn append(&mut self, records: &[u8], now: u64) {
        if records.is_empty() {
            return;
        }
        if self.dropped > self.reported {
            self.report_dropped(now);
        }
        if !self.write(records) {
            self.dropped += records.len() as u64;
        }
    }

    fn report_dropped(&mut self, now: u64) {
        let missing = self.dropped - self.reported;
        let text = format!("{missing} bytes of output were dropped: the log could not be written");
        let mut record = Vec::new();
        encode(&mut record, now, LogStream::Engine, false, text.as_bytes());
        if self.write(&record) {
            self.reported = self.dropped;
        }
    }

    fn write(&mut self, records: &[u8]) -> bool {
        if self.size > 0 && self.size + records.len() as u64 > self.max_size {
            self.rotate();
        }
        if self.file.is_none() && !self.open() {
            return false;
        }
        let Some(file) = self.file.as_mut() else { return false };
        match file.write_all(records) {
            Ok(()) => {
                self.size += records.len() as u64;
                true
            }
            Err(_) => {
                // Half a record must not stay: readers would lose their place.
                if file.set_len(self.size).is_err() {
                    self.rotate();
                }
                false
            }
        }
    }

    fn open(&mut self) -> bool {
        let path = segment(&self.dir, self.number);
        self.file = OpenOptions::new().create(true).append(true).open(path).ok();
        self.size = 0;
        self.file.is_some()
    }

    fn rotate(&mut self) {
        self.file = None;
        self.size = 0;
        self.number += 1;
        let kept = u64::from(self.max_files);
        for old in segments(&self.dir) {
            if old + kept <= self.number {
                // A segment that cannot be removed now is tried again at the next rotation.
                let _ = fs::remove_file(segment(&self.dir, old));
            }
        }
    }
}

/// Cuts one stream's bytes into lines and those into records.
pub struct Splitter {
    stream: LogStream,
    rest: Vec<u8>,
}

impl Splitter {
    /// For the bytes of `stream`.
    pub fn new(stream: LogStream) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// Takes bytes as they came and appends records of the lines they complete.
    pub fn feed(&mut self, mut bytes: &[u8], now: u64, out: &mut Vec<u8>) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.take(&bytes[..end], now, out);
            encode(out, now, self.stream, false, &self.rest);
            self.rest.clear();
            bytes = &bytes[end + 1..];
        }
        self.take(bytes, now, out);
    }

    /// Writes what is left of an unfinished line.
    pub fn finish(&mut self, now: u64, out: &mut Vec<u8>) {
        if !self.rest.is_empty() {
            encode(out, now, self.stream, false, &self.rest);
            self.rest = Vec::new();
        }
    }

    fn take(&mut self, mut bytes: &[u8], now: u64, out: &mut Vec<u8>) {
        while self.rest.len() + bytes.len() > MAX_DATA {
            let (head, tail) = bytes.split_at(MAX_DATA - self.rest.len());
            self.rest.extend_from_slice(head);
            encode(out, now, self.stream, true, &self.rest);
            self.rest.clear();
            bytes = tail;
        }
        self.rest.extend_from_slice(bytes);
    }
}
