//! The arithmetic of a group: what is left of its quorum when managers go.
//!
//! Pure. Asked before a change, by `membership` here and by everyone above who lets users change the
//! group; the text is what users are shown.

use std::fmt::{Display, Formatter};

use crate::MemberState;

/// How many of so many managers must answer.
pub const fn quorum(managers: usize) -> usize {
    managers / 2 + 1
}

/// What taking managers out of the group comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Voters now.
    pub managers: usize,
    /// Of them, those that answer.
    pub reachable: usize,
    /// Voters afterwards.
    pub left: usize,
    /// Of them, those that answer.
    pub left_reachable: usize,
}

impl Removal {
    /// Of the voters among `members` that `goes` is true of.
    pub fn of(members: &[MemberState], goes: impl Fn(&MemberState) -> bool) -> Self {
        let answers = |m: &&MemberState| m.reachable || m.is_leader;
        let voters = || members.iter().filter(|m| m.voter);
        let stay = || voters().filter(|m| !goes(m));
        Self {
            managers: voters().count(),
            reachable: voters().filter(answers).count(),
            left: stay().count(),
            left_reachable: stay().filter(answers).count(),
        }
    }

    /// Whether those that are left can still decide.
    pub fn keeps_quorum(&self) -> bool {
        self.left_reachable >= quorum(self.left)
    }
}

impl Display for Removal {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { managers, reachable, left, left_reachable } = *self;
        let noun = |count| if count == 1 { "manager" } else { "managers" };
        write!(
            f,
            "{managers} {}, {reachable} reachable, quorum {}: after this {left} {}, ",
            noun(managers),
            quorum(managers),
            noun(left),
        )?;
        match left {
            0 => f.write_str("no quorum"),
            _ => write!(f, "quorum {}, reachable {left_reachable}", quorum(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Member;

    fn group(reachable: &[bool]) -> Vec<MemberState> {
        let state = |(n, reachable): (usize, &bool)| MemberState {
            member: Member { raft_id: n as u64, node_id: format!("m{n}"), addr: String::new() },
            voter: true,
            reachable: *reachable,
            is_leader: n == 0,
        };
        reachable.iter().enumerate().map(state).collect()
    }

    fn without(group: &[MemberState], nodes: &[&str]) -> Removal {
        Removal::of(group, |m| nodes.contains(&m.member.node_id.as_str()))
    }

    #[test]
    fn the_arithmetic_is_said_in_full() {
        let removal = without(&group(&[true, true, false]), &["m1"]);
        assert!(!removal.keeps_quorum());
        assert_eq!(
            removal.to_string(),
            "3 managers, 2 reachable, quorum 2: after this 2 managers, quorum 2, reachable 1"
        );
        let last = without(&group(&[true]), &["m0"]);
        assert!(!last.keeps_quorum());
        assert_eq!(
            last.to_string(),
            "1 manager, 1 reachable, quorum 1: after this 0 managers, no quorum"
        );
    }

    #[test]
    fn a_removal_keeps_the_quorum_when_most_of_the_rest_answer() {
        // (who answers, who goes, whether that is allowed)
        let cases: [(&[bool], &[&str], bool); 7] = [
            (&[true, true, true], &["m1"], true),
            (&[true, true, true], &["m1", "m2"], true),
            (&[true, true, false], &["m2"], true),
            (&[true, true, false], &["m1"], false),
            (&[true, true, true, false], &["m1"], true),
            (&[true, true, true, false], &["m1", "m2"], false),
            (&[true, true, true, false, false], &["m1"], false),
        ];
        for (answers, leavers, allowed) in cases {
            let removal = without(&group(answers), leavers);
            assert_eq!(removal.keeps_quorum(), allowed, "{removal}");
        }
    }

    #[test]
    fn a_learner_counts_on_neither_side() {
        let mut members = group(&[true, true, true]);
        members[2].voter = false;
        let removal = without(&members, &["m2"]);
        assert_eq!((removal.managers, removal.left, removal.keeps_quorum()), (2, 2, true));
    }
}
