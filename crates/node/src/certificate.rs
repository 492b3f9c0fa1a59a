//! Keeps the node's certificate fresh: a new one in time, and at once when the node's role changes.

use std::time::{Duration, SystemTime};

use swarm_api::RenewCertificateRequest;
use swarm_api::node_ca_client::NodeCaClient;
use swarm_ca::{CaError, Credentials, Identity, new_csr};

use crate::state::StateDir;

/// A certificate is renewed somewhere in this part of its life, so that a cluster's nodes do not all come at once.
const RENEW_FROM: f64 = 0.5;
const RENEW_TO: f64 = 0.8;
/// A manager that does not answer by then is passed over.
const RENEW_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a certificate was not renewed; it is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// No manager gave one.
    #[error("no manager renewed the certificate: {0}")]
    Refused(String),
    /// It cannot be made or kept.
    #[error(transparent)]
    Ca(#[from] CaError),
}

/// When `identity` is to be renewed; `share` in 0…1 says where in the allowed part of its life.
pub fn renewal_time(identity: &Identity, share: f64) -> SystemTime {
    let life = identity.not_after.duration_since(identity.not_before).unwrap_or_default();
    identity.not_before + life.mul_f64(RENEW_FROM + (RENEW_TO - RENEW_FROM) * share)
}

/// Gets a certificate for the node's present role from one of `managers`, keeps it and uses it from now on.
pub async fn renew(
    credentials: &Credentials,
    state: &StateDir,
    managers: &[String],
) -> Result<(), RenewError> {
    let (key, csr_der) = new_csr()?;
    let mut reason = "no manager is known".to_owned();
    for addr in managers {
        let mut client = NodeCaClient::new(credentials.channel(addr)?);
        let request = RenewCertificateRequest { csr_der: csr_der.clone() };
        let answer = tokio::time::timeout(RENEW_TIMEOUT, client.renew_certificate(request)).await;
        match answer {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                let identity = Identity::new(answer.certificate_pem, key, answer.root_ca_pem)?;
                state.save_identity(&identity)?;
                credentials.replace(identity);
                return Ok(());
            }
            Ok(Err(status)) => reason = format!("{addr}: {}", status.message()),
            Err(_) => reason = format!("{addr}: no answer within {RENEW_TIMEOUT:?}"),
        }
    }
    Err(RenewError::Refused(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;
    use swarm_api::NodeRole;
    use swarm_ca::Root;

    #[test]
    fn a_certificate_is_renewed_in_the_second_half_of_its_life() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let root = Root::generate("c1", now).unwrap();
        let (key, csr) = new_csr().unwrap();
        let month = Duration::from_secs(30 * 24 * 3600);
        let pem = root.issue(&csr, "n1", NodeRole::Worker, "c1", month, now).unwrap();
        let identity = Identity::new(pem, key, root.certificate_pem().into()).unwrap();
        let (first, last) = (renewal_time(&identity, 0.0), renewal_time(&identity, 1.0));
        assert!(first > now && first < last && last < identity.not_after);
    }
}
