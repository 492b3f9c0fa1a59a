//! The daemon's side of a shim's socket: one connection per request.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::ExitStatus;
use crate::plan::file;
use crate::wire::{Failure, Kind, MAX_FRAME, Request, ShimState};

/// Longest socket path the kernel takes, less a little.
const MAX_PATH: usize = 100;
/// A shim that does not answer a short request within this time hangs.
const ANSWER: Duration = Duration::from_secs(30);

/// What came of a request.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The shim is not there (any more), or does not speak sense.
    #[error("its shim does not answer: {0}")]
    Lost(#[from] io::Error),
    /// The shim said no.
    #[error("{}", .0.message)]
    Refused(Failure),
}

/// One answer of a shim.
#[derive(Debug)]
pub enum Answer {
    Ok,
    Output(Vec<u8>),
    Exit(ExitStatus),
    State(ShimState),
}

/// An open request.
pub struct Call {
    stream: UnixStream,
}

impl Call {
    /// Connects to the shim of a run directory and asks.
    pub async fn open(run: &Path, request: &Request) -> Result<Self, CallError> {
        let path = run.join(file::SOCKET);
        let mut stream = if path.as_os_str().len() <= MAX_PATH {
            UnixStream::connect(&path).await?
        } else {
            let dir = std::fs::File::open(run)?;
            let short = format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), file::SOCKET);
            UnixStream::connect(short).await?
        };
        let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        Ok(Self { stream })
    }

    /// The next answer.
    pub async fn next(&mut self) -> Result<Answer, CallError> {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header).await?;
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let kind = Kind::from_byte(header[0]).filter(|_| length <= MAX_FRAME);
        let Some(kind) = kind else {
            let error = io::Error::new(io::ErrorKind::InvalidData, "unknown frame");
            return Err(error.into());
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await?;
        let json = |error: serde_json::Error| CallError::Lost(error.into());
        Ok(match kind {
            Kind::Ok => Answer::Ok,
            Kind::Output => Answer::Output(payload),
            Kind::Exit => Answer::Exit(serde_json::from_slice(&payload).map_err(json)?),
            Kind::State => Answer::State(serde_json::from_slice(&payload).map_err(json)?),
            Kind::Error => {
                return Err(CallError::Refused(serde_json::from_slice(&payload).map_err(json)?));
            }
        })
    }
}

/// Asks for something that is answered at once.
pub async fn ask(run: &Path, request: &Request) -> Result<Answer, CallError> {
    let exchange = async { Call::open(run, request).await?.next().await };
    match tokio::time::timeout(ANSWER, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}
