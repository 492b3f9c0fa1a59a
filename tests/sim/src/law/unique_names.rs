//! No two objects of a kind have the same name, and each is found by its own.

use std::collections::BTreeMap;

use swarm_api::object::Stored;
use swarm_api::{Config, Network, Secret, Service};
use swarm_raft_store::View;

use super::{Law, Look};

#[derive(Default)]
pub struct UniqueNames;

impl Law for UniqueNames {
    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        if look.digest.is_none() {
            return Ok(());
        }
        let found = check::<Secret>(look.view)
            .and_then(|()| check::<Config>(look.view))
            .and_then(|()| check::<Network>(look.view))
            .and_then(|()| check::<Service>(look.view));
        found.map_err(|reason| format!("unique names: on n{}: {reason}", look.host + 1))
    }
}

fn check<T: Stored>(view: &View) -> Result<(), String> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for object in view.all::<T>() {
        let (name, id) = (object.name(), object.id());
        if let Some(other) = owners.insert(name, id) {
            return Err(format!("{other} and {id} are both called {name}"));
        }
        match view.by_name::<T>(name) {
            Some(found) if found.id() == id => {}
            found => {
                let found = found.map(|f| f.id().to_owned());
                return Err(format!("{name} of {id} leads to {found:?}"));
            }
        }
    }
    Ok(())
}
