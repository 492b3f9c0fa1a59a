//! The way between the daemon and this process: a unix socket in a folder of root's, a request and
//! an answer at a time, each a length and JSON. A file descriptor may come with a request.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::process::{Core, spawn};
use crate::wanted::{Request, Status};

/// Name of the socket in its folder.
const SOCKET: &str = "control.sock";
/// A message is no larger than this: a million endpoints.
const MESSAGE_MAX: u32 = 64 << 20;
/// An answer takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the listener looks whether the process was told to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The daemon's end.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the process that serves `dir`.
    pub fn connect(dir: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket(dir))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Says something, with a file if it wants one, and waits for the answer.
    pub fn ask(&mut self, request: &Request, file: Option<BorrowedFd<'_>>) -> io::Result<Status> {
        write(&mut self.stream, request, file)?;
        Ok(read(&mut self.stream)?.0)
    }

    /// Says nothing and waits until the process hangs up, which it does when it ends.
    pub fn wait_end(&mut self) {
        // Without a limit of time, or with one: whatever else comes is no end.
        let _ = self.stream.set_read_timeout(None);
        let mut byte = [0];
        while let Err(error) = self.stream.read_exact(&mut byte) {
            if error.kind() != io::ErrorKind::Interrupted {
                return;
            }
        }
    }
}

/// The listening end, for root only.
pub(crate) fn listen(dir: &Path) -> io::Result<UnixListener> {
    let path = socket(dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers until somebody says stop.
pub(crate) fn serve(listener: &UnixListener, core: &Arc<Core>) -> io::Result<()> {
    while !core.is_ended() {
        match listener.accept() {
            Ok((stream, _)) => {
                let core = core.clone();
                spawn("control", move || converse(stream, &core))?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(ACCEPT_PAUSE);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn converse(mut stream: UnixStream, core: &Arc<Core>) {
    let talk = || -> io::Result<()> {
        stream.set_nonblocking(false)?;
        loop {
            let (request, file) = read::<Request>(&mut stream)?;
            let answer = core.carry_out(request, file);
            write(&mut stream, &answer, None)?;
            if core.is_ended() {
                return Ok(());
            }
        }
    };
    // The daemon hangs up when it ends: that is the usual end of a conversation.
    let mut talk = talk;
    if let Err(error) = talk()
        && error.kind() != io::ErrorKind::UnexpectedEof
    {
        tracing::warn!(%error, "the daemon was not understood");
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join(SOCKET)
}

/// The file goes with the length, which is always read first.
fn write(
    stream: &mut UnixStream,
    message: &impl Serialize,
    file: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let body = Zeroizing::new(serde_json::to_vec(message)?);
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= MESSAGE_MAX);
    let length = length.ok_or(io::ErrorKind::FileTooLarge)?.to_be_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files: Vec<BorrowedFd<'_>> = file.into_iter().collect();
    if !files.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&files));
    }
    let sent = sendmsg(&*stream, &[IoSlice::new(&length)], &mut control, SendFlags::NOSIGNAL)?;
    stream.write_all(&length[sent..])?;
    stream.write_all(&body)
}

fn read<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<(T, Option<OwnedFd>)> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut length)];
    let received = recvmsg(&*stream, parts, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    if received == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut file = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            file = files.last();
        }
    }
    stream.read_exact(&mut length[received..])?;
    let length = u32::from_be_bytes(length);
    if length > MESSAGE_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut body = Zeroizing::new(vec![0; length as usize]);
    stream.read_exact(&mut body)?;
    Ok((serde_json::from_slice(&body)?, file))
}
