//! Every key of the Compose specification and what becomes of it here.
//!
//! The one list that the checker refuses by, that `docs/compose.md` is made from, and that a test
//! holds the conversion to: each supported key must change the specs. `*` stands for a name that
//! the user chose, `[]` for the items of a list.

mod document;
mod service;

use std::collections::BTreeMap;
use std::sync::LazyLock;

pub use document::support_matrix;

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does what the specification says.
    Supported,
    /// It means nothing on a cluster; a warning says so.
    Ignored,
    /// The file is refused.
    Refused,
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// `services.*.ports.[].target`
    pub path: &'static str,
    /// What becomes of it.
    pub status: Status,
    /// Why it is ignored or refused and what to do instead, or a remark.
    pub note: &'static str,
}

const fn yes(path: &'static str) -> Key {
    Key { path, status: Status::Supported, note: "" }
}

const fn but(path: &'static str, note: &'static str) -> Key {
    Key { path, status: Status::Supported, note }
}

const fn idle(path: &'static str, note: &'static str) -> Key {
    Key { path, status: Status::Ignored, note }
}

const fn no(path: &'static str, note: &'static str) -> Key {
    Key { path, status: Status::Refused, note }
}

const LATER: &str = "not built yet";

/// The document's own keys, networks, volumes, secrets and configs.
const TOP: &[Key] = &[
    idle("version", "every file is read by the current specification"),
    idle("name", "a stack is named on the command line"),
    no("include", "not built yet; pass each file with -c"),
    no("models", LATER),
    yes("services"),
    yes("services.*"),
    yes("networks"),
    yes("networks.*"),
    yes("networks.*.name"),
    but("networks.*.driver", "overlay only"),
    yes("networks.*.driver_opts"),
    yes("networks.*.ipam"),
    but("networks.*.ipam.driver", "default only"),
    yes("networks.*.ipam.config"),
    yes("networks.*.ipam.config.[].subnet"),
    yes("networks.*.ipam.config.[].ip_range"),
    yes("networks.*.ipam.config.[].gateway"),
    yes("networks.*.ipam.config.[].aux_addresses"),
    no("networks.*.ipam.options", "the cluster's address allocator has no options"),
    yes("networks.*.external"),
    yes("networks.*.internal"),
    yes("networks.*.attachable"),
    no("networks.*.enable_ipv4", "every network has IPv4; remove the key"),
    yes("networks.*.enable_ipv6"),
    yes("networks.*.labels"),
    yes("volumes"),
    yes("volumes.*"),
    yes("volumes.*.name"),
    but("volumes.*.driver", "local only"),
    no("volumes.*.driver_opts", "not built yet; mount a path of the node with type: bind"),
    yes("volumes.*.external"),
    yes("volumes.*.labels"),
    no("volumes.*.x-cluster-spec", "cluster volumes are not built yet"),
    yes("secrets"),
    yes("secrets.*"),
    yes("secrets.*.name"),
    yes("secrets.*.file"),
    yes("secrets.*.environment"),
    yes("secrets.*.external"),
    yes("secrets.*.labels"),
    no("secrets.*.driver", "secret drivers are not built; use file, environment or external"),
    no("secrets.*.driver_opts", "secret drivers are not built; use file, environment or external"),
    no("secrets.*.template_driver", "templates in secrets are not built yet"),
    yes("configs"),
    yes("configs.*"),
    yes("configs.*.name"),
    yes("configs.*.file"),
    yes("configs.*.content"),
    yes("configs.*.environment"),
    yes("configs.*.external"),
    yes("configs.*.labels"),
    no("configs.*.template_driver", "templates in configs are not built yet"),
];

static BY_PATH: LazyLock<BTreeMap<&'static str, &'static Key>> =
    LazyLock::new(|| keys().map(|key| (key.path, key)).collect());

/// All of them, in the order of the documentation.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    TOP.iter().chain(service::KEYS).chain(service::DEPLOY)
}

/// The key at exactly this pattern.
pub(crate) fn find(pattern: &str) -> Option<&'static Key> {
    BY_PATH.get(pattern).copied()
}

/// Whether the table knows what may stand below this pattern; where not, the user's keys are free.
pub(crate) fn has_children(pattern: &str) -> bool {
    if pattern.is_empty() {
        return true;
    }
    let prefix = format!("{pattern}.");
    BY_PATH.range(prefix.as_str()..).next().is_some_and(|(path, _)| path.starts_with(&prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_listed_twice() {
        assert_eq!(keys().count(), BY_PATH.len());
    }

    #[test]
    fn what_is_not_supported_says_why() {
        for key in keys().filter(|key| key.status != Status::Supported) {
            assert!(!key.note.is_empty(), "{}", key.path);
        }
    }

    #[test]
    fn a_structure_knows_its_keys_and_a_free_map_has_none() {
        assert!(has_children("services.*.deploy"));
        assert!(!has_children("services.*.labels"));
        assert!(!has_children("services.*.network"));
    }
}
