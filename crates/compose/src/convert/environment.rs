//! A service's environment and its containers' labels: what the file says over what its env files
//! say.

use std::collections::BTreeMap;
use std::io;

use swarm_api::template::{self, Context, TemplateError};

use super::Converter;
use crate::dotenv;
use crate::files::read_text;
use crate::problem::Problem;
use crate::view::View;

type Variables = BTreeMap<String, Option<String>>;

impl<'a> Converter<'a> {
    /// `KEY=value`, sorted; a key without any value stands alone.
    pub fn environment(&mut self, service: &View<'a>) -> Vec<String> {
        let mut variables = Variables::new();
        for item in self.report.list(service, "env_file") {
            let lines = self.env_file(&item);
            variables.extend(self.report.keep(lines).unwrap_or_default());
        }
        for (entry, view) in self.report.map(service, "environment") {
            let value = match entry.node.is_null() {
                true => self.place.env.get(&entry.key).cloned(),
                false => self.report.keep(view.text()),
            };
            let line = format!("{}={}", entry.key, value.as_deref().unwrap_or_default());
            if let Err(error) = template::expand_env(&line, &Context::default()) {
                // The whole value may be a password.
                let message = match error {
                    TemplateError::Unclosed(_) => "a placeholder {{ is not closed".to_owned(),
                    error => error.to_string(),
                };
                self.report.problems.push(view.problem(message));
            }
            variables.insert(entry.key.clone(), value);
        }
        let line = |(key, value): (String, Option<String>)| match value {
            Some(value) => format!("{key}={value}"),
            None => key,
        };
        variables.into_iter().map(line).collect()
    }

    fn env_file(&mut self, item: &View<'a>) -> Result<Variables, Problem> {
        item.entries()?;
        let path = item.get("path").ok_or_else(|| item.problem("path is required"))?;
        let required = item.get("required").map(|r| r.boolean()).transpose()?.unwrap_or(true);
        let raw = item.get("format").map(|f| f.choice(&[("raw", ())])).transpose()?.is_some();
        self.lines(&path, required, raw)
    }

    fn lines(&self, view: &View<'a>, required: bool, raw: bool) -> Result<Variables, Problem> {
        let path = self.place.path(view.str()?);
        let shown = path.display();
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(error) if !required && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Variables::new());
            }
            Err(error) => return Err(view.problem(format!("cannot read {shown}: {error}"))),
        };
        let parsed = match raw {
            true => dotenv::parse_raw(&text),
            false => dotenv::parse(&text, &self.place.env),
        };
        let lines = parsed.map_err(|error| view.problem(format!("{shown}: {error}")))?;
        let env = &self.place.env;
        let valued = lines.into_iter().map(|(key, value)| {
            let value = value.or_else(|| env.get(&key).cloned());
            (key, value)
        });
        Ok(valued.collect())
    }

    /// `labels` over `label_file`.
    pub fn container_labels(&mut self, service: &View<'a>) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for item in self.report.list(service, "label_file") {
            let lines = self.lines(&item, true, false);
            let lines = self.report.keep(lines).unwrap_or_default();
            labels.extend(lines.into_iter().map(|(key, value)| (key, value.unwrap_or_default())));
        }
        labels.extend(self.report.field(service, "labels", View::pairs).unwrap_or_default());
        labels
    }
}
