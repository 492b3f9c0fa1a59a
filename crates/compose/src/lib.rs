//! Compose files: from YAML in the Compose specification's format to the specs of a stack.
//!
//! The only crate that knows YAML. It reads the files that a compose file names (secrets, configs,
//! env files) and decides the rest purely. It talks to no cluster: `swarmctl stack` creates what it
//! returns. Every key of the specification is either supported or refused by name, file and line;
//! the table is in `docs/compose.md`.
//!
//! ```text
//! text ─yaml─▶ tree ─variables─▶ filled in ─check─▶ known keys ─shape─▶ long forms ─merge─▶ one tree ─convert─▶ Stack
//!                                                                                              └─render─▶ YAML
//! ```
#![forbid(unsafe_code)]

mod check;
mod convert;
mod dotenv;
mod files;
mod merge;
mod node;
mod problem;
mod render;
mod shape;
mod stack;
mod table;
mod variables;
mod view;
mod yaml;

pub mod interpolate;
pub mod volume;

use std::collections::BTreeMap;

pub use convert::{effective_capabilities, scoped_name};
pub use interpolate::{InterpolateError, Interpolated, interpolate};
pub use problem::{ComposeErrors, Position, Problem};
pub use stack::{
    IMAGE_LABEL, NAMESPACE_LABEL, Source, Stack, StackConfig, StackNetwork, StackSecret,
    StackService,
};
pub use table::{Key, Status, keys, support_matrix};

use files::Place;
use node::{Node, Value};
use problem::Report;
use shape::Shaper;

/// Reads, merges and converts `sources` into the specs of the stack `stack`.
///
/// `env` is the process's environment; a `.env` file next to the first source is read too, and
/// `env` wins over it.
pub fn load(
    sources: &[Source],
    env: &BTreeMap<String, String>,
    stack: &str,
) -> Result<Stack, ComposeErrors> {
    if let Err(error) = swarm_api::name::service(stack) {
        return Err(nowhere(format!("invalid stack name: {error}")).into());
    }
    let place = Place::new(sources, env)?;
    let mut report = Report::default();
    let root = read(sources, &place, true, &mut report)?;
    let converted = convert::convert(&root, stack, &place, &mut report);
    if converted.services.is_empty() && report.problems.is_empty() {
        report.problems.push(nowhere("there are no services in the compose file".into()));
    }
    let (stack, warnings) = report.finish(converted)?;
    Ok(Stack { warnings, ..stack })
}

/// Reads and merges `sources` and shows them as one canonical YAML document, for `stack config`.
///
/// Without `interpolate`, variables stay as they are written, and so do the short forms that hold
/// them. Files that the document names are not read. What is shown can be deployed: dollar signs
/// that are left are doubled.
pub fn render(
    sources: &[Source],
    env: &BTreeMap<String, String>,
    interpolate: bool,
) -> Result<String, ComposeErrors> {
    let place = Place::new(sources, env)?;
    let mut report = Report::default();
    let root = read(sources, &place, interpolate, &mut report)?;
    let (mut root, _) = report.finish(root)?;
    if interpolate {
        variables::escape(&mut root, "");
    }
    Ok(render::render(&root))
}

/// One tree of all sources, in long forms. Files that cannot be read at all end it; other problems
/// are noted.
fn read(
    sources: &[Source],
    place: &Place,
    interpolate: bool,
    report: &mut Report,
) -> Result<Node, ComposeErrors> {
    let mut merged: Option<Node> = None;
    let mut unreadable = Vec::new();
    for source in sources {
        let mut root = match read_one(source) {
            Ok(root) => root,
            Err(problem) => {
                unreadable.push(problem);
                continue;
            }
        };
        if interpolate {
            variables::fill_in(&mut root, "", &place.env, report);
        }
        check::check(&root, report);
        shape::reshape(&mut root, &mut Shaper { report, variables: !interpolate });
        match &mut merged {
            Some(base) => merge::merge(base, root),
            None => merged = Some(root),
        }
    }
    if !unreadable.is_empty() {
        return Err(ComposeErrors(unreadable));
    }
    let mut root = merged.ok_or_else(|| nowhere("no compose file is given: use -c".into()))?;
    merge::settle(&mut root);
    Ok(root)
}

fn read_one(source: &Source) -> Result<Node, Problem> {
    let (file, text) = files::read_source(source)?;
    let root = yaml::parse(&file, &text)?;
    match root.value {
        Value::Map(_) => Ok(root),
        Value::Null => Ok(Node { value: Value::Map(Vec::new()), ..root }),
        _ => Err(view::problem_at(&root, "", format!("want a map, not {}", root.kind()))),
    }
}

fn nowhere(message: String) -> Problem {
    Problem { at: None, path: String::new(), message }
}

#[cfg(test)]
mod tests;
