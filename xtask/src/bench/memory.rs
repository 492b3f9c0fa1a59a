//! What processes weigh: their proportional share of memory (PSS), pages that several share being
//! divided among them.

use std::fs;
use std::path::PathBuf;

/// Memory of a node, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Weight {
    /// All daemons of the node together.
    pub daemons: u64,
    /// All supervisors of tasks together, and their number.
    pub supervisors: u64,
    pub tasks: u64,
}

impl Weight {
    /// Weighs these processes; those that are gone weigh nothing.
    pub fn of(daemons: &[u32], supervisors: &[u32]) -> Self {
        let sum = |pids: &[u32]| pids.iter().filter_map(|pid| pss(*pid)).sum();
        Self {
            daemons: sum(daemons),
            supervisors: sum(supervisors),
            tasks: supervisors.len() as u64,
        }
    }
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    /// Its command line.
    pub words: Vec<String>,
    /// Which mount namespace it is in.
    pub mounts: Option<PathBuf>,
}

impl Process {
    /// The name of its program.
    pub fn program(&self) -> &str {
        let path = self.words.first().map(String::as_str).unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }
}

/// All processes of the machine.
pub fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(process).collect()
}

fn process(pid: u32) -> Option<Process> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    Some(Process {
        pid,
        words: words.map(|word| String::from_utf8_lossy(word).into_owned()).collect(),
        mounts: fs::read_link(format!("/proc/{pid}/ns/mnt")).ok(),
    })
}

fn pss(pid: u32) -> Option<u64> {
    parse_pss(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

fn parse_pss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_read_in_kib() {
        let text =
            "00-ff ---p [rollup]\nRss:   3000 kB\nPss:                2137 kB\nPss_Anon: 1 kB\n";
        assert_eq!(parse_pss(text), Some(2137));
        assert_eq!(parse_pss(""), None);
    }

    #[test]
    fn this_process_is_found_and_weighs_something() {
        let own = std::process::id();
        assert!(processes().iter().any(|process| process.pid == own));
        let weight = Weight::of(&[own], &[u32::MAX]);
        assert!(weight.daemons > 0 && weight.supervisors == 0 && weight.tasks == 1);
    }
}
