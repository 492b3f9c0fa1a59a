//! Documents say what is true: every crate is on the map, every command that they show exists.

use crate::tidy::tree::{TextFile, Tree};
use crate::tidy::violation::Violation;
use crate::workspace::Package;

const MAP: &str = "ARCHITECTURE.md";
const CLIENT: &str = "crates/ctl/src";
/// Documents whose examples are checked.
const SHOWING: [&str; 3] = ["README.md", "deploy/demo/README.md", MAP];
/// Commands without a file of their own.
const PLAIN: [&str; 2] = ["version", "help"];

pub fn check(tree: &Tree, packages: &[Package]) -> Vec<Violation> {
    let mut found = unmapped(tree, packages);
    let commands = Commands { tree };
    for path in SHOWING {
        if let Some(file) = tree.file(path) {
            found.extend(unknown_commands(file, &commands));
        }
    }
    found
}

/// Crates that the map does not name.
fn unmapped(tree: &Tree, packages: &[Package]) -> Vec<Violation> {
    let map = tree.file(MAP).map(|file| file.text.as_str()).unwrap_or_default();
    let missing = packages.iter().filter(|package| !map.contains(&format!("`{}`", package.folder)));
    let note = |package: &Package| Violation {
        path: MAP.into(),
        line: 0,
        rule: "docs",
        message: format!("the code map lacks `{}` ({})", package.folder, package.name),
    };
    missing.map(note).collect()
}

/// Examples in code blocks that call a command that is not there.
fn unknown_commands(file: &TextFile, commands: &Commands<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("```") {
            in_block = !in_block;
        }
        let Some(words) = in_block.then(|| words_of(line)).flatten() else { continue };
        if !commands.has(&words) {
            found.push(Violation {
                path: file.path.clone(),
                line: index + 1,
                rule: "docs",
                message: format!("swarmctl has no command {}", words.join(" ")),
            });
        }
    }
    found
}

/// The words after `swarmctl` up to the first flag or argument.
fn words_of(line: &str) -> Option<Vec<String>> {
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let rest = line.split_once("swarmctl ").filter(|(before, _)| is_start(before))?.1;
    let plain = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let words = rest.split_whitespace().take_while(|w| !w.starts_with('-')).take_while(plain);
    Some(words.take(2).map(str::to_owned).collect())
}

/// Whether a command may begin after this text.
fn is_start(before: &str) -> bool {
    let before = before.trim_end();
    before.is_empty()
        || ["/", "do", "$(", "|", "--", "--release/"].iter().any(|e| before.ends_with(e))
}

/// The client's commands: variants of the enum that each noun's file declares.
struct Commands<'a> {
    tree: &'a Tree,
}

impl Commands<'_> {
    /// `node ls` is `Ls(…)` in `node.rs`; `init` is `Init(…)` in `cluster.rs`.
    fn has(&self, words: &[String]) -> bool {
        match words {
            [] => true,
            [first, ..] if PLAIN.contains(&first.as_str()) => true,
            [first, second] if self.declares(first, second) => true,
            [first, ..] => self.declares("cluster", first),
        }
    }

    fn declares(&self, noun: &str, verb: &str) -> bool {
        let path = format!("{CLIENT}/{noun}.rs");
        let source = self.tree.sources.iter().find(|source| source.path == path);
        source.is_some_and(|source| !source.places(&[&variant(verb), "("]).is_empty())
    }
}

/// `join-token` is `JoinToken`.
fn variant(verb: &str) -> String {
    let mut name = String::new();
    for part in verb.split('-') {
        let mut letters = part.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::super::fixture::package;
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let file =
            |(path, text): &(&str, &str)| TextFile { path: (*path).into(), text: (*text).into() };
        Tree::of(files.iter().map(file).collect()).unwrap()
    }

    #[test]
    fn a_crate_that_is_not_on_the_map_is_told() {
        let tree = tree(&[("ARCHITECTURE.md", "| `crates/api` | types |")]);
        let found = check(&tree, &[package("swarm-api", &[]), package("swarm-dns", &[])]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].message, "the code map lacks `crates/dns` (swarm-dns)");
    }

    #[test]
    fn an_example_that_cannot_run_is_told() {
        let readme = "swarmctl prose is not checked\n```console\n$ swarmctl node ls\n\
                      $ swarmctl join-token -q worker\n$ swarmctl node fly m1\n```\n";
        let files = [
            ("README.md", readme),
            ("crates/ctl/src/node.rs", "enum NodeCommand { Ls(Flags) }"),
            ("crates/ctl/src/cluster.rs", "enum ClusterCommand { JoinToken(Flags) }"),
        ];
        let found = check(&tree(&files), &[]);
        assert_eq!(super::super::fixture::lines(&found), [5]);
        assert_eq!(found[0].message, "swarmctl has no command node fly");
    }
}
