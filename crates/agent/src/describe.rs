//! What a node is and has: read once from the kernel, told to the managers at each session.

use std::collections::BTreeMap;

use swarm_api::constraint::architecture;
use swarm_api::template::Context;
use swarm_api::{EngineDescription, NodeDescription, Platform, Resources, Task};

/// Billionths of a CPU.
const NANO: i64 = 1_000_000_000;

/// The facts about this node.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// As the daemon was told, or the kernel's.
    pub hostname: String,
    /// Where VXLAN traffic is received.
    pub data_path_addr: String,
    /// host:port of the mTLS listener.
    pub listen_addr: String,
    /// Labels of the engine, for `engine.labels.X` constraints.
    pub engine_labels: BTreeMap<String, String>,
    cpus: i64,
    memory_bytes: i64,
}

impl NodeFacts {
    /// Reads CPUs and memory from the kernel.
    pub fn read(
        hostname: String,
        data_path_addr: String,
        listen_addr: String,
        engine_labels: BTreeMap<String, String>,
    ) -> std::io::Result<Self> {
        let cpus = std::thread::available_parallelism()?.get();
        let memory = std::fs::read_to_string("/proc/meminfo")?;
        Ok(Self {
            hostname,
            data_path_addr,
            listen_addr,
            engine_labels,
            cpus: i64::try_from(cpus).unwrap_or(i64::MAX),
            memory_bytes: total_memory(&memory).unwrap_or(0),
        })
    }

    /// As the managers store it.
    pub fn describe(&self) -> NodeDescription {
        NodeDescription {
            hostname: self.hostname.clone(),
            platform: Some(platform()),
            resources: Some(Resources {
                nano_cpus: self.cpus.saturating_mul(NANO),
                memory_bytes: self.memory_bytes,
                ..Resources::default()
            }),
            engine: Some(EngineDescription {
                version: env!("CARGO_PKG_VERSION").into(),
                labels: self.engine_labels.clone(),
            }),
            data_path_addr: self.data_path_addr.clone(),
            listen_addr: self.listen_addr.clone(),
            // The session adds it: it changes while the node runs.
            tls: None,
            // So does the executor.
            data_path_mtu: 0,
        }
    }

    /// What placeholders in `task` stand for on this node.
    pub fn context(&self, task: &Task, node_id: &str) -> Context {
        let service = task.service_annotations.clone().unwrap_or_default();
        let platform = platform();
        Context {
            service_id: task.service_id.clone(),
            service_name: service.name,
            service_labels: service.labels,
            task_id: task.id.clone(),
            task_name: task.full_name(),
            task_slot: match task.slot {
                0 => task.node_id.clone(),
                slot => slot.to_string(),
            },
            node_id: node_id.to_owned(),
            node_hostname: self.hostname.clone(),
            os: platform.os,
            architecture: platform.architecture,
        }
    }
}

fn platform() -> Platform {
    Platform {
        architecture: architecture(std::env::consts::ARCH).to_owned(),
        os: std::env::consts::OS.into(),
    }
}

/// `MemTotal` of /proc/meminfo (proc_meminfo(5)), in bytes.
fn total_memory(meminfo: &str) -> Option<i64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(total_memory("MemTotal:       1024 kB\nMemFree: 1 kB\n"), Some(1 << 20));
        assert_eq!(total_memory("MemFree: 1 kB\n"), None);
    }
}
