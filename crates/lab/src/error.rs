//! What can go wrong with a lab, by what the caller can do about it.

use std::path::{Path, PathBuf};

/// Errors of every lab operation. Messages are complete sentences for a user's terminal.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// An option, name or request that can never work; say it differently.
    #[error("{0}")]
    Invalid(String),
    /// No lab of this name.
    #[error("there is no lab named {0:?}")]
    NoSuchLab(String),
    /// The lab has no such host.
    #[error("lab {lab:?} has no host {host:?} (its hosts: {known})")]
    NoSuchHost { lab: String, host: String, known: String },
    /// A folder that is not a lab's, or a damaged record. `down` still removes it.
    #[error("the record of the lab in {} cannot be read: {reason}", path.display())]
    Record { path: PathBuf, reason: String },
    /// Namespaces and links need root.
    #[error("a lab needs root: it makes namespaces, links and mounts")]
    NotRoot,
    /// A program of the operating system is missing.
    #[error("the program {program:?} is missing: install the package {package}")]
    MissingTool { program: String, package: &'static str },
    /// A program of the operating system failed.
    #[error("{command} failed: {message}")]
    Tool { command: String, message: String },
    /// A file, mount or process operation failed.
    #[error("cannot {action}: {source}")]
    System { action: String, source: std::io::Error },
    /// `swarmd` is not running where it has to be.
    #[error("swarmd of host {host} is not running; its log ({}) ends with:\n{tail}", log.display())]
    Died { host: String, log: PathBuf, tail: String },
    /// Something took longer than it may.
    #[error("{what} within {seconds} s")]
    Timeout { what: String, seconds: u64 },
    /// The lab could only be taken down in part; repeating it is safe.
    #[error("parts of lab {lab:?} are still there:\n{}", remains.join("\n"))]
    Remains { lab: String, remains: Vec<String> },
}

impl LabError {
    /// For `map_err` on an operation of the system: `cannot <action>: <source>`.
    pub(crate) fn system<E: Into<std::io::Error>>(
        action: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |source| Self::System { action, source: source.into() }
    }

    /// The same for an operation on a path.
    pub(crate) fn on_path<E: Into<std::io::Error>>(
        verb: &str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        Self::system(format!("{verb} {}", path.display()))
    }
}
