//! The devices containers may use: the harmless ones they find in `/dev`, and making nodes of any,
//! which opens none. Rendered for both versions of control groups, in `shim::config` and
//! `cgroup::device`.

/// Devices of one kind that a container may use in some ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// `b` for blocks, `c` for characters.
    pub kind: char,
    /// None: every one.
    pub major: Option<u32>,
    /// None: every one.
    pub minor: Option<u32>,
    /// `m` to make a node, `r` to read, `w` to write.
    pub access: &'static str,
}

/// What is not here is refused.
pub const ALLOWED: &[Rule] = &[
    Rule { kind: 'c', major: None, minor: None, access: "m" },
    Rule { kind: 'b', major: None, minor: None, access: "m" },
    character(1, Some(3)),
    character(1, Some(5)),
    character(1, Some(7)),
    character(1, Some(8)),
    character(1, Some(9)),
    character(5, Some(0)),
    character(5, Some(1)),
    character(5, Some(2)),
    character(136, None),
];

const fn character(major: u32, minor: Option<u32>) -> Rule {
    Rule { kind: 'c', major: Some(major), minor, access: "rwm" }
}
