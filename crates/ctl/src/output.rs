//! The two streams of the process. Results go to stdout, everything about them to stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// One line of result.
pub fn line(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Result text as it is.
pub fn raw(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

/// One line for the person in front, never part of the result. If nobody can read it, nothing is
/// lost.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether stdout is a terminal that can be drawn on.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}
