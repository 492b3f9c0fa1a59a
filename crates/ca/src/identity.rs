//! A node's own identity: key and certificate in one file of its state folder, so that a crash never leaves a key beside the
//! certificate of another, and the root it trusts in a second.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use swarm_api::{NodeRole, NodeTlsInfo};
use zeroize::Zeroizing;

use crate::caller::Subject;
use crate::root::BACKDATE;
use crate::trust::{MAX_SKEW, Trust, chain_of, offset};
use crate::{CaError, WrapKey};

const CERTIFICATE: &str = "node certificate";
const NODE_FILE: &str = "swarm-node.pem";
const ROOT_FILE: &str = "swarm-root-ca.crt";
const CERTIFICATE_START: &str = "-----BEGIN CERTIFICATE-----";
const LOCKED_START: &str = "-----BEGIN SWARM LOCKED KEY-----";
const LOCKED_END: &str = "-----END SWARM LOCKED KEY-----";
/// What the wrapped key is.
const KEY_CONTEXT: &str = "node tls key";

/// A new key and the request to certify it: (key PEM, request DER).
pub fn new_csr() -> Result<(Zeroizing<String>, Vec<u8>), CaError> {
    let key = KeyPair::generate().map_err(|e| CaError::malformed("node key", e))?;
    let key = Zeroizing::new(key);
    let request = CertificateParams::default()
        .serialize_request(&*key)
        .map_err(|e| CaError::malformed("certificate request", e))?;
    Ok((Zeroizing::new(key.serialize_pem()), request.der().to_vec()))
}

/// Who this node is, and how it proves it.
#[derive(Clone)]
pub struct Identity {
    /// Common name of the certificate.
    pub node_id: String,
    /// Organisational unit.
    pub role: NodeRole,
    /// Organisation.
    pub cluster_id: String,
    /// Chain, leaf first.
    pub certificate_pem: String,
    /// PKCS#8.
    pub key_pem: Zeroizing<String>,
    /// The trusted roots: one, or the present and the coming one.
    pub root_pem: String,
    /// Start of validity.
    pub not_before: SystemTime,
    /// End of validity.
    pub not_after: SystemTime,
    /// When this node received it, by its own clock.
    pub received_at: SystemTime,
    certified: Arc<CertifiedKey>,
    trust: Arc<Trust>,
}

