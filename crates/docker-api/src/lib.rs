//! The Docker Engine REST API on a unix socket, for clients that exist already. The only crate that knows Docker's JSON.
//!
//! Built so far: `_ping` and `version`, by which clients find out what they talk to. Every other call is refused by name.
//! Called by `node`, which binds the socket.
#![forbid(unsafe_code)]

mod route;

use std::io;

use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

pub use route::{Facts, router};

/// Serves `facts` on `listener` until cancelled.
pub async fn serve(
    listener: UnixListener,
    facts: Facts,
    cancel: CancellationToken,
) -> io::Result<()> {
    axum::serve(listener, router(facts)).with_graceful_shutdown(cancel.cancelled_owned()).await
}
