//! The reading side of a log: whole segments from the oldest, or from the last so many lines,
//! then on across rotations for as long as the container runs. Lines go through a bounded
//! channel, so a slow reader holds back only itself. Called by the engine's `logs`.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use super::{HEADER, LogLine, LogOptions, MAX_DATA, TRAILER, decode_header, segment, segments};

/// Lines read ahead of a slow reader; a line is at most 16 KiB, so 4 MiB at worst.
const AHEAD: usize = 256;
/// A follower looks again after this time even when the kernel reported nothing.
const RECHECK: Duration = Duration::from_secs(2);

type Line = io::Result<LogLine>;

/// Starts reading; must be called on a tokio runtime. `ended` turns true once the container has
/// ended and its log is complete. Reading stops when the receiver is dropped.
pub fn read(dir: PathBuf, options: LogOptions, ended: watch::Receiver<bool>) -> Lines {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        if let Err(error) = pump(dir, options, ended, &sender).await {
            // The receiver may be gone; then nobody wants to know.
            let _ = sender.send(Err(error)).await;
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

/// The lines of one reader.
pub type Lines = tokio_stream::wrappers::ReceiverStream<Line>;

async fn pump(
    dir: PathBuf,
    options: LogOptions,
    mut ended: watch::Receiver<bool>,
    sender: &mpsc::Sender<Line>,
) -> io::Result<()> {
    let watcher = if options.follow { Some(Watcher::new(&dir)?) } else { None };
    let mut cursor = start(&dir, &options).await?;
    loop {
        // Read before the check: what was written before the end is then surely seen.
        let done = *ended.borrow() || !options.follow;
        loop {
            let (next, lines, more) = tokio::task::spawn_blocking(move || {
                let mut cursor = cursor;
                let (lines, more) = cursor.batch(&options)?;
                Ok::<_, io::Error>((cursor, lines, more))
            })
            .await
            .map_err(io::Error::other)??;
            cursor = next;
            for line in lines {
                if sender.send(Ok(line)).await.is_err() {
                    return Ok(());
                }
            }
            if !more {
                break;
            }
        }
        let Some(watcher) = watcher.as_ref().filter(|_| !done) else { return Ok(()) };
        tokio::select! {
            changed = watcher.changed() => changed?,
            // An error means that the container was removed.
            result = ended.wait_for(|ended| *ended) => if result.is_err() { return Ok(()) },
            () = sender.closed() => return Ok(()),
            () = tokio::time::sleep(RECHECK) => {}
        }
    }
}

async fn start(dir: &Path, options: &LogOptions) -> io::Result<Cursor> {
    let dir = dir.to_owned();
    let options = *options;
    tokio::task::spawn_blocking(move || match options.tail {
        Some(lines) => Cursor::before_end(dir, lines, &options),
        None => Ok(Cursor::oldest(dir)),
    })
    .await
    .map_err(io::Error::other)?
}

/// A place in the log.
pub(super) struct Cursor {
    dir: PathBuf,
    number: u64,
    offset: u64,
}

impl Cursor {
    pub(super) fn oldest(dir: PathBuf) -> Self {
        let number = segments(&dir).first().copied().unwrap_or(1);
        Self { dir, number, offset: 0 }
    }

    /// The place `lines` wanted lines before the end, found by walking backwards.
    pub(super) fn before_end(dir: PathBuf, lines: u64, options: &LogOptions) -> io::Result<Self> {
        let numbers = segments(&dir);
        let mut place = (numbers.last().copied().unwrap_or(1), 0);
        let mut left = lines;
        for (index, number) in numbers.iter().rev().enumerate() {
            let mut file = match File::open(segment(&dir, *number)) {
                Ok(file) => file,
                Err(_) => break,
            };
            let mut end = file.metadata()?.len();
            if index == 0 {
                place = (*number, end);
            }
            while end > 0 && left > 0 {
                let Some((begin, wanted)) = record_before(&mut file, end, options)? else {
                    end = 0;
                    continue;
                };
                end = begin;
                place = (*number, begin);
                left -= u64::from(wanted);
            }
            if left == 0 {
                break;
            }
        }
        Ok(Self { dir, number: place.0, offset: place.1 })
    }

    /// The next lines, at most a channelful, and whether there may be more right now.
    pub(super) fn batch(&mut self, options: &LogOptions) -> io::Result<(Vec<LogLine>, bool)> {
        let mut lines = Vec::new();
        let mut file = match File::open(segment(&self.dir, self.number)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((lines, self.next_segment()));
            }
            Err(error) => return Err(error),
        };
        // Asked before reading: a segment with a successor is never written again.
        let finished = segments(&self.dir).last().is_some_and(|last| *last > self.number);
        file.seek(SeekFrom::Start(self.offset))?;
        let mut reader = BufReader::with_capacity(64 << 10, file);
        while lines.len() < AHEAD {
            let Some((line, length)) = next_record(&mut reader)? else {
                return Ok((lines, finished && self.next_segment()));
            };
            self.offset += length;
            if options.wants(&line) {
                lines.push(line);
            }
        }
        Ok((lines, true))
    }

    fn next_segment(&mut self) -> bool {
        match segments(&self.dir).into_iter().find(|number| *number > self.number) {
            Some(number) => {
                self.number = number;
                self.offset = 0;
                true
            }
            None => false,
        }
    }
}

/// The next whole record and its length in the file; None at the end or at an unfinished one.
fn next_record(reader: &mut impl Read) -> io::Result<Option<(LogLine, u64)>> {
    let mut header = [0; HEADER];
    if !fill(reader, &mut header)? {
        return Ok(None);
    }
    let Some((time, stream, partial, length)) = decode_header(&header) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "log record is damaged"));
    };
    let mut data = vec![0; length + TRAILER];
    if !fill(reader, &mut data)? {
        return Ok(None);
    }
    data.truncate(length);
    let line = LogLine { time, stream, data: Bytes::from(data), partial };
    Ok(Some((line, (HEADER + length + TRAILER) as u64)))
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where the record that ends at `end` begins, and whether it counts as a wanted line.
fn record_before(
    file: &mut File,
    end: u64,
    options: &LogOptions,
) -> io::Result<Option<(u64, bool)>> {
    let smallest = (HEADER + TRAILER) as u64;
    if end < smallest {
        return Ok(None);
    }
    let mut length = [0; TRAILER];
    file.seek(SeekFrom::Start(end - TRAILER as u64))?;
    file.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    let Some(begin) = end.checked_sub(smallest + length as u64).filter(|_| length <= MAX_DATA)
    else {
        return Ok(None);
    };
    let mut header = [0; HEADER];
    file.seek(SeekFrom::Start(begin))?;
    file.read_exact(&mut header)?;
    let Some((time, stream, partial, _)) = decode_header(&header) else { return Ok(None) };
    let line = LogLine { time, stream, data: Bytes::new(), partial };
    Ok(Some((begin, options.wants(&line) && !partial)))
}

/// Tells when something in a directory was written or made (inotify).
struct Watcher {
    fd: AsyncFd<OwnedFd>,
}

impl Watcher {
    fn new(dir: &Path) -> io::Result<Self> {
        let path = std::ffi::CString::new(dir.as_os_str().as_bytes())?;
        // SAFETY: plain flags; the result is checked before it is owned.
        let raw = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: raw is a fresh descriptor nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        let mask = libc::IN_MODIFY | libc::IN_CREATE;
        // SAFETY: the descriptor is open and the path is a terminated string that outlives it.
        if unsafe { libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), mask) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the owned descriptor stays the same one and open for as long as it is registered.
        Ok(Self { fd: unsafe { AsyncFd::register(fd)? } })
    }

    async fn changed(&self) -> io::Result<()> {
        let mut guard = self.fd.readable().await?;
        let mut events = [0_u8; 4096];
        loop {
            // SAFETY: the buffer is valid for its length; the descriptor is open.
            let read = unsafe {
                libc::read(self.fd.as_raw_fd(), events.as_mut_ptr().cast(), events.len())
            };
            if read <= 0 {
                guard.clear_ready();
                return Ok(());
            }
        }
    }
}
