//! The beginning of a root rotation; it goes on in `rotation`.

use swarm_api::*;
use swarm_ca::Root;

use super::{Door, cluster, cluster::missing, material::expect_version, redact};
use crate::refusal::Refusal;
use crate::rotation;

pub async fn rotate(
    door: &Door,
    request: RotateRootCaRequest,
) -> Result<RotateRootCaResponse, Refusal> {
    let now = door.clock.now();
    let given = match (request.certificate_pem.as_str(), request.key_pem.as_str()) {
        ("", "") => None,
        (_, "") => return Err(Refusal::Invalid("a CA certificate needs its CA key".into())),
        ("", _) => return Err(Refusal::Invalid("a CA key needs its CA certificate".into())),
        (certificate, key) => Some(Root::adopt(certificate, key, now).map_err(invalid)?),
    };
    let cluster = door
        .change::<Cluster>(cluster::NAME, |tx| {
            let mut cluster = tx.view().cluster().cloned().ok_or_else(missing)?;
            let id = cluster.id.clone();
            let new = match &given {
                Some(root) => root.clone(),
                None => Root::generate(&id, now).map_err(internal)?,
            };
            rotation::begin(&mut cluster, &new, now)?;
            expect_version(&mut cluster, request.version);
            tx.update(cluster)?;
            Ok(id)
        })
        .await?;
    Ok(RotateRootCaResponse { cluster: Some(redact::cluster(cluster)) })
}

fn invalid(error: swarm_ca::CaError) -> Refusal {
    Refusal::Invalid(error.to_string())
}

fn internal(error: swarm_ca::CaError) -> Refusal {
    Refusal::Internal(error.to_string())
}
