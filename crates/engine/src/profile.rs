//! What a container may not do unless its specification says otherwise: capabilities, masked and
//! read-only paths of `/proc`. Devices are in [`device`], the system call filter in [`seccomp`].

pub mod device;
pub mod seccomp;

/// Capabilities a container starts with, the same as Docker's.
pub const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Every capability, by its kernel number.
pub const ALL_CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Paths hidden from containers.
pub const MASKED_PATHS: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths containers may read but not write.
pub const READONLY_PATHS: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Processes and threads a container may have when nothing else is said: far above what servers
/// use, far below what exhausts a node.
pub const PIDS_LIMIT: i64 = 4096;

/// Bytes of `/dev/shm` when nothing else is said.
pub const SHM_SIZE: u64 = 64 << 20;

/// The capabilities of a container: the default set changed by what is added and dropped.
/// Names may omit `CAP_`; `ALL` stands for all. Errors name the unknown capability.
pub fn capabilities(add: &[String], drop: &[String]) -> Result<Vec<String>, String> {
    let add = canonical(add)?;
    let drop = canonical(drop)?;
    let all_added = add.iter().any(|name| name == "ALL");
    let all_dropped = drop.iter().any(|name| name == "ALL");
    let kept = ALL_CAPABILITIES.iter().filter(|name| {
        let named = |list: &[String]| list.iter().any(|item| item == *name);
        let base = if all_dropped { false } else { all_added || CAPABILITIES.contains(name) };
        (base || named(&add) || (all_added && !all_dropped)) && !named(&drop)
    });
    Ok(kept.map(|name| (*name).to_owned()).collect())
}

fn canonical(names: &[String]) -> Result<Vec<String>, String> {
    names
        .iter()
        .map(|name| {
            let upper = name.to_ascii_uppercase();
            let full = match upper.as_str() {
                "ALL" | "CAP_ALL" => return Ok("ALL".to_owned()),
                other if other.starts_with("CAP_") => upper,
                other => format!("CAP_{other}"),
            };
            match ALL_CAPABILITIES.contains(&full.as_str()) {
                true => Ok(full),
                false => Err(format!("unknown capability {name:?}")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn defaults_are_changed_by_what_is_added_and_dropped() {
        let caps = capabilities(&strings(&["net_admin"]), &strings(&["CAP_MKNOD"])).unwrap();
        assert!(caps.contains(&"CAP_NET_ADMIN".to_owned()));
        assert!(!caps.contains(&"CAP_MKNOD".to_owned()));
        assert_eq!(caps.len(), CAPABILITIES.len());
    }

    #[test]
    fn dropping_all_leaves_only_what_is_added() {
        let caps = capabilities(&strings(&["CHOWN"]), &strings(&["ALL"])).unwrap();
        assert_eq!(caps, strings(&["CAP_CHOWN"]));
        let caps = capabilities(&strings(&["ALL"]), &strings(&["SYS_ADMIN"])).unwrap();
        assert_eq!(caps.len(), ALL_CAPABILITIES.len() - 1);
    }

    #[test]
    fn an_unknown_capability_is_named() {
        let error = capabilities(&strings(&["FLY"]), &[]).unwrap_err();
        assert_eq!(error, "unknown capability \"FLY\"");
    }
}
