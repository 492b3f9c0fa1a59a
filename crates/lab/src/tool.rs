//! Runs the operating system's own programs: `ip`, `nft`, `nsenter`, `unshare`, `umount`. They do
//! what needs unsafe code otherwise (entering a mount namespace before exec), and a lab is made
//! rarely enough that their start does not matter.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::error::LabError;

/// Runs a command to its end with `input` on stdin and returns its stdout. A failure carries the
/// command line and what it wrote to stderr.
pub(crate) fn run(command: &mut Command, input: &str) -> Result<String, LabError> {
    let line = line_of(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| spawn_error(command, error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that fails early closes its input; its own message says more than ours would.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(LabError::system(format!("run {line}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let message = match stderr.trim() {
        "" => output.status.to_string(),
        text => text.to_owned(),
    };
    Err(LabError::Tool { command: line, message })
}

/// The error for a program that could not be started.
pub(crate) fn spawn_error(command: &Command, source: std::io::Error) -> LabError {
    let program = command.get_program().to_string_lossy().into_owned();
    if source.kind() != std::io::ErrorKind::NotFound {
        return LabError::System { action: format!("start {program}"), source };
    }
    let package = match program.as_str() {
        "ip" => "iproute2",
        "nft" => "nftables",
        _ => "util-linux",
    };
    LabError::MissingTool { program, package }
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
