//! A list of objects as table, ids, JSON lines or by template. Commands fill in rows; this draws
//! them.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use crate::output;
use crate::table::align;
use crate::template::Template;

/// How a list is shown.
#[derive(Args, Clone, Debug, Default)]
pub struct ListFlags {
    /// Only show ids
    #[arg(short, long)]
    pub quiet: bool,
    /// "table", "json", "table TEMPLATE" or a template such as "{{.ID}}\t{{.Name}}"
    #[arg(long)]
    pub format: Option<String>,
}

/// A column: its heading and the row's field in it. Fields that begin with `_` exist in the table
/// only.
pub type Column = (&'static str, &'static str);

/// Rows ready to be shown, in their final order.
pub struct Listing {
    /// Columns of the plain table.
    pub columns: &'static [Column],
    /// One object of fields per row.
    pub rows: Vec<Value>,
    /// What `-q` shows.
    pub key: &'static str,
}

impl Listing {
    /// The text for `flags`.
    pub fn render(&self, flags: &ListFlags) -> Result<String> {
        let format = flags.format.as_deref().map_or("table", str::trim);
        match format {
            _ if flags.quiet && (format == "table" || format.is_empty()) => {
                self.lines(&format!("{{{{.{}}}}}", self.key))
            }
            "table" | "" => self.table(&self.plain()),
            "json" => self.lines("{{json .}}"),
            _ => match format.strip_prefix("table ") {
                Some(template) => self.table(template.trim()),
                None => self.lines(format),
            },
        }
    }

    /// Shows it on stdout.
    pub fn print(&self, flags: &ListFlags) -> Result<()> {
        Ok(output::raw(self.render(flags)?.as_bytes())?)
    }

    fn plain(&self) -> String {
        let fields: Vec<String> =
            self.columns.iter().map(|(_, field)| format!("{{{{.{field}}}}}")).collect();
        fields.join("\t")
    }

    fn lines(&self, template: &str) -> Result<String> {
        let template = Template::parse(template)?;
        let mut text = String::new();
        for row in &self.rows {
            text.push_str(&template.render(row)?);
            text.push('\n');
        }
        Ok(text)
    }

    fn table(&self, template: &str) -> Result<String> {
        let template = Template::parse(template)?;
        let mut lines = vec![template.heading(|field| self.heading(field))];
        for row in &self.rows {
            lines.push(template.render(row)?);
        }
        Ok(align(&lines))
    }

    fn heading(&self, field: &str) -> String {
        let known = self
            .columns
            .iter()
            .find(|(_, f)| f.trim_start_matches('_') == field.trim_start_matches('_'));
        known.map_or_else(|| field.to_uppercase(), |(heading, _)| (*heading).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listing() -> Listing {
        Listing {
            columns: &[("ID", "_ID"), ("NAME", "Name")],
            rows: vec![json!({"ID": "a1", "_ID": "a1 *", "Name": "web", "Labels": "x=y"})],
            key: "ID",
        }
    }

    fn show(quiet: bool, format: Option<&str>) -> String {
        listing().render(&ListFlags { quiet, format: format.map(str::to_owned) }).unwrap()
    }

    #[test]
    fn a_list_is_a_table_by_default() {
        assert_eq!(show(false, None), "ID        NAME\na1 *      web\n");
    }

    #[test]
    fn quiet_json_and_templates_replace_the_table() {
        assert_eq!(show(true, None), "a1\n");
        assert_eq!(
            show(false, Some("json")),
            "{\"ID\":\"a1\",\"Labels\":\"x=y\",\"Name\":\"web\"}\n"
        );
        assert_eq!(show(false, Some("{{.Name}}")), "web\n");
        assert_eq!(
            show(false, Some("table {{.Name}}\\t{{.Labels}}")),
            "NAME      LABELS\nweb       x=y\n"
        );
    }
}