impl Identity {
    /// From what a manager issued for `key_pem`.
    pub fn new(
        certificate_pem: String,
        key_pem: Zeroizing<String>,
        root_pem: String,
    ) -> Result<Self, CaError> {
        let certified = certified(&certificate_pem, &key_pem)?;
        let leaf = certified.end_entity_cert().map_err(|e| CaError::malformed(CERTIFICATE, e))?;
        let subject = Subject::of(leaf)?;
        let trust = Trust::of(&root_pem)?;
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0));
        let not_before = at(subject.not_before);
        Ok(Self {
            node_id: subject.node_id,
            role: subject.role,
            cluster_id: subject.cluster_id,
            certificate_pem,
            key_pem,
            root_pem,
            not_before,
            not_after: at(subject.not_after),
            received_at: not_before + BACKDATE,
            certified: Arc::new(certified),
            trust: Arc::new(trust),
        })
    }

    /// The same, received at `local` by this node's clock: how far that differs from the managers' is known from then on.
    #[must_use]
    pub fn received(mut self, local: SystemTime) -> Self {
        self.received_at = local;
        self
    }

    /// The same identity with other trusted roots.
    pub fn with_roots(&self, root_pem: &str) -> Result<Self, CaError> {
        let trust = Arc::new(Trust::of(root_pem)?);
        Ok(Self { root_pem: root_pem.to_owned(), trust, ..self.clone() })
    }

    /// What a manager gave in answer to this node's request, if it is what was asked for: the same node in the same cluster,
    /// certified under a root that it was told to trust.
    pub fn succeeded_by(&self, next: Identity) -> Result<Identity, CaError> {
        if (&next.node_id, &next.cluster_id) != (&self.node_id, &self.cluster_id) {
            let text = format!(
                "it is for node {} of swarm {}, this is node {} of swarm {}",
                next.node_id, next.cluster_id, self.node_id, self.cluster_id
            );
            return Err(CaError::malformed(CERTIFICATE, text));
        }
        let unknown = |e| CaError::malformed(CERTIFICATE, e);
        next.trust.verify_apart_from_time(&next.certified.cert).map_err(unknown)?;
        Ok(next)
    }

    /// When it was issued, by the manager's clock.
    pub fn issued_at(&self) -> SystemTime {
        self.not_before + BACKDATE
    }

    /// When it is to be renewed: `share` of its life after it was received, by this node's clock.
    pub fn age_at(&self, share: f64) -> SystemTime {
        let life = self.not_after.duration_since(self.issued_at()).unwrap_or_default();
        // A file that was copied seems to be younger than it is.
        self.received_at.min(self.issued_at() + MAX_SKEW) + life.mul_f64(share)
    }

    /// Whether it has expired, as this node sees it at `local`.
    pub fn is_expired(&self, local: SystemTime) -> bool {
        let ahead = self.clock_offset();
        let beyond = Duration::from_secs(ahead.unsigned_abs());
        let end = if ahead < 0 { self.not_after - beyond } else { self.not_after + beyond };
        local > end
    }

    /// Seconds by which this node's clock was ahead of the managers' when the certificate came.
    pub(crate) fn clock_offset(&self) -> i64 {
        offset(self.received_at, self.issued_at())
    }

    /// What the managers are told of it.
    pub fn tls_info(&self) -> NodeTlsInfo {
        NodeTlsInfo { trust_roots: self.trust.digests(), issuer: self.issuer() }
    }

    /// Digest of the trusted root whose own key signed the certificate; empty if it is none of them.
    pub fn issuer(&self) -> String {
        let leaf = self.certified.cert.first();
        leaf.and_then(|leaf| self.trust.issuer(leaf)).unwrap_or_default()
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    pub(crate) fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.trust)
    }

    /// Reads it from `dir`; `None` if this node has none yet. A locked key is an error.
    pub fn load(dir: &Path) -> Result<Option<Self>, CaError> {
        match Self::load_locked(dir, &[])? {
            Some(Kept::Open(identity)) => Ok(Some(*identity)),
            Some(Kept::Locked(_)) => Err(CaError::Locked),
            None => Ok(None),
        }
    }

    /// Reads it from `dir`, where its key may be wrapped under one of `keys`.
    pub fn load_locked(dir: &Path, keys: &[WrapKey]) -> Result<Option<Kept>, CaError> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|source| CaError::File { path, source })
        };
        let node = match read(NODE_FILE).map(Zeroizing::new) {
            Err(CaError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            other => other?,
        };
        let malformed = || CaError::malformed("node identity", "want a key and a certificate");
        let (key, certificate) = node.split_once(CERTIFICATE_START).ok_or_else(malformed)?;
        let certificate = format!("{CERTIFICATE_START}{certificate}");
        let root = read(ROOT_FILE)?;
        let path = dir.join(NODE_FILE);
        let written = fs::metadata(&path).and_then(|m| m.modified());
        let written = written.map_err(|source| CaError::File { path, source })?;
        let open = |key: Zeroizing<String>| {
            let identity = Self::new(certificate.clone(), key, root.clone())?;
            Ok(Some(Kept::Open(Box::new(identity.received(written)))))
        };
        let Some(wrapped) = unarmour(key) else {
            return open(Zeroizing::new(key.to_owned()));
        };
        let wrapped = wrapped?;
        let opened = keys.iter().find_map(|k| k.open(KEY_CONTEXT, &wrapped).ok());
        let Some(key) = opened else {
            return Nameplate::of(&certificate).map(|plate| Some(Kept::Locked(plate)));
        };
        let malformed = |e| CaError::malformed("node key", e);
        open(Zeroizing::new(String::from_utf8(key.to_vec()).map_err(malformed)?))
    }

    /// Writes the trusted roots alone: the certificate stays as old as it is.
    pub fn save_roots(&self, dir: &Path) -> Result<(), CaError> {
        let path = dir.join(ROOT_FILE);
        let written = write_atomic(dir, &path, self.root_pem.as_bytes(), 0o644);
        written.map_err(|source| CaError::File { path, source })
    }

    /// Writes it to `dir`, the root first: without the other file it does not count.
    pub fn save(&self, dir: &Path) -> Result<(), CaError> {
        self.save_locked(dir, None)
    }

    /// As [`Self::save`], its key wrapped under `key`.
    pub fn save_locked(&self, dir: &Path, key: Option<&WrapKey>) -> Result<(), CaError> {
        let failed = |path: &Path, source| CaError::File { path: path.to_owned(), source };
        fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
        let key = match key {
            Some(key) => Zeroizing::new(armour(&key.wrap(KEY_CONTEXT, self.key_pem.as_bytes())?)),
            None => self.key_pem.clone(),
        };
        let node = Zeroizing::new(format!("{}{}", *key, self.certificate_pem));
        for (name, text, mode) in
            [(ROOT_FILE, self.root_pem.as_str(), 0o644), (NODE_FILE, node.as_str(), 0o600)]
        {
            let path = dir.join(name);
            write_atomic(dir, &path, text.as_bytes(), mode).map_err(|e| failed(&path, e))?;
        }
        Ok(())
    }
}

