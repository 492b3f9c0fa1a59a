//! The one redis command that the demo needs, over a connection of its own.
//!
//! A new connection per visit keeps this small and shows that the service's address is balanced
//! and can move. Called by the page.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// For name lookup, connection and answer together.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of the longest answer that is read.
const MAX_ANSWER: u64 = 1024;

/// Adds one to the counter `key` on the server at `address` (`host:port`); gives its new value.
pub async fn increment(address: &str, key: &str) -> io::Result<i64> {
    let ask = async {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        stream.write_all(&command(&["INCR", key])).await?;
        let mut line = String::new();
        (&mut stream).take(MAX_ANSWER).read_line(&mut line).await?;
        parse_integer(&line)
    };
    match tokio::time::timeout(TIMEOUT, ask).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 2 s")),
    }
}

/// A command in redis's own protocol: an array of strings with their lengths.
fn command(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    text.into_bytes()
}

/// `:<number>`; an error line begins with `-`.
fn parse_integer(line: &str) -> io::Result<i64> {
    let line = line.trim_end();
    match line.strip_prefix(':').map(str::parse) {
        Some(Ok(number)) => Ok(number),
        _ if line.is_empty() => {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"))
        }
        _ => Err(io::Error::other(format!("unexpected answer \"{line}\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_states_the_length_of_each_word() {
        assert_eq!(command(&["INCR", "hits"]), b"*2\r\n$4\r\nINCR\r\n$4\r\nhits\r\n");
    }

    #[test]
    fn only_an_integer_is_an_answer() {
        assert_eq!(parse_integer(":42\r\n").unwrap(), 42);
        let error = parse_integer("-ERR wrong\r\n").unwrap_err();
        assert_eq!(error.to_string(), "unexpected answer \"-ERR wrong\"");
        assert_eq!(parse_integer("").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
