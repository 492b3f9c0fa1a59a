//! The README's tour: every command of it, as it stands there, in one shell.

use std::path::Path;
use std::process::Command;

use support::{Outcome, binary};
use swarm_lab::Labs;
use tempfile::TempDir;

/// Removes the tour's lab when the tour broke off.
struct Tour {
    root: TempDir,
}

const NAME: &str = "tour";

impl Drop for Tour {
    fn drop(&mut self) {
        let labs = Labs::at(self.root.path());
        if labs.open(NAME).is_ok()
            && let Err(error) = labs.remove(NAME, &|_| {})
        {
            eprintln!("lab {NAME}: {error}");
        }
    }
}

/// The lines after `$ ` in the ```console blocks.
fn commands(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if inside => found.extend(line.strip_prefix("$ ")),
            _ => {}
        }
    }
    found
}

#[test]
fn every_command_of_the_readme_works() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent");
    let readme = std::fs::read_to_string(workspace.join("README.md")).expect("the README");
    let commands = commands(&readme);
    assert!(commands.len() > 20, "{commands:?}");
    assert_eq!(commands.last(), Some(&"swarmctl lab down"), "it takes down what it made");
    let tour = Tour { root: TempDir::with_prefix_in("swarm-e2e-", "/var/tmp").expect("a folder") };
    // One shell, for what one command leaves to the next; pipes fail where any part fails.
    let mut script = "set -o pipefail\n".to_owned();
    for command in &commands {
        script += "echo; cat <<'EOF'\n$ ";
        script += command;
        script += "\nEOF\n";
        script += command;
        script += " || exit\n";
    }
    let swarmctl = binary("swarmctl");
    let programs = swarmctl.parent().expect("binaries are in a folder").display();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .current_dir(workspace)
        .env("PATH", format!("{programs}:{path}"))
        .env("SWARM_LAB_ROOT", tour.root.path())
        .env("SWARM_LAB", NAME);
    let shown = Outcome::of(&mut shell).ok();
    for wanted in ["m3         Ready", "picky.1", "hello scaled to 5", "verify: Service"] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    assert!(Labs::at(tour.root.path()).open(NAME).is_err(), "nothing is left");
}
