//! What secrets and configs have in common: a name that becomes a file name, bounded data that never changes, and services
//! that hold on to them.

use swarm_api::object::Stored;
use swarm_api::{Annotations, Config, Secret, Service, ServiceSpec, UpdateState, Version, name};
use swarm_raft_store::View;

use super::Door;
use crate::object_id;
use crate::refusal::Refusal;

/// A secret or a config.
pub trait Material: Stored {
    /// Data must be smaller than this, bytes.
    const LIMIT: usize;

    /// Annotations and data of its spec.
    fn parts(&self) -> Option<(&Annotations, &[u8])>;
    /// Its annotations, to change them.
    fn annotations_mut(&mut self) -> Option<&mut Annotations>;
    /// Names of the services that use it.
    fn users(view: &View, id: &str) -> Vec<String>;
}

macro_rules! material {
    ($type:ident, $limit:expr, $users:ident, $refs:ident, $id:ident) => {
        impl Material for $type {
            const LIMIT: usize = $limit;

            fn parts(&self) -> Option<(&Annotations, &[u8])> {
                let spec = self.spec.as_ref()?;
                Some((spec.annotations.as_ref()?, &spec.data))
            }
            fn annotations_mut(&mut self) -> Option<&mut Annotations> {
                self.spec.as_mut()?.annotations.as_mut()
            }
            fn users(view: &View, id: &str) -> Vec<String> {
                let held = |spec: &ServiceSpec| {
                    let container = spec.task.as_ref().and_then(|t| t.container.as_ref());
                    container.is_some_and(|c| c.$refs.iter().any(|r| r.$id == id))
                };
                users(view.$users(id), view, held)
            }
        }
    };
}

material!(Secret, 500 << 10, services_using_secret, secrets, secret_id);
material!(Config, 1000 << 10, services_using_config, configs, config_id);

/// Names of the services that use something: `now`, and those whose update may yet return to a spec that `held` it.
pub fn users<'a>(
    now: impl Iterator<Item = &'a Service>,
    view: &'a View,
    held: impl Fn(&ServiceSpec) -> bool,
) -> Vec<String> {
    let mut names: Vec<String> = now.map(|s| s.name().to_owned()).collect();
    for service in view.all::<Service>().filter(|s| is_updating(s)) {
        let name = service.name();
        if service.previous_spec.as_ref().is_some_and(&held) && !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Tasks of its previous spec may still be there, and be restarted.
fn is_updating(service: &Service) -> bool {
    let state = service.update_status.as_ref().map_or(UpdateState::UpdateNone, |s| s.state());
    !matches!(
        state,
        UpdateState::UpdateNone | UpdateState::UpdateCompleted | UpdateState::RollbackCompleted
    )
}

/// Stores a new one; a retry with the same request id finds the first.
pub async fn create<T: Material>(
    door: &Door,
    request_id: &str,
    make: impl FnOnce(String) -> T,
) -> Result<T, Refusal> {
    let id = object_id::of_request(request_id);
    let new = make(id.clone());
    validate(&new)?;
    door.write_once(|tx| match tx.view().get::<T>(&id) {
        Some(_) => Ok(()),
        None => Ok(tx.create(new.clone())?),
    })
    .await?;
    door.written(&id)
}

fn validate<T: Material>(new: &T) -> Result<(), Refusal> {
    let missing = || Refusal::Invalid(format!("a {} needs a name", T::NOUN));
    let (annotations, data) = new.parts().ok_or_else(missing)?;
    name::file(&annotations.name).map_err(|e| Refusal::Invalid(e.to_string()))?;
    if data.is_empty() || data.len() >= T::LIMIT {
        return Err(Refusal::Invalid(format!(
            "{noun} data must be larger than 0 and less than {limit} bytes: {noun} {name} has \
             {have}",
            noun = T::NOUN,
            limit = T::LIMIT,
            name = annotations.name,
            have = data.len()
        )));
    }
    Ok(())
}

/// Replaces the labels, the only thing that may change.
pub async fn update<T: Material>(
    door: &Door,
    id: &str,
    version: Option<Version>,
    wanted: Option<T>,
) -> Result<T, Refusal> {
    let missing = || Refusal::Invalid(format!("the update of {} {id} carries no spec", T::NOUN));
    let wanted = wanted.ok_or_else(missing)?;
    door.change(id, |tx| {
        let mut stored = tx.view().resolve::<T>(id)?.clone();
        let (have, want) = (stored.parts(), wanted.parts());
        let only_labels = match (have, want) {
            (Some((have, data)), Some((want, new))) => {
                have.name == want.name && (new.is_empty() || new == data)
            }
            _ => false,
        };
        if !only_labels {
            let text = format!("{} {}: only updates to labels are allowed", T::NOUN, stored.name());
            return Err(Refusal::Invalid(text));
        }
        let labels = want.map(|(want, _)| want.labels.clone()).unwrap_or_default();
        if let Some(annotations) = stored.annotations_mut() {
            annotations.labels = labels;
        }
        expect_version(&mut stored, version);
        let id = stored.id().to_owned();
        tx.update(stored)?;
        Ok(id)
    })
    .await
}

/// Makes the write fail unless the client saw the newest version.
pub fn expect_version<T: Stored>(object: &mut T, version: Option<Version>) {
    if let (Some(version), Some(meta)) = (version, object.meta_mut().as_mut()) {
        meta.version = Some(version);
    }
}

/// Removes it unless a service uses it.
pub async fn remove<T: Material>(door: &Door, reference: &str) -> Result<(), Refusal> {
    let removed = door.write_once(|tx| {
        let stored = tx.view().resolve::<T>(reference)?;
        let (id, name) = (stored.id().to_owned(), stored.name().to_owned());
        let users = T::users(tx.view(), &id);
        if !users.is_empty() {
            return Err(Refusal::Conflict(format!(
                "{} '{name}' is in use by the following service(s): {}",
                T::NOUN,
                users.join(", ")
            )));
        }
        Ok(tx.remove::<T>(&id)?)
    });
    removed.await.map(|_| ())
}
