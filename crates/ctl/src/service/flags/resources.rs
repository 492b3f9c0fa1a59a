//! Flags about what a task may use and what a node must have left for it.

use clap::Args;
use swarm_api::TaskSpec;
use swarm_api::resource::parse_cpus;
use swarm_api::size::parse_ram;

/// Flags of both commands. CPUs are in billionths, memory in bytes.
#[derive(Args, Debug, Default, PartialEq)]
pub struct ResourceFlags {
    /// CPUs that a task may use
    #[arg(long, value_name = "CPUS", value_parser = parse_cpus)]
    limit_cpu: Option<i64>,
    /// Memory that a task may use
    #[arg(long, value_name = "SIZE", value_parser = parse_ram)]
    limit_memory: Option<i64>,
    /// Processes that a task may have; 0 is no limit
    #[arg(long, value_name = "N")]
    limit_pids: Option<i64>,
    /// CPUs that a node must have left
    #[arg(long, value_name = "CPUS", value_parser = parse_cpus)]
    reserve_cpu: Option<i64>,
    /// Memory that a node must have left
    #[arg(long, value_name = "SIZE", value_parser = parse_ram)]
    reserve_memory: Option<i64>,
}

impl ResourceFlags {
    /// Writes the given flags into `task`.
    pub fn apply(&self, task: &mut TaskSpec) {
        if self.limit_cpu.or(self.limit_memory).or(self.limit_pids).is_some() {
            let limits = task.resources.get_or_insert_default().limits.get_or_insert_default();
            limits.nano_cpus = self.limit_cpu.unwrap_or(limits.nano_cpus);
            limits.memory_bytes = self.limit_memory.unwrap_or(limits.memory_bytes);
            limits.pids = self.limit_pids.unwrap_or(limits.pids);
        }
        if self.reserve_cpu.or(self.reserve_memory).is_some() {
            let kept = task.resources.get_or_insert_default().reservations.get_or_insert_default();
            kept.nano_cpus = self.reserve_cpu.unwrap_or(kept.nano_cpus);
            kept.memory_bytes = self.reserve_memory.unwrap_or(kept.memory_bytes);
        }
    }
}
