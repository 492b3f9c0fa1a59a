//! Which of our crates may use which: the absences are the architecture.

use super::manifest;
use crate::tidy::violation::Violation;
use crate::workspace::Package;

/// Every package and what it may use of ours.
const TABLE: &[(&str, &[&str])] = &[
    ("swarm-api", &[]),
    ("swarm-engine", &[]),
    ("swarm-tunnel", &[]),
    ("swarm-overlay-net", &["swarm-tunnel"]),
    ("swarm-dns", &[]),
    ("swarm-ca", &["swarm-api"]),
    ("swarm-scheduler", &["swarm-api"]),
    ("swarm-raft-store", &["swarm-api"]),
    ("swarm-compose", &["swarm-api"]),
    ("swarm-docker-api", &["swarm-api", "swarm-engine"]),
    ("swarm-manager", &["swarm-api", "swarm-ca", "swarm-raft-store", "swarm-scheduler"]),
    ("swarm-agent", &["swarm-api", "swarm-ca", "swarm-engine", "swarm-overlay-net", "swarm-dns"]),
    ("swarm-lab", &["swarm-overlay-net"]),
    ("swarm-ctl", &["swarm-api", "swarm-compose", "swarm-lab"]),
    ("swarm-node", NODE),
    ("swarm-tests", ALL),
    ("swarm-sim", &["swarm-api", "swarm-ca", "swarm-raft-store", "swarm-manager"]),
    ("base2histogram", &[]),
    ("demo-web", &[]),
    ("xtask", &[]),
];

/// The composition root: all but the client's side.
const NODE: &[&str] = &[
    "swarm-api",
    "swarm-ca",
    "swarm-raft-store",
    "swarm-scheduler",
    "swarm-manager",
    "swarm-agent",
    "swarm-engine",
    "swarm-overlay-net",
    "swarm-dns",
    "swarm-compose",
    "swarm-docker-api",
];

const ALL: &[&str] = &[
    "swarm-api",
    "swarm-ca",
    "swarm-raft-store",
    "swarm-scheduler",
    "swarm-manager",
    "swarm-agent",
    "swarm-engine",
    "swarm-overlay-net",
    "swarm-dns",
    "swarm-compose",
    "swarm-docker-api",
    "swarm-lab",
    "swarm-ctl",
    "swarm-node",
];

pub fn check(packages: &[Package]) -> Vec<Violation> {
    packages.iter().flat_map(|package| check_one(package, packages)).collect()
}

fn check_one(package: &Package, packages: &[Package]) -> Vec<Violation> {
    let name = package.name.as_str();
    let note = |message| Violation { path: manifest(package), line: 0, rule: "imports", message };
    let Some((_, allowed)) = TABLE.iter().find(|(known, _)| *known == name) else {
        return vec![note(format!("{name} has no row in the table of imports"))];
    };
    let ours = package.dependencies.iter().filter(|d| packages.iter().any(|p| p.name == d.name));
    let wrong = ours.filter(|d| !allowed.contains(&d.name.as_str()) && d.name != name);
    let list = if allowed.is_empty() { "none of ours".to_owned() } else { allowed.join(", ") };
    let message = |d: &crate::workspace::Dependency| {
        format!("{name} may not use {}: allowed are {list}", d.name)
    };
    wrong.map(|dependency| note(message(dependency))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::package;
    use super::*;

    fn messages(packages: &[Package]) -> Vec<String> {
        check(packages).into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn a_crate_uses_only_what_the_table_allows() {
        let packages = [
            package("swarm-api", &["serde"]),
            package("swarm-scheduler", &["swarm-api", "+swarm-scheduler"]),
            package("swarm-raft-store", &["swarm-api", "+swarm-scheduler"]),
        ];
        assert_eq!(
            messages(&packages),
            ["swarm-raft-store may not use swarm-scheduler: allowed are swarm-api"]
        );
    }

    #[test]
    fn a_crate_that_nobody_placed_is_told() {
        let found = messages(&[package("swarm-extra", &[])]);
        assert_eq!(found, ["swarm-extra has no row in the table of imports"]);
    }
}
