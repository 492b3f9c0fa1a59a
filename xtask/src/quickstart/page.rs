//! One page over HTTP, without a client to install. Called by `quickstart` only.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A stack that just became healthy answers at once; a busy machine may take a moment.
const PATIENCE: Duration = Duration::from_secs(15);
const PER_ATTEMPT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);
/// More than any page of the demo.
const LONGEST: u64 = 1 << 20;

/// The body of `GET /`; tries again until it is there or patience ends.
pub fn fetch(address: &str, port: u16) -> Result<String> {
    let peer: SocketAddr = format!("{address}:{port}").parse().context("read the address")?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt(peer) {
            Ok(body) => return Ok(body),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn attempt(peer: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&peer, PER_ATTEMPT)?;
    stream.set_read_timeout(Some(PER_ATTEMPT))?;
    stream.write_all(format!("GET / HTTP/1.0\r\nHost: {peer}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    match stream.take(LONGEST).read_to_end(&mut answer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => bail!("no answer in time"),
        other => other.context("read the answer")?,
    };
    body(&String::from_utf8_lossy(&answer))
}

fn body(answer: &str) -> Result<String> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split_whitespace().nth(1) != Some("200") {
        bail!("the answer is {status}");
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_answer_is_a_page() {
        assert_eq!(body("HTTP/1.1 200 OK\r\nA: b\r\n\r\nhello\n").unwrap(), "hello\n");
        let refused = body("HTTP/1.1 502 Bad Gateway\r\n\r\n").unwrap_err();
        assert_eq!(refused.to_string(), "the answer is HTTP/1.1 502 Bad Gateway");
        assert!(body("garbage").is_err());
    }
}
