//! Foreign crates that only one of ours may know, so that each can be replaced in one place.

use super::manifest;
use crate::tidy::violation::Violation;
use crate::workspace::Package;

/// Names or beginnings of names (`x*`), and who may use them.
const PLACES: &[(&str, &[&str])] = &[
    ("openraft*", &["swarm-raft-store"]),
    ("redb", &["swarm-raft-store"]),
    ("sled", &["swarm-raft-store"]),
    ("rtnetlink", &["swarm-overlay-net"]),
    ("netlink-*", &["swarm-overlay-net"]),
    ("boringtun", &["swarm-tunnel"]),
    ("saphyr*", &["swarm-compose"]),
    ("libcontainer", &["swarm-engine"]),
    ("libcgroups", &["swarm-engine"]),
    ("oci-client", &["swarm-engine"]),
    ("hickory-*", &["swarm-dns"]),
    ("rcgen", &["swarm-ca"]),
    ("clap", &["swarm-ctl", "swarm-node"]),
    ("anyhow", &["swarm-ctl", "swarm-node", "swarm-tests", "xtask"]),
    ("axum", &["swarm-docker-api"]),
    // The scheduler and the compose parser are pure: nothing in them can wait.
    ("tokio*", NOT_PURE),
    ("futures", NOT_PURE),
];

const NOT_PURE: &[&str] = &[
    "demo-web",
    "swarm-agent",
    "swarm-api",
    "swarm-ca",
    "swarm-ctl",
    "swarm-dns",
    "swarm-docker-api",
    "swarm-engine",
    "swarm-lab",
    "swarm-manager",
    "swarm-node",
    "swarm-overlay-net",
    "swarm-raft-store",
    "swarm-sim",
    "swarm-tests",
];

pub fn check(packages: &[Package]) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in packages {
        for dependency in &package.dependencies {
            let Some(owners) = owners(&dependency.name) else { continue };
            if !owners.contains(&package.name.as_str()) {
                found.push(Violation {
                    path: manifest(package),
                    line: 0,
                    rule: "foreign",
                    message: format!(
                        "{} may not use {}: only {} knows it",
                        package.name,
                        dependency.name,
                        owners.join(", ")
                    ),
                });
            }
        }
    }
    found
}

fn owners(dependency: &str) -> Option<&'static [&'static str]> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(beginning) => dependency.starts_with(beginning),
        None => dependency == pattern,
    };
    PLACES.iter().find(|(pattern, _)| fits(pattern)).map(|(_, owners)| *owners)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::package;
    use super::*;

    #[test]
    fn a_foreign_crate_stays_where_it_belongs() {
        let packages = [
            package("swarm-raft-store", &["openraft", "redb"]),
            package("swarm-manager", &["openraft-memstore", "serde"]),
        ];
        let found = check(&packages);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].message,
            "swarm-manager may not use openraft-memstore: only swarm-raft-store knows it"
        );
    }
}
