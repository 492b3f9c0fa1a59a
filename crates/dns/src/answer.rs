//! From the bytes of a query to the bytes of a reply, as far as memory can answer it. Pure:
//! randomness is passed in, nothing waits. The sockets are [`serve`](mod@crate::serve)'s, the rest
//! of the world is [`forward`](crate::forward)'s.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable, BinEncoder};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use crate::lookup::{Answer, lookup};
use crate::zone::Zone;

/// Seconds a client may keep an answer: short, so that a moved task is found soon, but long
/// enough to spare a client that asks for every request it makes.
pub const TTL_SECONDS: u32 = 5;

/// The largest UDP reply we send whatever the client offers: what fits in one frame of any
/// overlay, so that no reply is fragmented.
const MAX_UDP_PAYLOAD: u16 = 1232;

/// How the query came, which bounds the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Replies are cut at the client's EDNS size (512 without) and marked truncated.
    Udp,
    /// Replies may have 65,535 bytes.
    Tcp,
}

/// What to do with a query.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send this.
    Reply(Vec<u8>),
    /// Not ours: send the query upstream as it is.
    Forward,
    /// Not a query at all; answering would invite reflection.
    Drop,
}

/// Decides about one query from the zones alone.
///
/// `ndots` is the container's resolver option: with more than zero, a single-label name that is
/// not ours is denied instead of forwarded, and the client goes on with its search domains.
pub fn answer(
    query: &[u8],
    transport: Transport,
    zones: &[Arc<Zone>],
    ndots: u8,
    rng: &mut impl Rng,
) -> Verdict {
    let request = match Message::from_bytes(query) {
        Ok(request) if request.metadata.message_type == MessageType::Query => request,
        Ok(_) => return Verdict::Drop,
        Err(_) => {
            return refusal(query, ResponseCode::FormErr).map_or(Verdict::Drop, Verdict::Reply);
        }
    };
    let (code, records) = match resolve(&request, zones, ndots, rng) {
        Some(resolved) => resolved,
        None => return Verdict::Forward,
    };
    let limit = match transport {
        Transport::Udp => request.max_payload().min(MAX_UDP_PAYLOAD),
        Transport::Tcp => u16::MAX,
    };
    encode(&request, code, records, limit).map_or(Verdict::Drop, Verdict::Reply)
}

/// A reply without records to a query that cannot be served (`SERVFAIL`, `REFUSED`, `FORMERR`).
/// Needs nothing of the query but its header; `None` if even that is missing.
pub fn refusal(query: &[u8], code: ResponseCode) -> Option<Vec<u8>> {
    if let Ok(request) = Message::from_bytes(query) {
        return encode(&request, code, Vec::new(), u16::MAX);
    }
    let header = query.get(..HEADER_BYTES)?;
    if header[2] & RESPONSE_BIT != 0 {
        return None;
    }
    let mut reply =
        Message::error_msg(u16::from_be_bytes([header[0], header[1]]), OpCode::Query, code);
    reply.metadata.recursion_available = true;
    reply.to_vec().ok()
}

/// Bytes of a message before its question.
pub(crate) const HEADER_BYTES: usize = 12;

/// Set in the third byte of every response.
pub(crate) const RESPONSE_BIT: u8 = 0x80;

type Resolved = (ResponseCode, Vec<Record>);

fn resolve(
    request: &Message,
    zones: &[Arc<Zone>],
    ndots: u8,
    rng: &mut impl Rng,
) -> Option<Resolved> {
    if request.metadata.op_code != OpCode::Query {
        return Some((ResponseCode::NotImp, Vec::new()));
    }
    let [question] = request.queries.as_slice() else {
        return Some((ResponseCode::FormErr, Vec::new()));
    };
    if question.query_class() != DNSClass::IN {
        return None;
    }
    let name = question.name().to_ascii();
    match lookup(zones, &name, question.query_type()) {
        Answer::Unknown if ndots > 0 && is_single_label_address(question) => {
            Some((ResponseCode::NXDomain, Vec::new()))
        }
        Answer::Unknown => None,
        Answer::Empty => Some((ResponseCode::NoError, Vec::new())),
        Answer::Pointer(target) => Some((ResponseCode::NoError, pointer(question, &target))),
        Answer::Addresses(mut list) => {
            shuffle(&mut list, rng);
            let records = list.into_iter().map(|a| address(question.name(), a)).collect();
            Some((ResponseCode::NoError, records))
        }
    }
}

fn is_single_label_address(question: &Query) -> bool {
    question.name().num_labels() == 1
        && matches!(question.query_type(), RecordType::A | RecordType::AAAA)
}

/// Clients take the first address: every order equally often spreads them over the tasks.
fn shuffle(list: &mut [IpAddr], rng: &mut impl Rng) {
    match list {
        [] | [_] => {}
        [a, b] => {
            if rng.random() {
                std::mem::swap(a, b);
            }
        }
        _ => list.shuffle(rng),
    }
}

fn address(name: &Name, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    };
    Record::from_rdata(name.clone(), TTL_SECONDS, data)
}

/// Empty when the name of a task or network cannot be written as a domain name.
fn pointer(question: &Query, target: &str) -> Vec<Record> {
    let Ok(mut target) = Name::from_ascii(target) else { return Vec::new() };
    target.set_fqdn(true);
    vec![Record::from_rdata(question.name().clone(), TTL_SECONDS, RData::PTR(PTR(target)))]
}

fn encode(
    request: &Message,
    code: ResponseCode,
    records: Vec<Record>,
    limit: u16,
) -> Option<Vec<u8>> {
    let mut reply = Message::response(request.metadata.id, request.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&request.metadata);
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.queries = request.queries.clone();
    reply.answers = records;
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP_PAYLOAD);
        reply.edns = Some(edns);
    }
    let mut bytes = Vec::with_capacity(128);
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(limit);
    reply.emit(&mut encoder).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests;
