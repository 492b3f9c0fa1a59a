//! What a compose file becomes: the specs of one stack, to be created by the CLI in the order
//! networks, secrets, configs, services.
//!
//! References stay names (`shop_back`): the manager's door resolves them to ids.

use std::path::PathBuf;

use swarm_api::{ConfigSpec, NetworkSpec, SecretSpec, ServiceSpec};

/// Label on everything that belongs to a stack; its value is the stack's name.
pub const NAMESPACE_LABEL: &str = "com.docker.stack.namespace";
/// Label on a service: the image as the file names it.
pub const IMAGE_LABEL: &str = "com.docker.stack.image";

/// Where a compose file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file; the first one's folder is what relative paths are relative to.
    File(PathBuf),
    /// Text that was read from standard input; relative to the working directory.
    Stdin(String),
}

/// A stack, ready to be deployed.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// As given to `load`.
    pub name: String,
    /// Those that some service uses, by key.
    pub networks: Vec<StackNetwork>,
    /// All of them, by key.
    pub secrets: Vec<StackSecret>,
    /// All of them, by key.
    pub configs: Vec<StackConfig>,
    /// By key.
    pub services: Vec<StackService>,
    /// What the user should know, one line each.
    pub warnings: Vec<String>,
}

/// A network of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct StackNetwork {
    /// Its key in the file.
    pub key: String,
    /// Its name in the cluster.
    pub name: String,
    /// It must exist already; then `spec` says no more than its name.
    pub external: bool,
    /// What is to be created.
    pub spec: NetworkSpec,
}

/// A secret of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct StackSecret {
    /// Its key in the file.
    pub key: String,
    /// Its name in the cluster.
    pub name: String,
    /// It must exist already; then `spec` says no more than its name.
    pub external: bool,
    /// What is to be created, with its data (which `Debug` never shows).
    pub spec: SecretSpec,
}

/// A config of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct StackConfig {
    /// Its key in the file.
    pub key: String,
    /// Its name in the cluster.
    pub name: String,
    /// It must exist already; then `spec` says no more than its name.
    pub external: bool,
    /// What is to be created, with its data.
    pub spec: ConfigSpec,
}

/// A service of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct StackService {
    /// Its key in the file.
    pub key: String,
    /// What is to be created or updated; its name is `<stack>_<key>`.
    pub spec: ServiceSpec,
}
