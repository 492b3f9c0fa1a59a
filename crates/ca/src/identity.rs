//! A node's own identity: key and certificate in one file of its state folder, so that a crash never leaves a key beside the
//! certificate of another, and the root it trusts in a second.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use swarm_api::NodeRole;
use zeroize::Zeroizing;

use crate::caller::Subject;
use crate::{CaError, WrapKey};

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
    let request = CertificateParams::default()
        .serialize_request(&key)
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
    /// The trusted root.
    pub root_pem: String,
    /// Start of validity.
    pub not_before: SystemTime,
    /// End of validity.
    pub not_after: SystemTime,
}

impl Identity {
    /// From what a manager issued for `key_pem`.
    pub fn new(
        certificate_pem: String,
        key_pem: Zeroizing<String>,
        root_pem: String,
    ) -> Result<Self, CaError> {
        let leaf = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|e| CaError::malformed("node certificate", e))?;
        let subject = Subject::of(&leaf)?;
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0));
        Ok(Self {
            node_id: subject.node_id,
            role: subject.role,
            cluster_id: subject.cluster_id,
            certificate_pem,
            key_pem,
            root_pem,
            not_before: at(subject.not_before),
            not_after: at(subject.not_after),
        })
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
        let Some(wrapped) = unarmour(key) else {
            let identity = Self::new(certificate, Zeroizing::new(key.to_owned()), root)?;
            return Ok(Some(Kept::Open(Box::new(identity))));
        };
        let wrapped = wrapped?;
        let opened = keys.iter().find_map(|k| k.open(KEY_CONTEXT, &wrapped).ok());
        let Some(key) = opened else {
            return Nameplate::of(&certificate).map(|plate| Some(Kept::Locked(plate)));
        };
        let malformed = |e| CaError::malformed("node key", e);
        let key = String::from_utf8(key.to_vec()).map_err(malformed)?;
        let identity = Self::new(certificate, Zeroizing::new(key), root)?;
        Ok(Some(Kept::Open(Box::new(identity))))
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
        let leaf = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|e| CaError::malformed("node certificate", e))?;
        let Subject { node_id, role, cluster_id, .. } = Subject::of(&leaf)?;
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
mod tests {
    use super::*;
    use crate::Root;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_identity_survives_a_restart_and_its_key_is_private() {
        let now = SystemTime::now();
        let root = Root::generate("c1", now).unwrap();
        let (key, csr) = new_csr().unwrap();
        let hour = Duration::from_secs(3600);
        let pem = root.issue(&csr, "n1", NodeRole::Worker, "c1", hour, now).unwrap();
        let identity = Identity::new(pem, key, root.certificate_pem().to_owned()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        assert!(Identity::load(dir.path()).unwrap().is_none());
        identity.save(dir.path()).unwrap();
        let loaded = Identity::load(dir.path()).unwrap().unwrap();
        assert_eq!((loaded.node_id.as_str(), loaded.role), ("n1", NodeRole::Worker));
        let mode = fs::metadata(dir.path().join(NODE_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{loaded:?}").contains("PRIVATE"));

        let (lock, other) = (WrapKey::generate().unwrap(), WrapKey::generate().unwrap());
        loaded.save_locked(dir.path(), Some(&lock)).unwrap();
        let file = fs::read_to_string(dir.path().join(NODE_FILE)).unwrap();
        assert!(!file.contains("PRIVATE"), "{file}");
        assert!(matches!(Identity::load(dir.path()), Err(CaError::Locked)));
        let kept = Identity::load_locked(dir.path(), std::slice::from_ref(&other)).unwrap();
        let Some(Kept::Locked(plate)) = kept else { panic!("{kept:?}") };
        assert_eq!((plate.node_id.as_str(), plate.cluster_id.as_str()), ("n1", "c1"));
        let kept = Identity::load_locked(dir.path(), &[other, lock]).unwrap();
        let Some(Kept::Open(opened)) = kept else { panic!("{kept:?}") };
        assert_eq!(*opened.key_pem, *loaded.key_pem);
        opened.save(dir.path()).unwrap();
        assert!(Identity::load(dir.path()).unwrap().is_some());
    }
}
