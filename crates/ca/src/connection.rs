//! Accepted connections as tonic serves them: the caller travels with each request as its connection info. A connection
//! whose caller is refused while it is open ends as if the line had been cut.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::register::Entry;
use crate::{CaError, Caller, Credentials, caller_of};

/// A client that does not finish its handshake by then is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A TLS connection whose caller is known.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
    entry: Entry,
}

impl Connection {
    /// Does the server's side of the handshake on `tcp`.
    pub async fn accept(credentials: &Credentials, tcp: TcpStream) -> Result<Self, CaError> {
        let acceptor = TlsAcceptor::from(credentials.server_tls()?);
        let handshake = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await;
        let stream = handshake
            .map_err(|_| CaError::Handshake("timed out".into()))?
            .map_err(|e| CaError::Handshake(e.to_string()))?;
        let certificates = stream.get_ref().1.peer_certificates();
        let caller = caller_of(certificates, &credentials.identity().cluster_id)?;
        let chain = certificates.unwrap_or_default().iter().map(|c| c.clone().into_owned());
        let entry = credentials.register().enter(caller.clone(), chain.collect());
        Ok(Self { stream, caller, entry })
    }

    /// What reading and writing have come to, once the connection was ended from this side.
    fn ended(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
        let ended = self.entry.poll_ended(cx).is_ready();
        ended.then(|| io::Error::new(io::ErrorKind::ConnectionAborted, "the caller is refused"))
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

/// A connection over the local socket; the socket's file mode says who may open it.
pub struct LocalConnection(pub UnixStream);

impl Connected for LocalConnection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller::Local
    }
}

macro_rules! delegate_io {
    ($type:ident, $field:tt $(, $ended:ident)?) => {
        impl AsyncRead for $type {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                $(if let Some(error) = self.$ended(cx) {
                    return Poll::Ready(Err(error));
                })?
                Pin::new(&mut self.$field).poll_read(cx, buf)
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                $(if let Some(error) = self.$ended(cx) {
                    return Poll::Ready(Err(error));
                })?
                Pin::new(&mut self.$field).poll_write(cx, buf)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$field).poll_flush(cx)
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$field).poll_shutdown(cx)
            }
        }
    };
}

delegate_io!(Connection, stream, ended);
delegate_io!(LocalConnection, 0);
