//! Back to a valid certificate after the old one has expired: the node proves that it still has the old one's key. Whether
//! it still is a member is for the managers to say.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rcgen::{KeyPair, SigningKey};
use tonic::transport::Channel;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::caller::{MANAGER_UNIT, Subject};
use crate::credentials::{anonymous_tls, connect_lazily};
use crate::trust::{Times, Trust, Verifier, chain_of};
use crate::{CaError, Identity};

/// Nothing else that a node signs begins like this.
const PURPOSE: &[u8] = b"swarm: recover the certificate of a node\0";

/// What an expired node's request says, as far as its certificate proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The node that the expired certificate names.
    pub node_id: String,
}

/// Signs the request `csr_der` with the key of `identity`.
pub fn prove(identity: &Identity, csr_der: &[u8]) -> Result<Vec<u8>, CaError> {
    let key =
        KeyPair::from_pem(&identity.key_pem).map_err(|e| CaError::malformed("node key", e))?;
    let key = Zeroizing::new(key);
    let text = text(&identity.cluster_id, csr_der);
    key.sign(&text).map_err(|e| CaError::malformed("proof of the node key", e))
}

/// Checks, apart from time, that `chain_pem` was issued by one of the roots in `roots_pem` to a node of `cluster_id`, and that
/// who asks has its key. It may be repeated by who saw it: what is issued is of use only to who has the request's new key.
pub fn check(
    chain_pem: &str,
    csr_der: &[u8],
    signature: &[u8],
    roots_pem: &str,
    cluster_id: &str,
) -> Result<Claim, CaError> {
    let chain = chain_of(chain_pem)?;
    let refused = |e: &dyn std::fmt::Display| CaError::malformed("expired certificate", e);
    Trust::of(roots_pem)?.verify_apart_from_time(&chain).map_err(|e| refused(&e))?;
    let leaf = chain.first().ok_or_else(|| refused(&"there is none"))?;
    let subject = Subject::of(leaf)?;
    if subject.cluster_id != cluster_id {
        return Err(refused(&format!("is of swarm {}, not {cluster_id}", subject.cluster_id)));
    }
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|e| refused(&e))?;
    let key = UnparsedPublicKey::new(
        &ECDSA_P256_SHA256_ASN1,
        parsed.public_key().subject_public_key.data.as_ref(),
    );
    key.verify(&text(cluster_id, csr_der), signature)
        .map_err(|_| refused(&"the request is not signed by its key"))?;
    Ok(Claim { node_id: subject.node_id })
}

/// A channel to a manager at `addr` for who has no valid certificate any more. The manager's own may have expired too: only
/// its signatures are checked, against the roots that `identity` trusts.
pub fn recovery_channel(addr: &str, identity: &Identity) -> Result<Channel, CaError> {
    let trust = identity.trust();
    let verifier = Verifier::new(trust, Times::Any, Some(&identity.cluster_id));
    let verifier = std::sync::Arc::new(verifier);
    connect_lazily(addr, MANAGER_UNIT, move || anonymous_tls(verifier.clone()))
}

fn text(cluster_id: &str, csr_der: &[u8]) -> Vec<u8> {
    [PURPOSE, cluster_id.as_bytes(), b"\0", csr_der].concat()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use swarm_api::NodeRole;

    use super::*;
    use crate::{Root, new_csr};

    fn expired(root: &Root, cluster: &str) -> Identity {
        let then = SystemTime::now() - Duration::from_secs(100 * 24 * 3600);
        let (key, csr) = new_csr().unwrap();
        let hour = Duration::from_secs(3600);
        let pem = root.issue(&csr, "n1", NodeRole::Worker, cluster, hour, then).unwrap();
        Identity::new(pem, key, root.certificate_pem().into()).unwrap()
    }

    #[test]
    fn an_expired_certificate_counts_with_its_key_and_only_for_what_was_asked() {
        let root = Root::generate("c1", SystemTime::now()).unwrap();
        let identity = expired(&root, "c1");
        let (_, csr) = new_csr().unwrap();
        let proof = prove(&identity, &csr).unwrap();
        let pem = root.certificate_pem();
        let check = |csr: &[u8], proof: &[u8], root: &str, cluster: &str| {
            check(&identity.certificate_pem, csr, proof, root, cluster)
        };
        assert_eq!(check(&csr, &proof, pem, "c1").unwrap(), Claim { node_id: "n1".into() });
        let (_, other) = new_csr().unwrap();
        assert!(check(&other, &proof, pem, "c1").is_err(), "of another request");
        assert!(check(&csr, &proof, pem, "c2").is_err(), "of another swarm");
        assert!(check(&csr, b"", pem, "c1").is_err(), "without proof");
        let stranger = Root::generate("c1", SystemTime::now()).unwrap();
        assert!(check(&csr, &proof, stranger.certificate_pem(), "c1").is_err(), "of another root");
        let thief = prove(&expired(&root, "c1"), &csr).unwrap();
        assert!(check(&csr, &thief, pem, "c1").is_err(), "with another key");
    }
}
