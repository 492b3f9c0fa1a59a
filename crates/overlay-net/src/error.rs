//! What can go wrong on the data plane, by what the caller can do about it. Made everywhere in the
//! crate; never logged here.

use std::io;

use rtnetlink::packet_core::ErrorMessage;

/// Failure of a data-plane operation.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The request can never work as given: the text says which value and what is allowed.
    #[error("{0}")]
    Invalid(String),
    /// The request is well formed but this build does not do it.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// No table of this network was applied on this node.
    #[error("network {0} is not present on this node")]
    UnknownNetwork(String),
    /// No such container namespace on this node.
    #[error("sandbox {0} does not exist on this node")]
    UnknownSandbox(String),
    /// The network still has containers attached.
    #[error("network {network} is in use by sandbox {sandbox}")]
    NetworkInUse {
        /// Network that was to be removed.
        network: String,
        /// One of the sandboxes attached to it.
        sandbox: String,
    },
    /// A host port is held by another container or by a process of the host.
    #[error("port {port}/{protocol} wanted by {wanted_by} is already used by {holder}")]
    PortTaken {
        /// Port number on the host.
        port: u16,
        /// `tcp` or `udp`.
        protocol: &'static str,
        /// Sandbox that asked for it.
        wanted_by: String,
        /// Who has it.
        holder: String,
    },
    /// The kernel refused a link, address, route or rule; `what` names the object.
    #[error("{what}: {source}")]
    Kernel {
        /// The operation and the object, for example `add route 10.0.0.3/32`.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl NetError {
    pub(crate) fn kernel(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Kernel { what: what.into(), source: source.into() }
    }

    /// The kernel's errno, when the kernel said no.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// True when the kernel said the object is already there.
    pub(crate) fn exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// True when the kernel said the object is not there.
    pub(crate) fn absent(&self) -> bool {
        matches!(
            self.errno(),
            Some(libc::ENODEV | libc::ENOENT | libc::ESRCH | libc::EADDRNOTAVAIL)
        )
    }
}

/// Shorthand of this crate.
pub(crate) type Result<T, E = NetError> = std::result::Result<T, E>;

/// Adds the operation's name to an error of the netlink library.
pub(crate) trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for Result<T, rtnetlink::Error> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| NetError::kernel(what(), netlink_io(error)))
    }
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| NetError::kernel(what(), error))
    }
}

impl<T> Context<T> for nix::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| NetError::kernel(what(), errno))
    }
}

fn netlink_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(ErrorMessage { code: Some(code), .. }) => {
            io::Error::from_raw_os_error(code.get().abs())
        }
        other => io::Error::other(other.to_string()),
    }
}
