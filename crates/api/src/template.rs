//! Placeholders in a service's environment values, hostname and mounts: `{{.Task.Slot}}`, `{{.Node.Hostname}}`,
//! `{{index .Service.Labels "k"}}`. The door checks them when a service is made; the agent fills them in per task.
//!
//! Only look-ups are known: no pipelines, conditions or functions but `index`.

use std::collections::BTreeMap;

/// What the placeholders can name.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// `.Service.ID`
    pub service_id: String,
    /// `.Service.Name`
    pub service_name: String,
    /// `.Service.Labels`
    pub service_labels: BTreeMap<String, String>,
    /// `.Task.ID`
    pub task_id: String,
    /// `.Task.Name`
    pub task_name: String,
    /// `.Task.Slot`: the slot, or the node's id for a global service.
    pub task_slot: String,
    /// `.Node.ID`
    pub node_id: String,
    /// `.Node.Hostname`
    pub node_hostname: String,
    /// `.Node.Platform.OS`
    pub os: String,
    /// `.Node.Platform.Architecture`
    pub architecture: String,
}

/// Why a template cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{{` without its `}}`.
    #[error("invalid template \"{0}\": a placeholder is not closed")]
    Unclosed(String),
    /// Not a placeholder that exists.
    #[error(
        "unknown placeholder {{{{{0}}}}}: want .Service.ID, .Service.Name, .Service.Labels, \
         .Node.ID, .Node.Hostname, .Node.Platform.OS, .Node.Platform.Architecture, .Task.ID, \
         .Task.Name or .Task.Slot"
    )]
    Unknown(String),
}

/// Fills in every placeholder of `template`.
pub fn expand(template: &str, context: &Context) -> Result<String, TemplateError> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let unclosed = || TemplateError::Unclosed(template.to_owned());
        let (inside, following) = after.split_once("}}").ok_or_else(unclosed)?;
        out.push_str(before);
        out.push_str(&context.value(inside.trim())?);
        rest = following;
    }
    out.push_str(rest);
    Ok(out)
}

/// Fills in the value of `NAME=VALUE`; the name is left as it is.
pub fn expand_env(entry: &str, context: &Context) -> Result<String, TemplateError> {
    match entry.split_once('=') {
        Some((name, value)) => Ok(format!("{name}={}", expand(value, context)?)),
        None => Ok(entry.to_owned()),
    }
}

impl Context {
    fn value(&self, placeholder: &str) -> Result<String, TemplateError> {
        if let Some(arguments) = placeholder.strip_prefix("index ") {
            return self.index(arguments.trim(), placeholder);
        }
        let value = match placeholder {
            ".Service.ID" => &self.service_id,
            ".Service.Name" => &self.service_name,
            ".Task.ID" => &self.task_id,
            ".Task.Name" => &self.task_name,
            ".Task.Slot" => &self.task_slot,
            ".Node.ID" => &self.node_id,
            ".Node.Hostname" => &self.node_hostname,
            ".Node.Platform.OS" => &self.os,
            ".Node.Platform.Architecture" => &self.architecture,
            ".Service.Labels" => return Ok(self.labels()),
            _ => match placeholder.strip_prefix(".Service.Labels.") {
                Some(key) => return Ok(self.label(key)),
                None => return Err(TemplateError::Unknown(placeholder.to_owned())),
            },
        };
        Ok(value.clone())
    }

    fn index(&self, arguments: &str, whole: &str) -> Result<String, TemplateError> {
        let unknown = || TemplateError::Unknown(whole.to_owned());
        let key = arguments.strip_prefix(".Service.Labels").ok_or_else(unknown)?.trim();
        let quoted = |q| key.strip_prefix(q).and_then(|k: &str| k.strip_suffix(q));
        quoted('"').or_else(|| quoted('`')).map(|k| self.label(k)).ok_or_else(unknown)
    }

    fn label(&self, key: &str) -> String {
        // What Go's templates print for a key that a map lacks.
        self.service_labels.get(key).cloned().unwrap_or_else(|| "<no value>".into())
    }

    /// As Go prints a map: `map[a:1 b:2]`.
    fn labels(&self) -> String {
        let pairs: Vec<String> =
            self.service_labels.iter().map(|(k, v)| format!("{k}:{v}")).collect();
        format!("map[{}]", pairs.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context {
            service_name: "web".into(),
            service_labels: [("tier".to_owned(), "front".to_owned())].into(),
            task_slot: "10".into(),
            node_hostname: "edge".into(),
            ..Context::default()
        }
    }

    #[test]
    fn placeholders_are_filled_in() {
        let filled = expand("{{.Service.Name}}-{{ .Task.Slot }}@{{.Node.Hostname}}", &context());
        assert_eq!(filled.unwrap(), "web-10@edge");
        let label = expand("{{index .Service.Labels \"tier\"}}", &context());
        assert_eq!(label.unwrap(), "front");
    }

    #[test]
    fn only_the_value_of_a_variable_is_filled_in() {
        let entry = expand_env("{{.NotExpanded}}=x{{.Task.Slot}}", &context());
        assert_eq!(entry.unwrap(), "{{.NotExpanded}}=x10");
    }

    #[test]
    fn what_does_not_exist_is_refused_by_name() {
        let error = expand("{{.Task.Colour}}", &context()).unwrap_err();
        assert_eq!(error, TemplateError::Unknown(".Task.Colour".into()));
        assert!(expand("{{.Task.ID", &context()).is_err());
    }
}
