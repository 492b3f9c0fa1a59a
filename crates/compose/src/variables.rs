//! Fills in the variables of a file's values. Keys, and what stands under `x-` keys, stay as they
//! are.

use std::collections::BTreeMap;

use crate::interpolate::interpolate;
use crate::node::{Node, Value};
use crate::problem::Report;
use crate::view::{joined, problem_at};

/// Fills in every value below `node`.
pub fn fill_in(node: &mut Node, path: &str, env: &BTreeMap<String, String>, report: &mut Report) {
    match &mut node.value {
        Value::Null => {}
        Value::Map(entries) => {
            for entry in entries.iter_mut().filter(|entry| !is_own(path, &entry.key)) {
                fill_in(&mut entry.node, &joined(path, &entry.key), env, report);
            }
        }
        Value::List(items) => {
            for item in items {
                fill_in(item, path, env, report);
            }
        }
        Value::Scalar(scalar) if scalar.text.contains('$') => {
            match interpolate(&scalar.text, env) {
                Ok(filled) => {
                    scalar.text = filled.text;
                    for name in filled.missing {
                        let message = format!("the variable {name} is not set: it is left empty");
                        report.warn(&node.at, path, message);
                    }
                    for tail in filled.tails {
                        let braced = tail.trim_start_matches('$');
                        report.warn(
                            &node.at,
                            path,
                            format!("\"{tail}\" is read as \"${{{braced}}}\": use braces"),
                        );
                    }
                }
                Err(error) => report.problems.push(problem_at(node, path, error)),
            }
        }
        Value::Scalar(_) => {}
    }
}

/// Doubles every dollar sign, so that filling in gives the same values again.
pub fn escape(node: &mut Node, path: &str) {
    match &mut node.value {
        Value::Null => {}
        Value::Map(entries) => {
            for entry in entries.iter_mut().filter(|entry| !is_own(path, &entry.key)) {
                escape(&mut entry.node, &joined(path, &entry.key));
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| escape(item, path)),
        Value::Scalar(scalar) => scalar.text = scalar.text.replace('$', "$$"),
    }
}

/// A key of the user's own at the top, which nothing is read from.
fn is_own(path: &str, key: &str) -> bool {
    path.is_empty() && key.starts_with("x-")
}
