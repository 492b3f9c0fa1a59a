//! A small part of Go's templates, for `--format`: text, `\t`, `\n`, `{{.Field}}`, `{{.A.B}}`,
//! `{{json .}}`, `{{upper .Field}}`, `{{lower .Field}}`. Everything else is refused by name.

use anyhow::{Result, bail};
use serde_json::{Map, Value};

/// What is done to a value before it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verb {
    Plain,
    Json,
    Upper,
    Lower,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    /// Path from the object, without the leading dot; empty for the object itself.
    Value(Verb, Vec<String>),
}

/// A parsed template.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(Vec<Part>);

impl Template {
    /// Parses `source`.
    pub fn parse(source: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some(start) = rest.find("{{") {
            parts.push(Part::Text(unescape(&rest[..start])));
            let after = &rest[start + 2..];
            let Some(end) = after.find("}}") else {
                bail!("invalid template: \"{{{{\" without \"}}}}\" in \"{source}\"");
            };
            parts.push(action(after[..end].trim())?);
            rest = &after[end + 2..];
        }
        parts.push(Part::Text(unescape(rest)));
        parts.retain(|p| *p != Part::Text(String::new()));
        Ok(Template(parts))
    }

    /// The text for one object.
    pub fn render(&self, object: &Value) -> Result<String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value(verb, path) => out.push_str(&written(*verb, find(object, path)?)),
            }
        }
        Ok(out)
    }

    /// The header of a table with this template: field names replaced by their headings.
    pub fn heading(&self, heading: impl Fn(&str) -> String) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Value(_, path) => heading(path.last().map_or("", String::as_str)),
            })
            .collect()
    }
}

fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

fn action(body: &str) -> Result<Part> {
    let words: Vec<&str> = body.split_whitespace().collect();
    let (verb, field) = match words.as_slice() {
        [field] => (Verb::Plain, *field),
        ["json", field] => (Verb::Json, *field),
        ["upper", field] => (Verb::Upper, *field),
        ["lower", field] => (Verb::Lower, *field),
        _ => bail!(
            "template action \"{{{{{body}}}}}\" is not supported: use {{{{.Field}}}}, \
             {{{{json .Field}}}}, {{{{upper .Field}}}} or {{{{lower .Field}}}}"
        ),
    };
    let Some(path) = field.strip_prefix('.') else {
        bail!("template field \"{field}\" must begin with a dot, as in {{{{.{field}}}}}");
    };
    let path = path.split('.').filter(|p| !p.is_empty()).map(str::to_owned).collect();
    Ok(Part::Value(verb, path))
}

fn find<'a>(object: &'a Value, path: &[String]) -> Result<&'a Value> {
    let mut value = object;
    for key in path {
        value = match value.get(key) {
            Some(inner) => inner,
            None => bail!("template: no field \"{key}\"{}", known(value)),
        };
    }
    Ok(value)
}

fn known(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let names: Vec<&str> = shown(map).map(|(k, _)| k.as_str()).collect();
            format!(" (there are: {})", names.join(", "))
        }
        _ => String::new(),
    }
}

/// Fields whose name begins with an underscore serve the table only.
fn shown(map: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    map.iter().filter(|(key, _)| !key.starts_with('_'))
}

fn written(verb: Verb, value: &Value) -> String {
    let plain = || match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    match verb {
        Verb::Plain => plain(),
        Verb::Upper => plain().to_uppercase(),
        Verb::Lower => plain().to_lowercase(),
        Verb::Json => match value {
            Value::Object(map) => {
                let fields: Map<String, Value> =
                    shown(map).map(|(k, v)| (k.clone(), v.clone())).collect();
                Value::Object(fields).to_string()
            }
            other => other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(source: &str, object: &Value) -> String {
        Template::parse(source).unwrap().render(object).unwrap()
    }

    #[test]
    fn fields_paths_and_escapes_are_filled_in() {
        let object = json!({"ID": "x", "Spec": {"Name": "web", "N": 3}, "_hidden": 1});
        assert_eq!(render("{{.ID}}\\t{{ .Spec.Name }}!", &object), "x\tweb!");
        assert_eq!(render("{{upper .Spec.Name}} {{.Spec.N}}", &object), "WEB 3");
        assert_eq!(render("{{json .Spec.Name}}", &object), "\"web\"");
        assert_eq!(render("{{json .}}", &object), r#"{"ID":"x","Spec":{"N":3,"Name":"web"}}"#);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let error = Template::parse("{{range .X}}a{{end}}").unwrap_err().to_string();
        assert!(error.contains("{{range .X}}"), "{error}");
        assert!(Template::parse("{{.A").is_err());
        assert!(Template::parse("{{A}}").is_err());
    }

    #[test]
    fn an_unknown_field_is_named_with_those_that_exist() {
        let template = Template::parse("{{.Nmae}}").unwrap();
        let error = template.render(&json!({"Name": "x", "_y": 1})).unwrap_err().to_string();
        assert_eq!(error, "template: no field \"Nmae\" (there are: Name)");
    }
}
