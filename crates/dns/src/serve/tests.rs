//! The resolver over real sockets on loopback, with upstreams played by the test.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::*;
use crate::zone::Zone;

const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    directory: Directory,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), ServeError>>,
}

/// UDP and TCP on one random port; tried again if the TCP port happens to be taken.
fn sockets() -> (std::net::UdpSocket, std::net::TcpListener) {
    loop {
        let udp = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if let Ok(tcp) = std::net::TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

fn start(upstreams: Vec<SocketAddr>, internal: bool) -> Running {
    let (udp, tcp) = sockets();
    let address = udp.local_addr().unwrap();
    let directory = Directory::default();
    let mut zone = Zone::new("front");
    zone.insert("web", IpAddr::from([10, 0, 0, 2]));
    for n in 0..200 {
        zone.insert("tasks.web", IpAddr::from([10, 0, 1, n]));
    }
    directory.set("net1", zone);
    let scope =
        Scope { networks: vec!["net1".into()], ndots: 0, upstreams: upstreams.into(), internal };
    let cancel = CancellationToken::new();
    let task =
        tokio::spawn(serve(udp, tcp, scope, directory.clone(), Cache::default(), cancel.clone()));
    Running { address, directory, cancel, task }
}

impl Running {
    async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }
}

fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

async fn ask(address: SocketAddr, query: &[u8]) -> Message {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(address).await.unwrap();
    socket.send(query).await.unwrap();
    let mut buffer = [0; 2048];
    let size = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    Message::from_vec(&buffer[..size]).unwrap()
}

async fn ask_tcp(stream: &mut TcpStream, query: &[u8]) -> Message {
    write_message(stream, query).await.unwrap();
    let reply = tokio::time::timeout(PATIENCE, read_message(stream)).await.unwrap().unwrap();
    Message::from_vec(&reply).unwrap()
}

fn upstream_reply(query: &[u8], code: ResponseCode) -> Vec<u8> {
    let query = Message::from_vec(query).unwrap();
    let mut reply = query.clone().into_response();
    reply.metadata.response_code = code;
    if code == ResponseCode::NoError {
        let name = query.queries[0].name().clone();
        reply.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
    }
    reply.to_vec().unwrap()
}

/// An upstream that gives every query the same code, by UDP and TCP on one port.
fn upstream(code: ResponseCode) -> SocketAddr {
    let (udp, tcp) = sockets();
    let address = udp.local_addr().unwrap();
    udp.set_nonblocking(true).unwrap();
    tcp.set_nonblocking(true).unwrap();
    let (udp, tcp) = (UdpSocket::from_std(udp).unwrap(), TcpListener::from_std(tcp).unwrap());
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (size, client) = udp.recv_from(&mut buffer).await.unwrap();
            // A forged reply with another id comes first and must be ignored.
            let mut forged = upstream_reply(&buffer[..size], ResponseCode::NXDomain);
            forged[0] ^= 0xff;
            udp.send_to(&forged, client).await.unwrap();
            udp.send_to(&upstream_reply(&buffer[..size], code), client).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let query = read_message(&mut stream).await.unwrap();
            write_message(&mut stream, &upstream_reply(&query, code)).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn names_are_answered_from_memory_and_follow_the_directory() {
    let running = start(Vec::new(), false);
    let reply = ask(running.address, &query(5, "web.")).await;
    assert_eq!(reply.answers[0].data, RData::A(A::new(10, 0, 0, 2)));

    let mut zone = Zone::new("front");
    zone.insert("web", IpAddr::from([10, 0, 0, 99]));
    running.directory.set("net1", zone);
    let reply = ask(running.address, &query(6, "web.")).await;
    assert_eq!(reply.answers[0].data, RData::A(A::new(10, 0, 0, 99)));

    running.directory.remove("net1");
    let reply = ask(running.address, &query(7, "web.")).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    running.stop().await;
}

#[tokio::test]
async fn a_truncated_answer_is_whole_over_tcp_and_one_connection_takes_many_queries() {
    let running = start(vec![upstream(ResponseCode::NoError)], false);
    let cut = ask(running.address, &query(1, "tasks.web.")).await;
    assert!(cut.metadata.truncation);
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let whole = ask_tcp(&mut stream, &query(2, "tasks.web.")).await;
    assert_eq!(whole.answers.len(), 200);
    let forwarded = ask_tcp(&mut stream, &query(3, "example.org.")).await;
    assert_eq!(forwarded.answers[0].data, RData::A(A::new(192, 0, 2, 1)));
    assert_eq!(forwarded.metadata.id, 3);
    drop(stream);
    running.stop().await;
}

#[tokio::test]
async fn unknown_names_go_to_the_next_upstream_after_a_failure() {
    let upstreams = vec![
        upstream(ResponseCode::ServFail),
        upstream(ResponseCode::Refused),
        upstream(ResponseCode::NoError),
    ];
    let running = start(upstreams, false);
    let reply = ask(running.address, &query(9, "example.org.")).await;
    assert_eq!(reply.answers[0].data, RData::A(A::new(192, 0, 2, 1)));
    assert_eq!(reply.metadata.id, 9);
    running.stop().await;
}

#[tokio::test]
async fn a_silent_upstream_is_passed_over_and_a_denial_is_final() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let upstreams = vec![silent.local_addr().unwrap(), upstream(ResponseCode::NXDomain)];
    let running = start(upstreams, false);
    let reply = ask(running.address, &query(4, "nowhere.example.")).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    running.stop().await;
}

#[tokio::test]
async fn an_internal_scope_never_asks_the_world() {
    let running = start(vec![upstream(ResponseCode::NoError)], true);
    let reply = ask(running.address, &query(4, "example.org.")).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(reply.metadata.id, 4);
    running.stop().await;
}

#[tokio::test]
async fn more_forwards_than_the_bound_are_refused_and_cancel_ends_the_waiting_ones() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let running = start(vec![silent.local_addr().unwrap()], false);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(running.address).await.unwrap();
    for id in 0..=u16::try_from(MAX_FORWARDS).unwrap() {
        socket.send(&query(id, "example.org.")).await.unwrap();
    }
    let mut buffer = [0; 2048];
    let size = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    let reply = Message::from_vec(&buffer[..size]).unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    running.stop().await;
}
