//! A secret as JSON: never its data.

use serde_json::Value;
use swarm_api::Secret;

use super::{Doc, head, map};

/// `secret inspect`.
pub fn secret(secret: &Secret) -> Value {
    let annotations = secret.spec.as_ref().and_then(|s| s.annotations.clone()).unwrap_or_default();
    let spec = Doc::default()
        .set("Name", annotations.name)
        .set("Labels", map(&annotations.labels))
        .build();
    head(&secret.id, secret.meta.as_ref()).set("Spec", spec).build()
}
