//! A plain HTTP GET, to lab hosts only.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Short, so that a condition that polls is looked at often.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The body behind `http://ADDRESS:PORT/`.
pub fn get(address: &str, port: u16) -> Result<String, String> {
    let target = SocketAddr::new(address.parse().map_err(|e| format!("{address}: {e}"))?, port);
    let attempt = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&target, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = attempt().map_err(|e| format!("{target}: {e}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(head.to_owned()),
    }
}
