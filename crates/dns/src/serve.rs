//! The sockets of one container's resolver: a UDP loop and a TCP acceptor until cancelled. The
//! caller has bound them to 127.0.0.11:53 inside the container's namespace; the loops run wherever
//! the runtime runs. Answers from memory are sent from the receive loop itself, forwarded queries
//! wait in tasks of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::{Transport, Verdict, answer, refusal};
use crate::cache::Cache;
use crate::directory::Directory;
use crate::forward::{forward, read_message, write_message};

/// Forwarded queries of one container in flight; more are refused, which a libc takes as "try the
/// next server" and not as "no such name". Bounds sockets and memory (64 KiB each).
const MAX_FORWARDS: usize = 128;

/// TCP connections of one container; more wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 32;

/// How long a TCP client may say nothing, or take to accept a reply.
const TCP_IDLE: Duration = Duration::from_secs(10);

/// Pause after a failed receive or accept (no descriptors, no memory), so that it cannot spin.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// Consecutive failures after which the socket is given up as broken: two seconds' worth.
const MAX_ERRORS: u32 = 100;

/// Largest query over UDP that is read; longer ones are cut and then refused as malformed.
const MAX_QUERY: usize = 4096;

/// What one container may see.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Ids of its networks; the first one that knows a name answers it.
    pub networks: Vec<String>,
    /// The container's `ndots` resolver option, see [`answer`].
    pub ndots: u8,
    /// Resolvers for names that are not ours, in order. None: such queries fail (`SERVFAIL`).
    pub upstreams: Arc<[SocketAddr]>,
    /// All its networks are internal: nothing is forwarded, whatever the upstreams.
    pub internal: bool,
}

/// Why a resolver ended before it was cancelled. The container has no DNS any more: the caller
/// opens the sockets again and serves anew.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The sockets handed over cannot be used on the runtime.
    #[error("cannot use the resolver's {socket} socket")]
    Setup { socket: &'static str, source: std::io::Error },
    /// Receiving or accepting kept failing.
    #[error("the resolver's {socket} socket keeps failing")]
    Broken { socket: &'static str, source: std::io::Error },
}

struct Resolver {
    scope: Scope,
    directory: Directory,
    cache: Cache,
    forwards: Semaphore,
}

/// Serves one container until `cancel`. Must be called on a tokio runtime with I/O and time.
/// Returns when every query in progress has ended or been dropped.
pub async fn serve(
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
    scope: Scope,
    directory: Directory,
    cache: Cache,
    cancel: CancellationToken,
) -> Result<(), ServeError> {
    let udp = Arc::new(on_runtime("UDP", udp, |s| s.set_nonblocking(true), UdpSocket::from_std)?);
    let tcp = on_runtime("TCP", tcp, |s| s.set_nonblocking(true), TcpListener::from_std)?;
    let resolver =
        Arc::new(Resolver { scope, directory, cache, forwards: Semaphore::new(MAX_FORWARDS) });
    // A child, so that one loop's failure ends the queries of the other too; the guard, so that a
    // dropped future leaves none behind.
    let cancel = cancel.child_token();
    let _guard = cancel.clone().drop_guard();
    let tasks = TaskTracker::new();
    let result = tokio::select! {
        () = cancel.cancelled() => Ok(()),
        result = udp_loop(&udp, &resolver, &tasks, &cancel) => result,
        result = tcp_loop(&tcp, &resolver, &tasks, &cancel) => result,
    };
    cancel.cancel();
    tasks.close();
    tasks.wait().await;
    result
}

fn on_runtime<S, T>(
    socket: &'static str,
    std: S,
    set_nonblocking: impl FnOnce(&S) -> std::io::Result<()>,
    register: impl FnOnce(S) -> std::io::Result<T>,
) -> Result<T, ServeError> {
    set_nonblocking(&std)
        .and_then(|()| register(std))
        .map_err(|source| ServeError::Setup { socket, source })
}

impl Resolver {
    fn answer(&self, query: &[u8], transport: Transport) -> Verdict {
        let zones = self.directory.zones(&self.scope.networks);
        answer(query, transport, &zones, self.scope.ndots, &mut rand::rng())
    }

    async fn forward(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        if self.scope.internal {
            return forward(query, transport, &[]).await;
        }
        let upstreams = &self.scope.upstreams;
        if let Some(kept) = self.cache.get(upstreams, transport, query, Instant::now()) {
            return Some(kept);
        }
        let Ok(_permit) = self.forwards.try_acquire() else {
            return refusal(query, ResponseCode::Refused);
        };
        let reply = forward(query, transport, upstreams).await?;
        self.cache.put(upstreams, transport, query, &reply, Instant::now());
        Some(reply)
    }
}

async fn udp_loop(
    socket: &Arc<UdpSocket>,
    resolver: &Arc<Resolver>,
    tasks: &TaskTracker,
    cancel: &CancellationToken,
) -> Result<(), ServeError> {
    let mut buffer = vec![0; MAX_QUERY];
    let mut errors = 0;
    loop {
        let (size, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(source) => {
                pause_or_give_up("UDP", &mut errors, source).await?;
                continue;
            }
        };
        errors = 0;
        let query = &buffer[..size];
        match resolver.answer(query, Transport::Udp) {
            Verdict::Drop => {}
            Verdict::Reply(reply) => send(socket, &reply, client).await,
            Verdict::Forward => {
                let (socket, resolver, query) =
                    (Arc::clone(socket), Arc::clone(resolver), query.to_vec());
                tasks.spawn(cancel.clone().run_until_cancelled_owned(async move {
                    if let Some(reply) = resolver.forward(&query, Transport::Udp).await {
                        send(&socket, &reply, client).await;
                    }
                }));
            }
        }
    }
}

/// A lost reply is the client's to ask again, as with every datagram.
async fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(reply, client).await {
        tracing::debug!(%client, %error, "resolver could not send a reply");
    }
}

