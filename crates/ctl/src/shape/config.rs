//! A config as JSON; its data in base 64, as the incumbent has it.

use serde_json::Value;
use swarm_api::Config;

use super::{Doc, head, map};

/// `config inspect`.
pub fn config(config: &Config) -> Value {
    let spec = config.spec.clone().unwrap_or_default();
    let annotations = spec.annotations.unwrap_or_default();
    let spec = Doc::default()
        .set("Name", annotations.name)
        .set("Labels", map(&annotations.labels))
        .set("Data", base64(&spec.data))
        .build();
    head(&config.id, config.meta.as_ref()).set("Spec", spec).build()
}

fn base64(data: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(data)
}
