//! The node's two doors: mTLS for other nodes, a unix socket for root on this host.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use swarm_ca::{Connection, Credentials, LocalConnection};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;

use crate::front::Front;

/// Handshakes that are done and wait to be served.
const ACCEPTED_QUEUE: usize = 64;
/// Handshakes under way: more than a cluster's nodes coming back at once, few enough to bound a flood.
const HANDSHAKES_MAX: usize = 512;
/// A dead line is noticed within seconds, so that streams to cut-off nodes end.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(4);
/// After an error of accept (out of descriptors) the next try waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Calls end by then when the daemon stops.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves `front` on the mTLS port until cancelled.
pub async fn serve_tls(
    listener: TcpListener,
    credentials: Credentials,
    front: Front,
    cancel: CancellationToken,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel::<io::Result<Connection>>(ACCEPTED_QUEUE);
    let accepting = accept_tls(listener, credentials, sender, cancel.clone());
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .serve_with_incoming_shutdown(
            front,
            ReceiverStream::new(receiver),
            cancel.clone().cancelled_owned(),
        );
    let drained = async {
        cancel.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ((), served) = async { tokio::join!(accepting, serving) } => {
            served.map_err(io::Error::other)
        }
        () = drained => Ok(()),
    }
}

async fn accept_tls(
    listener: TcpListener,
    credentials: Credentials,
    sender: mpsc::Sender<io::Result<Connection>>,
    cancel: CancellationToken,
) {
    let handshakes = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (tcp, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if handshakes.len() >= HANDSHAKES_MAX {
            // Dropped: the client tries again.
            continue;
        }
        let (credentials, sender) = (credentials.clone(), sender.clone());
        handshakes.spawn(async move {
            let _ = tcp.set_nodelay(true);
            match Connection::accept(&credentials, tcp).await {
                // A closed channel means that the server has ended.
                Ok(connection) => drop(sender.send(Ok(connection)).await),
                Err(error) => tracing::debug!(%remote, %error, "refuse connection"),
            }
        });
    }
}

/// The path in `unix:///path`.
pub fn socket_path(host: &str) -> Result<PathBuf, String> {
    match host.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(format!("invalid host \"{host}\": want unix:///PATH")),
    }
}

/// Binds the local socket: what a killed daemon left is replaced, a living one's is not.
pub async fn bind_local(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        let text = format!("another daemon is listening on {}", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Serves `front` on the local socket until cancelled.
pub async fn serve_local(
    listener: UnixListener,
    front: Front,
    cancel: CancellationToken,
) -> io::Result<()> {
    let incoming = futures::stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| LocalConnection(stream));
        Some((accepted, listener))
    });
    let serving = Server::builder().serve_with_incoming_shutdown(
        front,
        incoming,
        cancel.clone().cancelled_owned(),
    );
    let drained = async {
        cancel.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving => served.map_err(io::Error::other),
        () = drained => Ok(()),
    }
}
