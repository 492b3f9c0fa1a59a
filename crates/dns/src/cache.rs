//! Replies of upstream servers, kept as long as they say themselves (RFC 1035 §3.2.1, and RFC 2308
//! for names that do not exist), shared by the containers of a node that ask the same servers.
//!
//! Works on the bytes of messages: whatever a record holds, it comes back as it was, only younger.
//! Names of the cluster are never in here. The time is passed in. Used by [`serve`](mod@crate::serve).

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use crate::answer::{HEADER_BYTES, Transport};
use crate::message::{Kept, question, records};

/// Bounds memory to some megabytes; a node's containers rarely ask for a thousand names.
const MAX_ENTRIES: usize = 4096;
/// Longer replies are rare and not worth their room.
const MAX_REPLY: usize = 4096;
/// Nothing is believed for longer, whatever it says: what moves is found again soon.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Set in the third byte of a reply that was cut.
const TRUNCATED_BIT: u8 = 0x02;

/// What was asked of whom, and how. The query is as it came but for its id and the case of its
/// name, so that every option which shapes the reply counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    upstreams: Arc<[SocketAddr]>,
    over_tcp: bool,
    query: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    reply: Vec<u8>,
    /// Where in it times to live are, four bytes each.
    ttls: Vec<usize>,
    since: Instant,
    until: Instant,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Asked, Entry>,
    /// Oldest first; an entry that was replaced has its first place still.
    order: VecDeque<Asked>,
}

/// A shared handle; clones see the same replies.
#[derive(Debug, Clone, Default)]
pub struct Cache(Arc<Mutex<Table>>);

impl Cache {
    /// The reply to `query`, if these servers gave one that holds at `now`.
    pub fn get(
        &self,
        upstreams: &Arc<[SocketAddr]>,
        transport: Transport,
        query: &[u8],
        now: Instant,
    ) -> Option<Vec<u8>> {
        let asked = Asked::new(upstreams, transport, query)?;
        let table = self.table();
        let entry = table.entries.get(&asked).filter(|entry| now < entry.until)?;
        let mut reply = entry.reply.clone();
        let age = u32::try_from(now.duration_since(entry.since).as_secs()).unwrap_or(u32::MAX);
        for at in &entry.ttls {
            let left = read_u32(&reply, *at)?.saturating_sub(age);
            reply[*at..*at + 4].copy_from_slice(&left.to_be_bytes());
        }
        // Its own id, and its name in the client's case: some clients check that it comes back.
        reply[..2].copy_from_slice(&query[..2]);
        let name = question(query)?;
        reply[HEADER_BYTES..HEADER_BYTES + name.len()].copy_from_slice(name);
        Some(reply)
    }

    /// Keeps a reply to `query`, if it may be kept.
    pub fn put(
        &self,
        upstreams: &Arc<[SocketAddr]>,
        transport: Transport,
        query: &[u8],
        reply: &[u8],
        now: Instant,
    ) {
        let Some(asked) = Asked::new(upstreams, transport, query) else { return };
        let same = question(reply)
            .is_some_and(|theirs| question(query).is_some_and(|q| theirs.eq_ignore_ascii_case(q)));
        let Some((ttls, lasts)) = lasting(reply).filter(|_| same) else { return };
        let entry = Entry { reply: reply.to_vec(), ttls, since: now, until: now + lasts };
        self.table().insert(asked, entry, now);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Changed only by whole insertions and removals.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, asked: Asked, entry: Entry, now: Instant) {
        if self.entries.insert(asked.clone(), entry).is_some() {
            return;
        }
        self.order.push_back(asked);
        while let Some(oldest) = self.order.front() {
            let stale = self.entries.get(oldest).is_none_or(|entry| entry.until <= now);
            if !stale && self.order.len() <= MAX_ENTRIES {
                break;
            }
            self.entries.remove(oldest);
            self.order.pop_front();
        }
    }
}

impl Asked {
    /// `None` if it is not one plain question.
    fn new(upstreams: &Arc<[SocketAddr]>, transport: Transport, query: &[u8]) -> Option<Self> {
        let name = question(query)?.len();
        let mut query = query.get(2..)?.to_vec();
        query[HEADER_BYTES - 2..HEADER_BYTES - 2 + name].make_ascii_lowercase();
        let over_tcp = transport == Transport::Tcp;
        Some(Self { upstreams: Arc::clone(upstreams), over_tcp, query })
    }
}

fn read_u32(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(message.get(at..at + 4)?.try_into().ok()?))
}

/// Where a reply's times to live are, and how long it holds; `None` if it is not to be kept.
fn lasting(reply: &[u8]) -> Option<(Vec<usize>, Duration)> {
    let code = reply.get(3)? & 0x0f;
    let conclusive = code == ResponseCode::NoError.low() || code == ResponseCode::NXDomain.low();
    if !conclusive || reply.len() > MAX_REPLY || reply[2] & TRUNCATED_BIT != 0 {
        return None;
    }
    let answered = reply.get(6..8)? != [0, 0];
    let mut ttls = Vec::new();
    let mut shortest: Option<u32> = None;
    let mut denied_for: Option<u32> = None;
    for record in records(reply)? {
        let Kept { kind, ttl_at, rdata } = record;
        // Its field says other things.
        if kind == u16::from(RecordType::OPT) {
            continue;
        }
        let ttl = read_u32(reply, ttl_at)?;
        ttls.push(ttl_at);
        shortest = Some(shortest.map_or(ttl, |s| s.min(ttl)));
        if kind == u16::from(RecordType::SOA) {
            denied_for = read_u32(rdata, rdata.len().checked_sub(4)?);
        }
    }
    let seconds = match answered && code == ResponseCode::NoError.low() {
        true => shortest?,
        // Only the zone itself can say how long a name is not there.
        false => shortest?.min(denied_for?),
    };
    let lasts = Duration::from_secs(seconds.into()).min(MAX_AGE);
    (!lasts.is_zero()).then_some((ttls, lasts))
}

#[cfg(test)]
mod tests;
