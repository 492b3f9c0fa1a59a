//! Keys and answers from the person at the terminal, or from whatever is on standard input. For the
//! verbs that run without a daemon.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// A key: from `file` if one is named, else one line without echo.
pub fn key(what: &str, file: Option<&Path>) -> Result<Zeroizing<String>> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file);
        return text.map(Zeroizing::new).with_context(|| format!("cannot read {}", file.display()));
    }
    let terminal = io::stdin().is_terminal();
    let line = match terminal {
        true => {
            write!(io::stderr(), "{what}: ")?;
            unseen_line()?
        }
        false => line()?,
    };
    if line.trim().is_empty() {
        bail!("the {what} is needed: give it with --key-file or on standard input");
    }
    Ok(line)
}

/// Whether the person agrees; without a person there is nobody to ask.
pub fn agreed(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("nobody is here to be asked: look at it with --dry-run, then give --yes");
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    Ok(matches!(line()?.trim(), "y" | "Y" | "yes"))
}

fn line() -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut line)?;
    Ok(line)
}

fn unseen_line() -> Result<Zeroizing<String>> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent)?;
    let read = line();
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &before)?;
    writeln!(io::stderr())?;
    Ok(read?)
}
