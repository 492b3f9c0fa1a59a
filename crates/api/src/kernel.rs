//! Names that users write for what the kernel of a node knows: capabilities, limits of processes, signals. The door refuses
//! what no node would take; the nodes give the names their meaning.

/// Without `CAP_`.
const CAPABILITIES: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

const ULIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Without `SIG`.
const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "KILL", "PIPE",
    "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// The last signal, and how many real-time signals follow the first of them.
const LAST_SIGNAL: u32 = 64;
const LAST_REALTIME: u32 = 30;

/// Whether it names a capability, or `ALL` of them; `CAP_` may be left out, and case does not matter.
pub fn is_capability(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    bare == "ALL" || CAPABILITIES.contains(&bare)
}

/// Whether it names a limit of processes, such as `nofile`; case does not matter.
pub fn is_ulimit(name: &str) -> bool {
    ULIMITS.contains(&name.to_ascii_lowercase().as_str())
}

/// Whether it is a signal: a number, a name with or without `SIG`, or `RTMIN+n`; case does not matter.
pub fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u32>() {
        return (1..=LAST_SIGNAL).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    match name.strip_prefix("RTMIN") {
        Some("") => true,
        Some(rest) => {
            let offset = rest.strip_prefix('+').and_then(|digits| digits.parse::<u32>().ok());
            offset.is_some_and(|offset| offset <= LAST_REALTIME)
        }
        None => SIGNALS.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_with_or_without_their_prefix() {
        for name in ["net_admin", "CAP_NET_ADMIN", "ALL", "cap_all"] {
            assert!(is_capability(name), "{name}");
        }
        for signal in ["TERM", "sigquit", "9", "64", "RTMIN", "SIGRTMIN+3"] {
            assert!(is_signal(signal), "{signal}");
        }
        assert!(is_ulimit("nofile") && is_ulimit("NPROC"));
    }

    #[test]
    fn what_no_kernel_knows_is_not_known() {
        for name in ["", "CAP_", "NET_ADMINS"] {
            assert!(!is_capability(name), "{name}");
        }
        for signal in ["", "0", "65", "-1", "SIGFOO", "RTMIN+31", "RTMIN3", "SIG"] {
            assert!(!is_signal(signal), "{signal}");
        }
        assert!(!is_ulimit("") && !is_ulimit("files"));
    }
}
