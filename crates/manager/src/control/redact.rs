//! What no answer may carry: secret data, the roots' keys and the managers' keys.

use swarm_api::object::Stored;
use swarm_api::{Cluster, Object, Secret};

/// Without its data.
pub fn secret(mut secret: Secret) -> Secret {
    if let Some(spec) = &mut secret.spec {
        spec.data.clear();
    }
    secret
}

/// Without the keys of its root, of the coming one, and of the managers. Join tokens stay: operators may see them.
pub fn cluster(mut cluster: Cluster) -> Cluster {
    if let Some(root) = &mut cluster.root_ca {
        root.key_pem.clear();
        if let Some(rotation) = &mut root.rotation {
            rotation.key_pem.clear();
        }
    }
    cluster.custody = None;
    cluster
}

/// Whatever it is.
pub fn any(object: &Object) -> Object {
    if let Some(inner) = Secret::from_object(object) {
        return secret(inner.clone()).into_object();
    }
    if let Some(inner) = Cluster::from_object(object) {
        return cluster(inner.clone()).into_object();
    }
    object.clone()
}
