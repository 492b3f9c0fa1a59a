//! Queries that memory cannot answer, sent to the upstream servers of the container's scope in
//! order, by the transport they came in. The query goes out byte for byte with an id of our own,
//! the reply comes back byte for byte, so every record type and extension works.
//!
//! Upstream sockets are opened in the namespace of the daemon, not of the container.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::answer::{HEADER_BYTES, RESPONSE_BIT, Transport, refusal};
use crate::message::question;

/// How long one upstream may take. Two upstreams fit in the five seconds a libc waits.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);

/// Upstreams tried per query: what `/etc/resolv.conf` allows.
const MAX_UPSTREAMS: usize = 3;

/// Largest UDP message.
const MAX_DATAGRAM: usize = 65_535;

/// Asks the upstreams in order; the next one is asked on timeout, refusal and failure. The last
/// reply counts even if it is a failure; `SERVFAIL` if none replied. `None` only if the query is
/// too broken to be answered at all.
pub async fn forward(
    query: &[u8],
    transport: Transport,
    upstreams: &[SocketAddr],
) -> Option<Vec<u8>> {
    let mut last = None;
    for upstream in upstreams.iter().take(MAX_UPSTREAMS) {
        let exchange = async {
            match transport {
                Transport::Udp => over_udp(query, *upstream).await,
                Transport::Tcp => over_tcp(query, *upstream).await,
            }
        };
        match tokio::time::timeout(UPSTREAM_TIMEOUT, exchange).await {
            Ok(Ok(reply)) if !is_failure(&reply) => return Some(reply),
            Ok(Ok(reply)) => last = Some(reply),
            Ok(Err(error)) => tracing::debug!(%upstream, %error, "upstream resolver failed"),
            Err(_) => tracing::debug!(%upstream, "upstream resolver timed out"),
        }
    }
    last.or_else(|| refusal(query, ResponseCode::ServFail))
}

fn is_failure(reply: &[u8]) -> bool {
    let code = reply[3] & 0x0f;
    code == ResponseCode::ServFail.low() || code == ResponseCode::Refused.low()
}

/// A fresh random port and id per query, connected: a forged reply has to guess both.
async fn over_udp(query: &[u8], upstream: SocketAddr) -> std::io::Result<Vec<u8>> {
    let local: SocketAddr = match upstream {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(upstream).await?;
    let sent = with_id(query, rand::random());
    socket.send(&sent).await?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let size = socket.recv(&mut buffer).await?;
        if is_reply_to(&buffer[..size], &sent) {
            return Ok(with_id(&buffer[..size], id_of(query)));
        }
    }
}

async fn over_tcp(query: &[u8], upstream: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    let sent = with_id(query, rand::random());
    write_message(&mut stream, &sent).await?;
    let reply = read_message(&mut stream).await?;
    if !is_reply_to(&reply, &sent) {
        return Err(std::io::Error::other("upstream answered another question"));
    }
    Ok(with_id(&reply, id_of(query)))
}

/// Reads one length-framed message of DNS over TCP.
pub(crate) async fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let size = stream.read_u16().await?;
    let mut message = vec![0; usize::from(size)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes one length-framed message of DNS over TCP, in one segment where it fits.
pub(crate) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let size = u16::try_from(message.len())
        .map_err(|_| std::io::Error::other("message longer than 65535 bytes"))?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend_from_slice(&size.to_be_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

fn id_of(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}

fn with_id(message: &[u8], id: u16) -> Vec<u8> {
    let mut message = message.to_vec();
    message[..2].copy_from_slice(&id.to_be_bytes());
    message
}

/// A response with the same id to the same question. Servers that fail early may leave the
/// question out.
fn is_reply_to(reply: &[u8], query: &[u8]) -> bool {
    if reply.len() < HEADER_BYTES || reply[2] & RESPONSE_BIT == 0 || id_of(reply) != id_of(query) {
        return false;
    }
    match (question(reply), question(query)) {
        (Some(theirs), Some(ours)) => theirs.eq_ignore_ascii_case(ours),
        (None, _) => is_failure(reply),
        (Some(_), None) => false,
    }
}
