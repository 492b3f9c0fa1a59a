//! Replies as upstream servers give them; the time is the test's.

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record};

use super::*;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn query(id: u16, of: &str) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name(of), RecordType::A));
    message.to_vec().unwrap()
}

fn reply(query: &[u8], code: ResponseCode, records: Vec<Record>, soa: Option<Record>) -> Vec<u8> {
    let mut reply = Message::from_vec(query).unwrap().into_response();
    reply.metadata.response_code = code;
    reply.answers = records;
    reply.authorities = soa.into_iter().collect();
    reply.to_vec().unwrap()
}

fn address(ttl: u32) -> Record {
    Record::from_rdata(name("example.com."), ttl, RData::A(A::new(192, 0, 2, 1)))
}

fn soa(ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(name("ns.example.com."), name("hm.example.com."), 1, 2, 3, 4, minimum);
    Record::from_rdata(name("com."), ttl, RData::SOA(soa))
}

struct Bench {
    cache: Cache,
    upstreams: Arc<[SocketAddr]>,
    start: Instant,
}

impl Bench {
    fn new() -> Self {
        let upstreams = Arc::from(["192.0.2.53:53".parse().unwrap()]);
        Self { cache: Cache::default(), upstreams, start: Instant::now() }
    }

    fn put(&self, query: &[u8], reply: &[u8]) {
        self.cache.put(&self.upstreams, Transport::Udp, query, reply, self.start);
    }

    fn get(&self, query: &[u8], seconds: u64) -> Option<Message> {
        let now = self.start + Duration::from_secs(seconds);
        let reply = self.cache.get(&self.upstreams, Transport::Udp, query, now)?;
        Some(Message::from_vec(&reply).unwrap())
    }
}

#[test]
fn a_reply_is_given_again_under_the_new_id_in_the_new_case_and_younger_until_it_has_expired() {
    let bench = Bench::new();
    let asked = query(1, "Example.com.");
    bench.put(&asked, &reply(&asked, ResponseCode::NoError, vec![address(60), address(30)], None));
    let again = bench.get(&query(2, "eXample.com."), 10).unwrap();
    assert_eq!(again.metadata.id, 2);
    assert_eq!(again.queries[0].name().to_ascii(), "eXample.com.");
    assert_eq!(again.answers.iter().map(|r| r.ttl).collect::<Vec<_>>(), [50, 20]);
    assert!(bench.get(&asked, 29).is_some());
    assert!(bench.get(&asked, 30).is_none());
}

#[test]
fn a_name_that_is_not_there_is_believed_as_long_as_its_zone_says() {
    let bench = Bench::new();
    let asked = query(1, "no.example.com.");
    bench.put(&asked, &reply(&asked, ResponseCode::NXDomain, Vec::new(), Some(soa(900, 20))));
    let again = bench.get(&asked, 19).unwrap();
    assert_eq!(again.metadata.response_code, ResponseCode::NXDomain);
    assert!(bench.get(&asked, 20).is_none());
    let silent = query(1, "silent.example.com.");
    bench.put(&silent, &reply(&silent, ResponseCode::NXDomain, Vec::new(), None));
    assert!(bench.get(&silent, 0).is_none(), "nothing says how long");
}

#[test]
fn failures_cut_replies_and_other_questions_are_not_kept() {
    let bench = Bench::new();
    let asked = query(1, "example.com.");
    bench.put(&asked, &reply(&asked, ResponseCode::ServFail, vec![address(60)], None));
    assert!(bench.get(&asked, 0).is_none());
    let mut cut = reply(&asked, ResponseCode::NoError, vec![address(60)], None);
    cut[2] |= TRUNCATED_BIT;
    bench.put(&asked, &cut);
    assert!(bench.get(&asked, 0).is_none());
    let other = query(1, "example.org.");
    bench.put(&asked, &reply(&other, ResponseCode::NoError, vec![address(60)], None));
    assert!(bench.get(&asked, 0).is_none());
    bench.put(&asked, &reply(&asked, ResponseCode::NoError, vec![address(0)], None));
    assert!(bench.get(&asked, 0).is_none(), "not to be kept at all");
    for broken in [&b""[..], &[0; 12], &asked[..20]] {
        bench.put(&asked, broken);
        bench.put(broken, &asked);
        assert!(bench.get(broken, 0).is_none());
    }
}

#[test]
fn other_servers_and_the_other_transport_have_replies_of_their_own() {
    let bench = Bench::new();
    let asked = query(1, "example.com.");
    bench.put(&asked, &reply(&asked, ResponseCode::NoError, vec![address(60)], None));
    let tcp = bench.cache.get(&bench.upstreams, Transport::Tcp, &asked, bench.start);
    assert!(tcp.is_none());
    let others: Arc<[SocketAddr]> = Arc::from(["192.0.2.54:53".parse().unwrap()]);
    assert!(bench.cache.get(&others, Transport::Udp, &asked, bench.start).is_none());
}

#[test]
fn nothing_is_believed_for_longer_than_the_bound_and_the_oldest_make_room() {
    let bench = Bench::new();
    let asked = query(1, "example.com.");
    bench.put(&asked, &reply(&asked, ResponseCode::NoError, vec![address(86_400)], None));
    assert!(bench.get(&asked, 299).is_some());
    assert!(bench.get(&asked, 300).is_none());
    for n in 0..MAX_ENTRIES {
        let asked = query(1, &format!("n{n}.example.com."));
        bench.put(&asked, &reply(&asked, ResponseCode::NoError, vec![address(60)], None));
    }
    assert!(bench.get(&asked, 0).is_none(), "it was the oldest");
    assert!(bench.get(&query(1, "n0.example.com."), 0).is_some());
    assert_eq!(bench.cache.table().entries.len(), MAX_ENTRIES);
    assert_eq!(bench.cache.table().order.len(), MAX_ENTRIES);
}
