//! An object's version only grows, and is never ahead of the tables that it is in.

use std::collections::BTreeMap;

use swarm_api::object::Stored;
use swarm_api::{Config, Secret, Service, Task};

use super::{Law, Look};

#[derive(Default)]
pub struct VersionMonotonic {
    /// Host and life, and each object's version there.
    versions: BTreeMap<usize, (u32, BTreeMap<String, u64>)>,
}

impl Law for VersionMonotonic {
    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        if look.digest.is_none() {
            return Ok(());
        }
        let (life, versions) = self.versions.entry(look.host).or_default();
        if *life != look.before.life {
            (*life, *versions) = (look.before.life, BTreeMap::new());
        }
        check::<Secret>(look, versions)?;
        check::<Config>(look, versions)?;
        check::<Service>(look, versions)?;
        check::<Task>(look, versions)
    }
}

fn check<T: Stored>(look: &Look<'_>, versions: &mut BTreeMap<String, u64>) -> Result<(), String> {
    for object in look.view.all::<T>() {
        let (id, version) = (object.id(), object.version());
        let before = versions.insert(id.to_owned(), version).unwrap_or(0);
        let name = look.host + 1;
        if version < before {
            return Err(format!(
                "version monotonic: {id} went back from version {before} to {version} on n{name}"
            ));
        }
        if version > look.view.version() {
            return Err(format!(
                "version monotonic: {id} has version {version} in the tables of version {} on \
                 n{name}",
                look.view.version()
            ));
        }
    }
    Ok(())
}
