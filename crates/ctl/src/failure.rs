//! What goes wrong, as users read it: one clear line each, and the exit code that belongs to it.
//!
//! It does not decide what is wrong; the client and the commands do.

use std::fmt::{Display, Formatter};
use std::io;
use std::process::ExitCode;

use anyhow::{Error, Result};
use tonic::Code;

/// Exit code of a wait that the user ended with Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;
/// Exit code of a command line that makes no sense, as most tools have it.
const MISUSED: u8 = 2;

/// The daemon's answer to a request it would not do.
#[derive(Debug)]
pub struct Refused {
    /// What kind of refusal.
    pub code: Code,
    /// The daemon's words.
    pub message: String,
}

impl Display for Refused {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

impl From<tonic::Status> for Refused {
    fn from(status: tonic::Status) -> Self {
        let message = match status.message() {
            "" => format!("the daemon answered {:?} without a reason", status.code()),
            message => message.to_owned(),
        };
        Refused { code: status.code(), message }
    }
}

/// Ends the command with a code of its own and without another line: all has been said.
#[derive(Debug)]
pub struct Quiet(pub u8);

impl Display for Quiet {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}", self.0)
    }
}

impl std::error::Error for Quiet {}

/// The user ended a wait.
pub fn interrupted() -> Error {
    Quiet(INTERRUPTED).into()
}

/// Whether the daemon said that the thing does not exist.
pub fn is_not_found(error: &Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|r| r.code == Code::NotFound)
}

/// Whether the object was changed by someone else between reading and writing.
pub fn is_stale(error: &Error) -> bool {
    error
        .downcast_ref::<Refused>()
        .is_some_and(|r| r.code == Code::Aborted || r.message.contains("update out of sequence"))
}

/// Refuses a flag that the incumbent has and this cluster does not.
pub fn refuse(flag: &str, given: bool) -> Result<()> {
    match given {
        true => Err(anyhow::anyhow!("{flag} is not supported yet")),
        false => Ok(()),
    }
}

/// All errors of a command with several arguments as one, or success.
pub fn join(errors: Vec<Error>) -> Result<()> {
    if errors.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = errors.iter().map(|e| format!("{e:#}")).collect();
    Err(anyhow::anyhow!(lines.join("\n")))
}

/// Says what is wrong with the command line, in one line as any other error, and gives the exit code
/// of a wrong use. `said` is the parser's text.
pub fn misused(said: &str) -> ExitCode {
    crate::output::note(in_one_line(said));
    ExitCode::from(MISUSED)
}

/// The error and the tips for it, without the usage that follows.
fn in_one_line(said: &str) -> String {
    let paragraphs = said.split("\n\n").enumerate();
    let told = paragraphs.filter(|(at, text)| *at == 0 || text.trim_start().starts_with("tip:"));
    let words: Vec<&str> = told.flat_map(|(_, text)| text.lines().map(str::trim)).collect();
    words.join(" ").trim_end().to_owned()
}

/// Says the error on stderr and gives the exit code for it.
pub fn report(error: &Error) -> ExitCode {
    if let Some(Quiet(code)) = error.downcast_ref::<Quiet>() {
        return ExitCode::from(*code);
    }
    let reader_gone = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe);
    // `swarmctl … | head` ends quietly, as every tool does.
    if reader_gone {
        return ExitCode::SUCCESS;
    }
    for line in format!("{error:#}").lines() {
        crate::output::note(format_args!("error: {line}"));
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_several_arguments_are_all_said() {
        let joined = join(vec![anyhow::anyhow!("no a"), anyhow::anyhow!("no b")]);
        assert_eq!(joined.unwrap_err().to_string(), "no a\nno b");
        assert!(join(vec![]).is_ok());
    }

    #[test]
    fn a_wrong_use_is_said_in_one_line() {
        let said = "error: invalid value 'x'\n  [possible values: a, b]\n\nFor more, try --help\n";
        assert_eq!(in_one_line(said), "error: invalid value 'x' [possible values: a, b]");
        let said = "error: unrecognized 'nod'\n\n  tip: there is 'node'\n\nUsage: swarmctl\n";
        assert_eq!(in_one_line(said), "error: unrecognized 'nod' tip: there is 'node'");
    }

    #[test]
    fn a_changed_object_is_recognised_by_code_or_by_message() {
        let aborted = Refused { code: Code::Aborted, message: "changed".into() };
        let worded = Refused { code: Code::Unknown, message: "update out of sequence".into() };
        assert!(is_stale(&aborted.into()) && is_stale(&worded.into()));
    }
}
