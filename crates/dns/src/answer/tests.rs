//! Queries and replies as bytes, no sockets.

use std::collections::HashSet;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;

fn zones(tasks: u8) -> Vec<Arc<Zone>> {
    let mut zone = Zone::new("front");
    zone.insert("web", IpAddr::from([10, 0, 0, 2]));
    zone.insert_reverse(IpAddr::from([10, 0, 0, 2]), "web.1.abc");
    for n in 0..tasks {
        zone.insert("tasks.web", IpAddr::from([10, 0, 1, n]));
    }
    vec![Arc::new(zone)]
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(1)
}

fn ask(message: &Message, transport: Transport, tasks: u8) -> (Message, usize) {
    let bytes = message.to_vec().unwrap();
    match answer(&bytes, transport, &zones(tasks), 0, &mut rng()) {
        Verdict::Reply(reply) => (Message::from_vec(&reply).unwrap(), reply.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reply_repeats_id_and_question_and_offers_recursion() {
    let (reply, _) = ask(&query("WeB.", RecordType::A), Transport::Udp, 0);
    assert_eq!(reply.metadata.id, 77);
    assert_eq!(reply.metadata.message_type, MessageType::Response);
    assert!(reply.metadata.recursion_desired && reply.metadata.recursion_available);
    assert_eq!(reply.queries[0].name().to_ascii(), "WeB.");
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(reply.answers[0].ttl, TTL_SECONDS);
    assert_eq!(reply.answers[0].data, RData::A(A::new(10, 0, 0, 2)));
}

#[test]
fn aaaa_of_an_ipv4_name_is_no_error_and_empty() {
    let (reply, _) = ask(&query("web.", RecordType::AAAA), Transport::Udp, 0);
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert!(reply.answers.is_empty());
}

#[test]
fn an_address_is_answered_with_its_task() {
    let (reply, _) = ask(&query("2.0.0.10.in-addr.arpa.", RecordType::PTR), Transport::Udp, 0);
    assert_eq!(reply.answers[0].data.to_string(), "web.1.abc.front.");
}

#[test]
fn udp_replies_are_cut_at_the_clients_size_and_tcp_replies_are_whole() {
    let plain = query("tasks.web.", RecordType::A);
    let (reply, size) = ask(&plain, Transport::Udp, 200);
    assert!(reply.metadata.truncation && size <= 512, "{size}");
    assert!(reply.answers.len() > 20, "{}", reply.answers.len());

    let mut large = plain.clone();
    large.set_edns(Edns::new());
    large.edns.as_mut().unwrap().set_max_payload(4096);
    let (reply, size) = ask(&large, Transport::Udp, 60);
    assert!(!reply.metadata.truncation && size > 512 && size <= 1232, "{size}");
    assert_eq!(reply.answers.len(), 60);
    assert!(reply.edns.is_some());

    let (reply, _) = ask(&plain, Transport::Tcp, 200);
    assert!(!reply.metadata.truncation);
    assert_eq!(reply.answers.len(), 200);
}

#[test]
fn every_address_comes_first_sometimes() {
    let (bytes, zones, mut rng) =
        (query("tasks.web.", RecordType::A).to_vec().unwrap(), zones(5), rng());
    let mut first = HashSet::new();
    for _ in 0..100 {
        let Verdict::Reply(reply) = answer(&bytes, Transport::Udp, &zones, 0, &mut rng) else {
            panic!("not answered")
        };
        let reply = Message::from_vec(&reply).unwrap();
        assert_eq!(reply.answers.len(), 5);
        first.insert(reply.answers[0].data.to_string());
    }
    assert_eq!(first.len(), 5);
}

#[test]
fn unknown_names_are_forwarded_unless_ndots_sends_the_client_to_its_search_list() {
    let bytes = query("other.", RecordType::A).to_vec().unwrap();
    assert_eq!(answer(&bytes, Transport::Udp, &zones(0), 0, &mut rng()), Verdict::Forward);
    let Verdict::Reply(reply) = answer(&bytes, Transport::Udp, &zones(0), 1, &mut rng()) else {
        panic!("forwarded")
    };
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    let bytes = query("a.example.", RecordType::A).to_vec().unwrap();
    assert_eq!(answer(&bytes, Transport::Udp, &zones(0), 1, &mut rng()), Verdict::Forward);
}

#[test]
fn responses_and_noise_are_dropped_and_broken_queries_refused() {
    let mut response = query("web.", RecordType::A);
    response.metadata.message_type = MessageType::Response;
    let bytes = response.to_vec().unwrap();
    assert_eq!(answer(&bytes, Transport::Udp, &zones(0), 0, &mut rng()), Verdict::Drop);
    assert_eq!(answer(b"noise", Transport::Udp, &zones(0), 0, &mut rng()), Verdict::Drop);

    let mut cut = query("web.", RecordType::A).to_vec().unwrap();
    cut.truncate(15);
    let Verdict::Reply(reply) = answer(&cut, Transport::Udp, &zones(0), 0, &mut rng()) else {
        panic!("not refused")
    };
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!((reply.metadata.id, reply.metadata.response_code), (77, ResponseCode::FormErr));

    let mut update = query("web.", RecordType::A);
    update.metadata.op_code = OpCode::Update;
    let (reply, _) = ask(&update, Transport::Udp, 0);
    assert_eq!(reply.metadata.response_code, ResponseCode::NotImp);
}
