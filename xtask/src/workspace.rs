//! Where the repository is and which packages it has. Called by every verb.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// The folder with the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    // Cargo sets the variable for what it runs; a binary started by hand is started in the root.
    let ours = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    ours.as_deref().and_then(Path::parent).unwrap_or(Path::new(".")).to_owned()
}

/// What a cluster and the demo are made of.
const PROGRAMS: [&str; 4] = ["swarm-node", "swarm-ctl", "swarm-engine", "demo-web"];

/// Release builds of all that a cluster and the demo need. One selection for every verb: with another one, the libraries
/// have other features, and cargo would build them all anew.
pub fn build_programs() -> Result<()> {
    let packages = PROGRAMS.iter().flat_map(|package| ["--package", *package]);
    process::run(process::cargo().args(["build", "--release", "--locked", "--bins"]).args(packages))
}

/// One package of the workspace.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    pub name: String,
    /// Relative to the root; empty for none.
    pub folder: String,
    pub dependencies: Vec<Dependency>,
}

/// One entry of a package's dependencies.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependency {
    pub name: String,
    /// Used only by the package's tests.
    pub dev: bool,
}

/// What cargo knows of the workspace.
#[derive(Debug)]
pub struct Metadata {
    pub packages: Vec<Package>,
    pub target: PathBuf,
}

/// Asks cargo; needs no network.
pub fn metadata() -> Result<Metadata> {
    let mut command = process::cargo();
    command.args(["metadata", "--no-deps", "--format-version", "1"]);
    let text = process::capture(&mut command)?;
    parse(&text).context("read what cargo metadata says")
}

fn parse(text: &str) -> Result<Metadata> {
    let value: Value = serde_json::from_str(text)?;
    let root = string(&value["workspace_root"]);
    let list = value["packages"].as_array().context("there are no packages")?;
    let mut packages: Vec<Package> = list.iter().map(|package| read(package, &root)).collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Metadata { packages, target: PathBuf::from(string(&value["target_directory"])) })
}

fn read(package: &Value, root: &str) -> Package {
    let manifest = PathBuf::from(string(&package["manifest_path"]));
    let folder = manifest.parent().unwrap_or(Path::new(""));
    let folder = folder.strip_prefix(root).unwrap_or(folder);
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let dependencies = dependencies.map(|dependency| Dependency {
        name: string(&dependency["name"]),
        dev: dependency["kind"] == "dev",
    });
    Package {
        name: string(&package["name"]),
        folder: folder.to_string_lossy().into_owned(),
        dependencies: dependencies.collect(),
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_their_dependencies_are_read() {
        let text = r#"{"workspace_root": "/w", "target_directory": "/w/target", "packages": [
            {"name": "a", "manifest_path": "/w/crates/a/Cargo.toml", "dependencies": [
                {"name": "b", "kind": null}, {"name": "c", "kind": "dev"}]}]}"#;
        let metadata = parse(text).unwrap();
        let dependency = |name: &str, dev| Dependency { name: name.into(), dev };
        assert_eq!(
            metadata.packages,
            [Package {
                name: "a".into(),
                folder: "crates/a".into(),
                dependencies: vec![dependency("b", false), dependency("c", true)],
            }]
        );
        assert_eq!(metadata.target, PathBuf::from("/w/target"));
    }
}
