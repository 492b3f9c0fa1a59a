//! The resolver a container sees at 127.0.0.11: names of its own networks from memory, everything
//! else forwarded. Called by the agent, which opens the sockets inside the container's namespace
//! and hands them over.
//!
//! It does not decide which names exist: the agent builds a [`Zone`] per network from the
//! assignments and puts it into the [`Directory`]. It opens no namespace.
//!
//! - [`zone`]: the names of one network.
//! - [`directory`]: the zones of this node, swapped as a whole.
//! - [`lookup`](mod@lookup): what a name means in a list of zones; pure.
//! - [`answer`]: from a query's bytes to a reply's bytes; pure.
//! - [`forward`]: queries nobody here can answer, sent upstream.
//! - [`cache`]: what upstream said, as long as it holds; pure.
//! - [`serve`](mod@serve): the sockets.
#![forbid(unsafe_code)]

pub mod answer;
pub mod cache;
pub mod directory;
pub mod forward;
pub mod lookup;
mod message;
pub mod serve;
pub mod zone;

pub use cache::Cache;
pub use directory::Directory;
pub use lookup::{Answer, lookup};
pub use serve::{Scope, ServeError, serve};
pub use zone::Zone;
