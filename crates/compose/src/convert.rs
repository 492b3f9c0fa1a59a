//! From the merged tree to the specs of a stack (docker-swarm §6.2). Every key that the table
//! supports is read here, and no other.

mod attachment;
mod container;
mod deploy;
mod environment;
mod file;
mod health;
mod mode;
mod mount;
mod network;
mod resources;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use swarm_api::{Annotations, name};

pub use container::effective_capabilities;

use crate::files::Place;
use crate::node::{Entry, Node};
use crate::problem::{Problem, Report};
use crate::stack::{NAMESPACE_LABEL, Stack};
use crate::view::View;

/// Turns `root` into the stack `stack`; what is wrong is noted in `report`.
pub fn convert(root: &Node, stack: &str, place: &Place, report: &mut Report) -> Stack {
    let root = View::new(root, "");
    let used = BTreeSet::new();
    let mut converter = Converter { root, stack, place, report, used };
    let secrets = converter.secrets();
    let configs = converter.configs();
    let services = converter.services();
    let networks = converter.networks();
    converter.volumes();
    Stack { name: stack.to_owned(), networks, secrets, configs, services, warnings: Vec::new() }
}

/// The name in the cluster of a stack's network, secret, config or volume: its own, or
/// `<stack>_<key>`.
pub fn scoped_name(stack: &str, key: &str, own: Option<&str>) -> String {
    own.map_or_else(|| format!("{stack}_{key}"), str::to_owned)
}

struct Converter<'a> {
    root: View<'a>,
    stack: &'a str,
    place: &'a Place,
    report: &'a mut Report,
    /// Keys of the networks that services are attached to.
    used: BTreeSet<String>,
}

/// A network, secret, config or volume, as far as they are alike.
struct Named {
    name: String,
    external: bool,
    labels: BTreeMap<String, String>,
}

impl Named {
    fn annotations(&self) -> Annotations {
        Annotations { name: self.name.clone(), labels: self.labels.clone() }
    }
}

impl<'a> Converter<'a> {
    /// The object at `view`; `exclusive` are the keys that an external one must not have.
    fn named(&mut self, entry: &Entry, view: &View<'a>, exclusive: &[&str]) -> Named {
        if !view.node.is_null() {
            self.report.keep(view.entries());
        }
        let own = self.report.field(view, "name", View::text);
        let external = self.report.field(view, "external", View::boolean).unwrap_or(false);
        let mut labels = self.report.field(view, "labels", View::pairs).unwrap_or_default();
        if external {
            for key in exclusive.iter().filter(|key| view.get(key).is_some()) {
                self.wrong(
                    entry,
                    view,
                    format!("conflicting parameters \"external\" and \"{key}\" specified"),
                );
            }
            let name = own.unwrap_or_else(|| entry.key.clone());
            return Named { name, external, labels: BTreeMap::new() };
        }
        labels.insert(NAMESPACE_LABEL.to_owned(), self.stack.to_owned());
        let name = scoped_name(self.stack, &entry.key, own.as_deref());
        Named { name, external, labels }
    }

    /// Checks a name in the cluster.
    fn check_name(
        &mut self,
        entry: &Entry,
        view: &View<'_>,
        named: &Named,
        check: fn(&str) -> Result<(), name::NameError>,
    ) {
        if let Err(error) = check(&named.name) {
            self.wrong(entry, view, error);
        }
    }

    /// Notes a problem at a key.
    fn wrong(&mut self, entry: &Entry, view: &View<'_>, message: impl Display) {
        self.report.problems.push(Problem {
            at: Some(entry.at.clone()),
            path: view.path.clone(),
            message: message.to_string(),
        });
    }

    /// The top-level object `key` of `section`.
    fn top(&self, section: &str, key: &str) -> Option<View<'a>> {
        let section = self.root.get(section)?;
        let node = section.node.get(key)?;
        Some(section.child(key, node))
    }
}
