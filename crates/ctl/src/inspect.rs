//! `inspect` of every noun: an array of JSON objects, or a template for each.

use anyhow::{Error, Result, bail};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::failure::join;
use crate::output;
use crate::template::Template;

/// How nouns that have a page for people are shown.
#[derive(Args, Debug)]
pub struct Form {
    /// "json" or a template such as "{{.ID}}"
    #[arg(short, long)]
    format: Option<String>,
    /// Show it for people
    #[arg(long)]
    pretty: bool,
}

impl Form {
    /// Refuses a page for people in a format.
    pub fn check(&self) -> Result<()> {
        if self.pretty && self.format.is_some() {
            bail!("--pretty and --format cannot be used together");
        }
        Ok(())
    }

    /// Shows what was found, as objects or as pages for people, then fails with what was not.
    pub fn print<T>(
        &self,
        found: &[T],
        errors: Vec<Error>,
        object: impl Fn(&T) -> Value,
        page: impl Fn(&T) -> String,
    ) -> Result<()> {
        if self.pretty {
            let pages: Vec<String> = found.iter().map(page).collect();
            output::raw(pages.join("\n").as_bytes())?;
            return join(errors);
        }
        let found: Vec<Value> = found.iter().map(object).collect();
        print(&found, errors, self.format.as_deref())
    }
}

/// The text for what was found.
pub fn render(found: &[Value], format: Option<&str>) -> Result<String> {
    match format {
        None | Some("") => pretty(&Value::Array(found.to_vec())),
        Some("json") => Ok(format!("{}\n", Value::Array(found.to_vec()))),
        Some(source) => {
            let template = Template::parse(source)?;
            let lines: Result<Vec<String>> =
                found.iter().map(|object| Ok(template.render(object)? + "\n")).collect();
            Ok(lines?.concat())
        }
    }
}

/// Shows what was found, then fails with what was not.
pub fn print(found: &[Value], errors: Vec<Error>, format: Option<&str>) -> Result<()> {
    output::raw(render(found, format)?.as_bytes())?;
    join(errors)
}

fn pretty(value: &Value) -> Result<String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer)?;
    bytes.push(b'\n');
    Ok(String::from_utf8(bytes)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_shown_as_an_indented_array_or_by_template() {
        let found = [json!({"ID": "x"})];
        assert_eq!(render(&found, None).unwrap(), "[\n    {\n        \"ID\": \"x\"\n    }\n]\n");
        assert_eq!(render(&found, Some("{{.ID}}")).unwrap(), "x\n");
        assert_eq!(render(&[], None).unwrap(), "[]\n");
    }
}
