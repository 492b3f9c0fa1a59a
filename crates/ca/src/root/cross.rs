//! One root's word for another: its name and key in a certificate of the old root, so that who trusts only the old one
//! believes what the new one signs.

use std::time::SystemTime;

use rcgen::string::{BmpString, TeletexString, UniversalString};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa, KeyUsagePurpose,
    SubjectPublicKeyInfo,
};
use time::OffsetDateTime;
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate, X509Name};

use super::{BACKDATE, Root};
use crate::CaError;

const WHAT: &str = "root certificate";

impl Root {
    /// `new`'s name and key, signed by this root, PEM. Ends with the earlier of the two.
    pub fn cross_sign(&self, new: &Root, now: SystemTime) -> Result<String, CaError> {
        let (old, new) = (parse(self)?, parse(new)?);
        let mut params = CertificateParams::default();
        params.distinguished_name = name_of(new.subject())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let end = [&old, &new].map(|c| c.validity().not_after.timestamp()).into_iter().min();
        params.not_before = OffsetDateTime::from(now) - BACKDATE;
        params.not_after = OffsetDateTime::from_unix_timestamp(end.unwrap_or_default())
            .map_err(|e| CaError::malformed(WHAT, e))?;
        let key = SubjectPublicKeyInfo::from_der(new.public_key().raw)
            .map_err(|e| CaError::malformed(WHAT, e))?;
        self.sign("cross-signed root", |issuer| params.signed_by(&key, issuer))
    }
}

pub(super) fn parse(root: &Root) -> Result<X509Certificate<'_>, CaError> {
    let parsed = X509Certificate::from_der(&root.certificate);
    parsed.map(|(_, certificate)| certificate).map_err(|e| CaError::malformed(WHAT, e))
}

/// The same name, byte for byte: a chain is followed by it.
fn name_of(subject: &X509Name<'_>) -> Result<DistinguishedName, CaError> {
    let mut name = DistinguishedName::new();
    for attribute in subject.iter_attributes() {
        let oid = attribute.attr_type().iter();
        let oid: Vec<u64> = oid.map(Iterator::collect).unwrap_or_default();
        name.push(DnType::from_oid(&oid), value_of(attribute)?);
    }
    Ok(name)
}

fn value_of(attribute: &AttributeTypeAndValue<'_>) -> Result<DnValue, CaError> {
    let data = attribute.attr_value().data;
    let odd = |reason: &dyn std::fmt::Display| {
        CaError::malformed(WHAT, format!("its name cannot be repeated: {reason}"))
    };
    let text = || std::str::from_utf8(data).map_err(|e| odd(&e));
    Ok(match attribute.attr_value().header.tag() {
        Tag::Utf8String => DnValue::Utf8String(text()?.to_owned()),
        Tag::PrintableString => DnValue::PrintableString(text()?.try_into().map_err(|e| odd(&e))?),
        Tag::Ia5String => DnValue::Ia5String(text()?.try_into().map_err(|e| odd(&e))?),
        Tag::T61String => {
            DnValue::TeletexString(TeletexString::try_from(text()?).map_err(|e| odd(&e))?)
        }
        Tag::BmpString => {
            DnValue::BmpString(BmpString::from_utf16be(data.to_vec()).map_err(|e| odd(&e))?)
        }
        Tag::UniversalString => DnValue::UniversalString(
            UniversalString::from_utf32be(data.to_vec()).map_err(|e| odd(&e))?,
        ),
        tag => return Err(odd(&format!("string type {tag}"))),
    })
}
