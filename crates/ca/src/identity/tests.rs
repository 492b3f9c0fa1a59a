use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::Root;

const HOUR: Duration = Duration::from_secs(3600);

fn identity(root: &Root, node: &str, now: SystemTime) -> Identity {
    let (key, csr) = new_csr().unwrap();
    let pem = root.issue(&csr, node, NodeRole::Worker, "c1", HOUR, now).unwrap();
    Identity::new(pem, key, root.certificate_pem().to_owned()).unwrap()
}

#[test]
fn an_identity_survives_a_restart_and_its_key_is_private() {
    let now = SystemTime::now();
    let root = Root::generate("c1", now).unwrap();
    let identity = identity(&root, "n1", now);
    let dir = tempfile::tempdir().unwrap();
    assert!(Identity::load(dir.path()).unwrap().is_none());
    identity.save(dir.path()).unwrap();
    let loaded = Identity::load(dir.path()).unwrap().unwrap();
    assert_eq!((loaded.node_id.as_str(), loaded.role), ("n1", NodeRole::Worker));
    let mode = fs::metadata(dir.path().join(NODE_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = identity.key_pem.lines().nth(1).unwrap();
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("PRIVATE") && !shown.contains(key), "{shown}");
}

#[test]
fn a_locked_key_opens_with_its_lock_only_and_is_as_old_as_its_file() {
    let now = SystemTime::now();
    let loaded = identity(&Root::generate("c1", now).unwrap(), "n1", now);
    let dir = tempfile::tempdir().unwrap();
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
    assert!(opened.received_at >= loaded.received_at);
    opened.save(dir.path()).unwrap();
    assert!(Identity::load(dir.path()).unwrap().is_some());
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused_and_not_repeated() {
    let now = SystemTime::now();
    let root = Root::generate("c1", now).unwrap();
    let own = identity(&root, "n1", now);
    let (other, _) = new_csr().unwrap();
    let pem = own.certificate_pem.clone();
    let error = Identity::new(pem.clone(), other.clone(), own.root_pem.clone()).unwrap_err();
    let broken = Zeroizing::new(other.replace("PRIVATE KEY", "PRIVATE SECRET"));
    let unread = Identity::new(pem, broken, own.root_pem.clone()).unwrap_err();
    let body = other.lines().nth(1).unwrap();
    for shown in [format!("{error} {error:?}"), format!("{unread} {unread:?}")] {
        assert!(!shown.contains(body), "{shown}");
    }
}

#[test]
fn an_identity_ages_by_the_clock_of_its_node_and_by_its_real_life() {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let root = Root::generate("c1", now).unwrap();
    // The node's clock is a day ahead, then a day behind: an hour is an hour all the same.
    for local in [now, now + MAX_SKEW, now - MAX_SKEW] {
        let identity = identity(&root, "n1", now).received(local);
        assert_eq!(identity.age_at(0.5), local + HOUR / 2);
        assert!(!identity.is_expired(local) && !identity.is_expired(local + HOUR));
        assert!(identity.is_expired(local + HOUR + Duration::from_secs(1)));
    }
    // Restored from a copy long after.
    let copied = identity(&root, "n1", now).received(now + HOUR * 1000);
    assert!(copied.age_at(1.0) <= now + MAX_SKEW + HOUR && copied.is_expired(now + HOUR * 1000));
}

#[test]
fn only_the_same_node_certified_under_its_roots_succeeds_an_identity() {
    let now = SystemTime::now();
    let (root, foreign) = (Root::generate("c1", now).unwrap(), Root::generate("c1", now).unwrap());
    let own = identity(&root, "n1", now);
    assert!(own.succeeded_by(identity(&root, "n1", now)).is_ok());
    let refused = own.succeeded_by(identity(&root, "n2", now)).unwrap_err().to_string();
    assert!(refused.contains("for node n2 of swarm c1, this is node n1"), "{refused}");
    let forged = identity(&foreign, "n1", now).with_roots(root.certificate_pem()).unwrap();
    assert!(own.succeeded_by(forged).is_err());
}

#[test]
fn what_a_node_reports_names_its_roots_and_its_issuer() {
    let now = SystemTime::now();
    let (old, new) = (Root::generate("c1", now).unwrap(), Root::generate("c1", now).unwrap());
    let identity = identity(&new, "n1", now);
    assert_eq!(identity.issuer(), new.digest());
    let both = format!("{}{}", old.certificate_pem(), new.certificate_pem());
    let told = identity.with_roots(&both).unwrap().tls_info();
    assert_eq!((told.trust_roots, told.issuer), (vec![old.digest(), new.digest()], new.digest()));
    // Believed by another's word only.
    assert_eq!(identity.with_roots(old.certificate_pem()).unwrap().issuer(), "");
}
