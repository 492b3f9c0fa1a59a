//! A secret from the person at the terminal, who does not see it typed, or from standard input.

use std::io::{self, BufRead, IsTerminal};

use anyhow::Result;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use crate::output;

/// One line; what is asked for is said where a person is.
pub fn secret(what: &str) -> Result<String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return line();
    }
    output::note(what);
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent)?;
    let read = line();
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &before)?;
    read
}

fn line() -> Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
