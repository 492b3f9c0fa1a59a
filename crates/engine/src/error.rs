//! The engine's errors, in variants by what the caller can do about them.

use std::path::PathBuf;

/// What went wrong, named so that the task's status can show it as it stands.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The image is not in the store; pull it first.
    #[error("image not found: {0}")]
    ImageNotFound(String),
    /// No container has this id or name.
    #[error("no such container: {0}")]
    NotFound(String),
    /// The name is in use by the container with this id.
    #[error("container name {name} is already in use by container {id}")]
    AlreadyExists { name: String, id: String },
    /// A bind mount's source is missing on this node.
    #[error("bind source path does not exist: {}", .0.display())]
    BindSourceMissing(PathBuf),
    /// The container's command cannot run; `code` is 127 (not found) or 126 (not executable).
    #[error("container {container}: {message}")]
    NotExecutable { container: String, message: String, code: i32 },
    /// The specification asks for something this engine refuses or cannot read.
    #[error("invalid container {container}: {message}")]
    InvalidSpec { container: String, message: String },
    /// The operation does not fit the container's state.
    #[error("container {container} is {state}, cannot {operation}")]
    WrongState { container: String, state: &'static str, operation: &'static str },
    /// No volume has this name.
    #[error("no such volume: {0}")]
    VolumeNotFound(String),
    /// The volume is mounted by a container.
    #[error("volume {volume} is in use by container {container}")]
    VolumeInUse { volume: String, container: String },
    /// A volume name outside `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, or a driver other than local.
    #[error("invalid volume {name}: {reason}")]
    InvalidVolume { name: String, reason: String },
    /// The host's control groups cannot take containers; another parent may.
    #[error(transparent)]
    Cgroup(#[from] crate::cgroup::subtree::SubtreeError),
    /// The shim could not set the container up or does not answer.
    #[error("container {container}: {message}")]
    Shim { container: String, message: String },
    /// The image store failed.
    #[error(transparent)]
    Image(crate::image::ImageError),
    /// A file or socket of the engine failed.
    #[error("{context}: {source}")]
    Io { context: String, source: std::io::Error },
}

impl EngineError {
    /// Wraps an I/O error with what was being done.
    pub(crate) fn io(context: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source }
    }

    /// The exit code Docker gives a container that failed this way, if it has one.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::NotExecutable { code, .. } => Some(*code),
            _ => None,
        }
    }
}