/// An identity as it lies on the disk.
#[derive(Debug)]
pub enum Kept {
    /// Ready to be used.
    Open(Box<Identity>),
    /// Its key is wrapped under another key than those given.
    Locked(Nameplate),
}

/// What a certificate says of its node, whoever has the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nameplate {
    /// Common name of the certificate.
    pub node_id: String,
    /// Organisational unit.
    pub role: NodeRole,
    /// Organisation.
    pub cluster_id: String,
}

impl Nameplate {
    fn of(certificate_pem: &str) -> Result<Self, CaError> {
        let chain = chain_of(certificate_pem)?;
        let leaf = chain.first().ok_or_else(|| CaError::malformed(CERTIFICATE, "there is none"))?;
        let Subject { node_id, role, cluster_id, .. } = Subject::of(leaf)?;
        Ok(Self { node_id, role, cluster_id })
    }
}

/// A wrapped key as text, so that it stands where a key does.
fn armour(wrapped: &[u8]) -> String {
    format!("{LOCKED_START}\n{}\n{LOCKED_END}\n", STANDARD_NO_PAD.encode(wrapped))
}

/// The wrapped key in `text`; `None` if it is no wrapped one.
fn unarmour(text: &str) -> Option<Result<Vec<u8>, CaError>> {
    let (_, rest) = text.split_once(LOCKED_START)?;
    let body = rest.split_once(LOCKED_END).map_or(rest, |(body, _)| body);
    let decoded = STANDARD_NO_PAD.decode(body.trim());
    Some(decoded.map_err(|e| CaError::malformed("locked node key", e)))
}

/// Chain and key as connections use them. The key's encoding is wiped once it is read.
fn certified(certificate_pem: &str, key_pem: &str) -> Result<CertifiedKey, CaError> {
    let chain = chain_of(certificate_pem)?;
    let der = PrivateKeyDer::from_pem_slice(key_pem.as_bytes());
    // The parser's own words could repeat what it read.
    let der = der.map_err(|_| CaError::malformed("node key", "want a private key in PEM"))?;
    let der = Zeroizing::new(der);
    let key = any_supported_type(&der).map_err(|e| CaError::malformed("node key", e))?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|e| CaError::malformed(CERTIFICATE, e))?;
    Ok(certified)
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("node_id", &self.node_id)
            .field("role", &self.role)
            .field("cluster_id", &self.cluster_id)
            .finish_non_exhaustive()
    }
}

/// A reader finds the old file or the new one, also after a power cut.
fn write_atomic(dir: &Path, path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
    let part = path.with_extension("part");
    let _ = fs::remove_file(&part);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
    file.write_all(data)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
