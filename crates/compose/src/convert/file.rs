//! Secrets and configs: their own sections, and the references of services.

use swarm_api::{ConfigReference, ConfigSpec, FileTarget, SecretReference, SecretSpec, name};

use super::{Converter, Named, mode};
use crate::files::read_bytes;
use crate::node::Entry;
use crate::problem::Problem;
use crate::stack::{StackConfig, StackSecret};
use crate::view::View;

/// A secret has fewer bytes than this (docker-swarm §1.5).
const SECRET_LIMIT: u64 = 500 << 10;
/// A config has fewer bytes than this.
const CONFIG_LIMIT: u64 = 1000 << 10;
/// What everybody may read.
const DEFAULT_MODE: u32 = 0o444;

/// Where a secret or config has its data from.
struct Kind {
    /// Its section.
    section: &'static str,
    /// The keys that name its data; an object has one of them.
    origins: &'static [&'static str],
    limit: u64,
}

const SECRET: Kind =
    Kind { section: "secrets", origins: &["file", "environment"], limit: SECRET_LIMIT };
const CONFIG: Kind =
    Kind { section: "configs", origins: &["file", "environment", "content"], limit: CONFIG_LIMIT };

impl<'a> Converter<'a> {
    /// All secrets with their data, sorted by key.
    pub fn secrets(&mut self) -> Vec<StackSecret> {
        let mut secrets: Vec<_> = self
            .objects(&SECRET)
            .into_iter()
            .map(|(key, named, data)| {
                let spec = SecretSpec { annotations: Some(named.annotations()), data };
                StackSecret { key, name: named.name, external: named.external, spec }
            })
            .collect();
        secrets.sort_by(|a, b| a.key.cmp(&b.key));
        secrets
    }

    /// All configs with their data, sorted by key.
    pub fn configs(&mut self) -> Vec<StackConfig> {
        let mut configs: Vec<_> = self
            .objects(&CONFIG)
            .into_iter()
            .map(|(key, named, data)| {
                let spec = ConfigSpec { annotations: Some(named.annotations()), data };
                StackConfig { key, name: named.name, external: named.external, spec }
            })
            .collect();
        configs.sort_by(|a, b| a.key.cmp(&b.key));
        configs
    }

    fn objects(&mut self, kind: &Kind) -> Vec<(String, Named, Vec<u8>)> {
        let mut objects = Vec::new();
        for (entry, view) in self.report.map(&self.root.clone(), kind.section) {
            let mut exclusive = kind.origins.to_vec();
            exclusive.push("labels");
            let named = self.named(entry, &view, &exclusive);
            self.check_name(entry, &view, &named, name::file);
            let data = match named.external {
                true => Vec::new(),
                false => self.data(kind, entry, &view),
            };
            objects.push((entry.key.clone(), named, data));
        }
        objects
    }

    fn data(&mut self, kind: &Kind, entry: &Entry, view: &View<'a>) -> Vec<u8> {
        let origins: Vec<&str> =
            kind.origins.iter().copied().filter(|key| view.get(key).is_some()).collect();
        let [origin] = origins.as_slice() else {
            let message = format!("want exactly one of {}, external", kind.origins.join(", "));
            self.wrong(entry, view, message);
            return Vec::new();
        };
        let read = |origin_view: &View<'a>| self.read(kind, origin, origin_view);
        let data = view.get(origin).map(|view| read(&view));
        data.and_then(|data| self.report.keep(data)).unwrap_or_default()
    }

    fn read(&self, kind: &Kind, origin: &str, view: &View<'a>) -> Result<Vec<u8>, Problem> {
        let text = view.str()?;
        let data = match origin {
            "file" => {
                let path = self.place.path(text);
                read_bytes(&path, kind.limit).map_err(|error| {
                    view.problem(format!("cannot read {}: {error}", path.display()))
                })?
            }
            "environment" => match self.place.env.get(text) {
                Some(value) => value.clone().into_bytes(),
                None => return Err(view.problem(format!("the variable {text} is not set"))),
            },
            _ => text.as_bytes().to_vec(),
        };
        match (1..kind.limit).contains(&(data.len() as u64)) {
            true => Ok(data),
            false => Err(view.problem(format!(
                "the data has {} bytes: must be larger than 0 and less than {}",
                data.len(),
                kind.limit
            ))),
        }
    }

    /// A service's secrets, sorted by file name.
    pub fn secret_references(&mut self, service: &View<'a>) -> Vec<SecretReference> {
        self.references(service, &SECRET)
            .into_iter()
            .map(|(secret_name, file)| SecretReference {
                secret_id: String::new(),
                secret_name,
                file: Some(file),
            })
            .collect()
    }

    /// A service's configs, sorted by file name.
    pub fn config_references(&mut self, service: &View<'a>) -> Vec<ConfigReference> {
        self.references(service, &CONFIG)
            .into_iter()
            .map(|(config_name, file)| ConfigReference {
                config_id: String::new(),
                config_name,
                file: Some(file),
            })
            .collect()
    }

    fn references(&mut self, service: &View<'a>, kind: &Kind) -> Vec<(String, FileTarget)> {
        let mut references: Vec<(String, FileTarget)> = Vec::new();
        for item in self.report.list(service, kind.section) {
            let reference = self.reference(&item, kind);
            let Some((name, file)) = self.report.keep(reference) else { continue };
            if references.iter().any(|(_, other)| other.name == file.name) {
                let message = format!("two of them have the target \"{}\"", file.name);
                self.report.problems.push(item.problem(message));
            }
            references.push((name, file));
        }
        references.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        references
    }

    fn reference(&mut self, item: &View<'a>, kind: &Kind) -> Result<(String, FileTarget), Problem> {
        item.entries()?;
        let source = item.get("source").ok_or_else(|| item.problem("source is required"))?;
        let key = source.str()?;
        let singular = kind.section.trim_end_matches('s');
        let object = self.top(kind.section, key);
        let object =
            object.ok_or_else(|| source.problem(format!("undefined {singular} \"{key}\"")))?;
        let own = object.get("name").map(|name| name.text()).transpose()?;
        let external = object.get("external").map(|e| e.boolean()).transpose()?.unwrap_or(false);
        let name = match external {
            true => own.unwrap_or_else(|| key.to_owned()),
            false => super::scoped_name(self.stack, key, own.as_deref()),
        };
        let target = self.report.field(item, "target", View::text);
        let mode = self.report.field(item, "mode", mode::parse);
        let mut owner =
            |key| self.report.field(item, key, View::text).unwrap_or_else(|| "0".into());
        let file = FileTarget {
            name: target.unwrap_or_else(|| key.to_owned()),
            uid: owner("uid"),
            gid: owner("gid"),
            mode: mode.unwrap_or(DEFAULT_MODE),
        };
        mode::warn_if_decimal(item, self.report);
        Ok((name, file))
    }
}
