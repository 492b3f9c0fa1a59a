//! Where things are in the bytes of a message, for what passes through unread: the question, and
//! the records with their times to live (RFC 1035 §4.1).

use crate::answer::HEADER_BYTES;

/// Bytes of a record after its name, before its data: type, class, time to live, length.
const RECORD_HEAD: usize = 10;

/// A record's place.
pub(crate) struct Kept<'a> {
    pub(crate) kind: u16,
    /// Of the four bytes of its time to live.
    pub(crate) ttl_at: usize,
    pub(crate) rdata: &'a [u8],
}

/// The bytes of the first question: name, type and class.
pub(crate) fn question(message: &[u8]) -> Option<&[u8]> {
    if message.get(4..6)? == [0, 0] {
        return None;
    }
    let mut at = HEADER_BYTES;
    loop {
        match *message.get(at)? {
            0 => return message.get(HEADER_BYTES..at + 5),
            // Compression cannot occur in the first name of a message.
            length if length < 64 => at += usize::from(length) + 1,
            _ => return None,
        }
    }
}

/// All records after one question; `None` if the message is broken or has more questions.
pub(crate) fn records(message: &[u8]) -> Option<Vec<Kept<'_>>> {
    if message.get(4..6)? != [0, 1] {
        return None;
    }
    let mut at = HEADER_BYTES + question(message)?.len();
    let count: usize = (6..HEADER_BYTES)
        .step_by(2)
        .map(|field| usize::from(u16::from_be_bytes([message[field], message[field + 1]])))
        .sum();
    let mut records = Vec::new();
    for _ in 0..count {
        let head_at = after_name(message, at)?;
        let head = message.get(head_at..head_at + RECORD_HEAD)?;
        let length = usize::from(u16::from_be_bytes([head[8], head[9]]));
        let data_at = head_at + RECORD_HEAD;
        let rdata = message.get(data_at..data_at + length)?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        records.push(Kept { kind, ttl_at: head_at + 4, rdata });
        at = data_at + length;
    }
    Some(records)
}

fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length < 64 => at += usize::from(length) + 1,
            // The rest is elsewhere.
            length if length >= 192 => return Some(at + 2),
            _ => return None,
        }
    }
}
