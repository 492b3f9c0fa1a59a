//! `cargo xtask tidy`: the house rules as a test. Reads the tree and changes nothing. Called by
//! people, `verify` and `fix`. What rustc and clippy check already is not checked here again.
//!
//! - [`tree`]: the files of the repository; the only part that touches the disk.
//! - [`source`]: one Rust file, taken apart; pure.
//! - [`rule`]: one rule per module; pure.
//! - [`exceptions`]: what may break a rule, and why.

mod exceptions;
mod rule;
mod source;
mod tree;
mod violation;

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::workspace;
use tree::Tree;
use violation::Violation;

/// Checks everything and lists what is wrong.
pub fn run() -> Result<()> {
    let tree = Tree::read(&workspace::root())?;
    let packages = workspace::metadata()?.packages;
    let mut found = rule::check(&tree, &packages);
    exceptions::apply(exceptions::LIST, &mut found);
    found.sort();
    if found.is_empty() {
        println!("tidy: {} files keep the house rules", tree.files.len());
        return Ok(());
    }
    for violation in &found {
        println!("{violation}");
    }
    println!("\n{}", summary(&found));
    bail!("tidy: {} places break the house rules", found.len());
}

/// How often each rule is broken in each part of the tree.
fn summary(found: &[Violation]) -> String {
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for violation in found {
        *counts.entry((violation.part(), violation.rule)).or_default() += 1;
    }
    let lines = counts.iter().map(|((part, rule), count)| format!("{count:5}  {part}: {rule}"));
    lines.collect::<Vec<_>>().join("\n")
}
