//! Commands as a user gives them, and what came of them.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Where the binaries under test are.
const BIN_DIR: &str = "SWARM_BIN_DIR";

/// A binary of the workspace, from `$SWARM_BIN_DIR` or beside the test itself.
pub fn binary(name: &str) -> PathBuf {
    let dir = match std::env::var_os(BIN_DIR) {
        Some(dir) => PathBuf::from(dir),
        None => {
            let test = std::env::current_exe().expect("the test's own path");
            test.ancestors().nth(2).expect("tests are in target/<profile>/deps").to_owned()
        }
    };
    let path = dir.join(name);
    assert!(path.exists(), "{} is missing: run cargo xtask test", path.display());
    path
}

/// How a command ended and what it said.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The command line.
    pub line: String,
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Runs `command` to its end, with nothing on its standard input.
    pub fn of(command: &mut Command) -> Self {
        let line = format!("{command:?}");
        let output = command.stdin(Stdio::null()).output();
        Self::from_output(line, output.expect("the command starts"))
    }

    /// From what a command left.
    pub fn from_output(line: String, output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            line,
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Its output, if it succeeded; else the test fails with all it said.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}{}", self.line, self.stdout, self.stderr);
        self.stdout.trim_end().to_owned()
    }

    /// Its one line of error, if it failed; else the test fails.
    pub fn refused(self) -> String {
        assert!(matches!(self.code, Some(code) if code != 0), "{self:#?}");
        let error = self.stderr.trim_end().to_owned();
        assert!(!error.is_empty() && !error.contains('\n'), "want one line: {self:#?}");
        error
    }
}