async fn tcp_loop(
    listener: &TcpListener,
    resolver: &Arc<Resolver>,
    tasks: &TaskTracker,
    cancel: &CancellationToken,
) -> Result<(), ServeError> {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut errors = 0;
    loop {
        // The semaphore is never closed, so waiting for a slot cannot fail.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(source) => {
                pause_or_give_up("TCP", &mut errors, source).await?;
                continue;
            }
        };
        errors = 0;
        let resolver = Arc::clone(resolver);
        tasks.spawn(cancel.clone().run_until_cancelled_owned(async move {
            let _slot = slot;
            if let Err(error) = converse(stream, &resolver).await {
                tracing::debug!(%error, "resolver's TCP client ended");
            }
        }));
    }
}

/// Query after query on one connection, until the client closes it or says nothing for too long.
async fn converse(mut stream: TcpStream, resolver: &Resolver) -> std::io::Result<()> {
    loop {
        let Ok(query) = tokio::time::timeout(TCP_IDLE, read_message(&mut stream)).await else {
            return Ok(());
        };
        let query = query?;
        let reply = match resolver.answer(&query, Transport::Tcp) {
            Verdict::Drop => return Ok(()),
            Verdict::Reply(reply) => Some(reply),
            Verdict::Forward => resolver.forward(&query, Transport::Tcp).await,
        };
        let Some(reply) = reply else { return Ok(()) };
        match tokio::time::timeout(TCP_IDLE, write_message(&mut stream, &reply)).await {
            Ok(written) => written?,
            Err(_) => return Ok(()),
        }
    }
}

async fn pause_or_give_up(
    socket: &'static str,
    errors: &mut u32,
    source: std::io::Error,
) -> Result<(), ServeError> {
    *errors += 1;
    if *errors >= MAX_ERRORS {
        return Err(ServeError::Broken { socket, source });
    }
    tokio::time::sleep(ERROR_PAUSE).await;
    Ok(())
}

#[cfg(test)]
mod tests;
