//! Whether what a spec names is there. The door sees to it for specs that come in; this is for one that was kept and is to
//! be used again.

use swarm_api::{Config, Secret, ServiceSpec, name};

use super::draft::Draft;

/// The first secret, config or network of the spec that is gone, in words.
pub(super) fn missing(draft: &Draft<'_>, spec: &ServiceSpec) -> Option<String> {
    let task = spec.task.as_ref()?;
    let networks = task.networks.iter().map(|n| n.target.as_str());
    let mut networks = networks.filter(|id| !name::is_node_network(id));
    if let Some(id) = networks.find(|id| draft.network(id).is_none()) {
        return Some(format!("network {id} is gone"));
    }
    let container = task.container.as_ref()?;
    let view = draft.view;
    let secret = container.secrets.iter().find(|s| view.get::<Secret>(&s.secret_id).is_none());
    let config = container.configs.iter().find(|c| view.get::<Config>(&c.config_id).is_none());
    let secret = secret.map(|s| format!("secret {} is gone", s.secret_name));
    secret.or_else(|| config.map(|c| format!("config {} is gone", c.config_name)))
}
