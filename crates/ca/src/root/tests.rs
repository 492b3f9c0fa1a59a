use super::*;
use crate::caller::Subject;
use crate::new_csr;
use crate::trust::{Trust, chain_of};

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

/// A root with the settings that `change` makes, as a user's tool would make one: (certificate, key).
fn foreign(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Acme Root");
    params.distinguished_name.push(DnType::CountryName, "NL");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let now = OffsetDateTime::from(SystemTime::now());
    (params.not_before, params.not_after) = (now, now + YEAR * 2);
    change(&mut params);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn leaf(root: &Root) -> String {
    let (_, csr) = new_csr().unwrap();
    root.issue(&csr, "n1", NodeRole::Worker, "c1", HOUR, SystemTime::now()).unwrap()
}

#[test]
fn the_subject_is_what_the_root_says_not_what_the_request_says() {
    let now = SystemTime::now();
    let root = Root::generate("c1", now).unwrap();
    let (_, csr) = new_csr().unwrap();
    let pem = root.issue(&csr, "n1", NodeRole::Manager, "c1", YEAR, now).unwrap();
    let leaf = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let subject = Subject::of(&leaf).unwrap();
    assert_eq!((subject.node_id.as_str(), subject.cluster_id.as_str()), ("n1", "c1"));
    assert_eq!(subject.role, NodeRole::Manager);
}

#[test]
fn a_request_that_was_tampered_with_is_refused() {
    let now = SystemTime::now();
    let root = Root::generate("c1", now).unwrap();
    let (_, mut csr) = new_csr().unwrap();
    let last = csr.len() - 1;
    csr[last] ^= 1;
    assert!(root.issue(&csr, "n1", NodeRole::Worker, "c1", HOUR, now).is_err());
}

#[test]
fn a_root_without_its_key_signs_nothing() {
    let now = SystemTime::now();
    let whole = Root::generate("c1", now).unwrap();
    let public = Root::from_pem(whole.certificate_pem(), None).unwrap();
    let (_, csr) = new_csr().unwrap();
    let result = public.issue(&csr, "n1", NodeRole::Worker, "c1", HOUR, now);
    assert!(matches!(result, Err(CaError::NoKey)));
    assert_eq!(public.digest(), whole.digest());
}

#[test]
fn who_trusts_only_the_old_root_believes_the_new_one_by_the_cross_signed_certificate() {
    let now = SystemTime::now();
    let old = Root::generate("c1", now).unwrap();
    let (certificate, key) = foreign(|_| {});
    let brought = Root::adopt(&certificate, &key, now).unwrap();
    for new in [Root::generate("c1", now).unwrap(), brought] {
        let cross = old.cross_sign(&new, now).unwrap();
        let alone = chain_of(&leaf(&new)).unwrap();
        let chain = chain_of(&format!("{}{cross}", leaf(&new))).unwrap();
        let trust = Trust::of(old.certificate_pem()).unwrap();
        assert!(trust.verify_apart_from_time(&alone).is_err());
        trust.verify_apart_from_time(&chain).unwrap();
        assert_eq!(trust.issuer(&chain[0]), None, "not by the old root itself");
        let both = format!("{}{}", old.certificate_pem(), new.certificate_pem());
        let both = Trust::of(&both).unwrap();
        assert_eq!(both.issuer(&chain[0]).as_deref(), Some(new.digest().as_str()));
        assert_eq!(both.digests(), [old.digest(), new.digest()]);
    }
}

#[test]
fn a_root_that_another_rotation_replaced_is_still_believed_through_the_old_one() {
    let now = SystemTime::now();
    let old = Root::generate("c1", now).unwrap();
    let [first, second] = [(); 2].map(|()| Root::generate("c1", now).unwrap());
    let cross = old.cross_sign(&first, now).unwrap();
    let chain = chain_of(&format!("{}{cross}", leaf(&first))).unwrap();
    let bundle = format!("{}{}", old.certificate_pem(), second.certificate_pem());
    Trust::of(&bundle).unwrap().verify_apart_from_time(&chain).unwrap();
}

#[test]
fn a_root_that_the_user_brings_signs_like_any_other() {
    let (certificate, key) = foreign(|_| {});
    let root = Root::adopt(&certificate, &key, SystemTime::now()).unwrap();
    let chain = chain_of(&leaf(&root)).unwrap();
    Trust::of(&certificate).unwrap().verify_apart_from_time(&chain).unwrap();
}

#[test]
fn what_cannot_serve_as_a_root_is_refused_in_words() {
    let now = OffsetDateTime::from(SystemTime::now());
    let good = foreign(|_| {});
    let other = foreign(|_| {});
    let twice = format!("{}{}", good.0, other.0);
    let plain = foreign(|p| p.is_ca = IsCa::NoCa);
    let mute = foreign(|p| p.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    let old = foreign(|p| (p.not_before, p.not_after) = (now - YEAR * 2, now - HOUR));
    let short = foreign(|p| p.not_after = now + HOUR * 24 * 300);
    let early = foreign(|p| (p.not_before, p.not_after) = (now + HOUR * 48, now + YEAR * 3));
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----";
    for (certificate, key, words) in [
        (good.0.as_str(), other.1.as_str(), "it is not the key of the CA certificate"),
        (&twice, &good.1, "want one certificate, the root's own, found 2"),
        ("nonsense", &good.1, "there is no certificate in it"),
        (&good.0, "nonsense", "want a private key in PEM"),
        (&good.0, locked, "it is encrypted: decrypt it first"),
        (&plain.0, &plain.1, "it is not a certificate authority's"),
        (&mute.0, &mute.1, "its key usage forbids to sign certificates"),
        (&old.0, &old.1, "it expired on"),
        (&short.0, &short.1, "it must be valid for a year at least"),
        (&early.0, &early.1, "it is not valid before"),
    ] {
        let refused = Root::adopt(certificate, key, SystemTime::now()).err().unwrap().to_string();
        assert!(refused.contains(words) && !refused.contains('\n'), "{words}: {refused}");
    }
}

#[test]
fn debug_output_of_a_root_hides_its_key() {
    let root = Root::generate("c1", SystemTime::now()).unwrap();
    let shown = format!("{root:?}{:?}", root.clone());
    let key = root.key_pem().unwrap().lines().nth(1).unwrap();
    assert!(!shown.contains(key) && !shown.contains("PRIVATE"), "{shown}");
}
