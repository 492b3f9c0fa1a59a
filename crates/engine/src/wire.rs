//! What is said on a shim's socket. The client sends one request, a line of JSON; the shim
//! answers with frames: kind (1 byte), length (4 bytes, little endian), payload. Used by the
//! engine (`engine::client`) and the shim (`shim::serve`).

use serde::{Deserialize, Serialize};

/// Longest request line accepted, in bytes: room for a long health check command.
pub const MAX_REQUEST: usize = 256 << 10;
/// Longest frame accepted, in bytes.
pub const MAX_FRAME: usize = 1 << 20;

/// What a client can ask. One request per connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    /// Lets the main process run; answered `Ok` or `Error`.
    Start,
    /// Sends a signal to the main process; answered `Ok`.
    Kill { signal: i32 },
    /// Answered `State` at once.
    State,
    /// Answered `Exit` when the container has ended.
    Wait,
    /// Runs a command; answered with `Output` frames and then `Exit`. Closing the connection
    /// kills the command.
    Exec { args: Vec<String>, env: Vec<String>, workdir: Option<String>, user: Option<String> },
}

/// Kind byte of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Done, no payload.
    Ok = 0,
    /// JSON of [`Failure`].
    Error = 1,
    /// Raw bytes of a command's output.
    Output = 2,
    /// JSON of an exit status.
    Exit = 3,
    /// JSON of [`ShimState`].
    State = 4,
}

impl Kind {
    /// The kind a byte stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Ok, Self::Error, Self::Output, Self::Exit, Self::State]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// Why a request failed; `code` is 126 or 127 when a command could not be run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    pub message: String,
    pub code: i32,
}

/// What a shim knows of its container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShimState {
    pub pid: i32,
    /// Nanoseconds since 1970, absent before the start.
    pub started_at: Option<u64>,
    /// Bytes of output dropped because the log could not be written.
    pub dropped: u64,
}

/// One frame as bytes.
pub fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5 + payload.len());
    bytes.push(kind as u8);
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A frame with a JSON payload.
pub fn json_frame<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    // These are plain structs of strings and numbers; an empty payload is an error to the reader.
    frame(kind, &serde_json::to_vec(value).unwrap_or_default())
}
