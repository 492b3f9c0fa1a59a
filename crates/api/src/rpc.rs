//! What calls there are, read from the same descriptors that the code was generated from. For who has to have a rule for
//! each of them.

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};

const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rpc {
    /// Name of its service, such as `Control`.
    pub service: String,
    /// As in a request's path: `/swarm.v1.Control/GetNode`.
    pub path: String,
}

/// All calls of all services, in the order of the files.
pub fn all() -> Vec<Rpc> {
    let mut calls = Vec::new();
    for file in files().file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                calls.push(Rpc { service: service.name().to_owned(), path });
            }
        }
    }
    calls
}

/// All messages of our own.
pub fn messages() -> Vec<DescriptorProto> {
    let own = files().file.into_iter().filter(|f| f.package().starts_with("swarm."));
    own.flat_map(|f| f.message_type).collect()
}

fn files() -> FileDescriptorSet {
    // Written by the build script from what the compiler made: a bad one would not have compiled.
    FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_all_services_are_known() {
        let calls = all();
        assert!(calls.len() > 50, "{}", calls.len());
        for path in ["/swarm.v1.Control/GetCluster", "/swarm.v1.Raft/Append"] {
            assert!(calls.iter().any(|c| c.path == path), "{path}");
        }
    }
}
