//! Tests of writer and reader together, on real files.

use std::path::Path;

use super::reader::Cursor;
use super::writer::{Splitter, Writer};
use super::*;

fn write_lines(dir: &Path, max_size: u64, max_files: u32, lines: std::ops::Range<u32>) {
    let mut writer = Writer::new(dir.to_owned(), max_size, max_files);
    let mut splitter = Splitter::new(LogStream::Stdout);
    for number in lines {
        let mut records = Vec::new();
        splitter.feed(format!("line {number}\n").as_bytes(), u64::from(number), &mut records);
        writer.append(&records, 0);
    }
}

fn all(mut cursor: Cursor, options: &LogOptions) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let (lines, more) = cursor.batch(options).unwrap();
        texts.extend(lines.iter().map(|l| String::from_utf8_lossy(&l.data).into_owned()));
        if !more {
            return texts;
        }
    }
}

#[test]
fn lines_come_back_in_order_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    write_lines(dir.path(), 4096, 1000, 0..2000);
    let texts = all(Cursor::oldest(dir.path().to_owned()), &LogOptions::default());
    assert_eq!(texts.len(), 2000);
    assert_eq!(texts[0], "line 0");
    assert_eq!(texts[1999], "line 1999");
}

#[test]
fn only_the_newest_segments_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    write_lines(dir.path(), 1000, 3, 0..2000);
    assert_eq!(segments(dir.path()).len(), 3);
    let texts = all(Cursor::oldest(dir.path().to_owned()), &LogOptions::default());
    assert_eq!(texts.last().unwrap(), "line 1999");
}

#[test]
fn the_tail_spans_segments_and_counts_only_wanted_lines() {
    let dir = tempfile::tempdir().unwrap();
    write_lines(dir.path(), 1000, 1000, 0..200);
    let options = LogOptions { tail: Some(60), ..LogOptions::default() };
    let cursor = Cursor::before_end(dir.path().to_owned(), 60, &options).unwrap();
    let texts = all(cursor, &options);
    assert_eq!((texts.len(), texts[0].as_str()), (60, "line 140"));
    let none = LogOptions { stdout: false, ..options };
    let cursor = Cursor::before_end(dir.path().to_owned(), 60, &none).unwrap();
    assert!(all(cursor, &none).is_empty());
}

#[test]
fn a_long_line_is_split_and_marked() {
    let mut splitter = Splitter::new(LogStream::Stderr);
    let mut records = Vec::new();
    splitter.feed(&vec![b'x'; MAX_DATA + 5], 7, &mut records);
    splitter.feed(b"end\nrest", 8, &mut records);
    splitter.finish(9, &mut records);
    let dir = tempfile::tempdir().unwrap();
    Writer::new(dir.path().to_owned(), 1 << 20, 2).append(&records, 0);
    let (lines, _) = Cursor::oldest(dir.path().to_owned()).batch(&LogOptions::default()).unwrap();
    let shape: Vec<(usize, bool)> = lines.iter().map(|l| (l.data.len(), l.partial)).collect();
    assert_eq!(shape, [(MAX_DATA, true), (8, false), (4, false)]);
}

#[test]
fn a_half_written_record_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut records = Vec::new();
    encode(&mut records, 1, LogStream::Stdout, false, b"whole");
    encode(&mut records, 2, LogStream::Stdout, false, b"half");
    records.truncate(records.len() - 3);
    std::fs::write(segment(dir.path(), 1), &records).unwrap();
    let texts = all(Cursor::oldest(dir.path().to_owned()), &LogOptions::default());
    assert_eq!(texts, ["whole"]);
}

#[test]
fn what_a_full_disk_drops_is_counted_and_told_later() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", segment(dir.path(), 1)).unwrap();
    let mut writer = Writer::new(dir.path().to_owned(), 1 << 20, 3);
    // The newest segment counts as full, so a new one is begun; lead that one astray too.
    std::os::unix::fs::symlink("/dev/full", segment(dir.path(), 2)).unwrap();
    let mut records = Vec::new();
    encode(&mut records, 1, LogStream::Stdout, false, b"lost");
    writer.append(&records, 1);
    assert_eq!(writer.dropped(), records.len() as u64);
    let kept = segment(dir.path(), 3);
    records.clear();
    encode(&mut records, 2, LogStream::Stdout, false, b"kept");
    writer.append(&records, 2);
    for number in [1, 2] {
        std::fs::remove_file(segment(dir.path(), number)).unwrap();
    }
    assert!(kept.exists());
    let texts = all(Cursor::oldest(dir.path().to_owned()), &LogOptions::default());
    assert_eq!(texts.len(), 2);
    assert!(texts[0].starts_with("21 bytes of output were dropped"), "{texts:?}");
    assert_eq!(texts[1], "kept");
}
