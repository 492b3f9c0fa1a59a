use std::collections::BTreeSet;

use super::*;
use crate::rpc;

/// Words in the names of fields that may hold what must not be shown.
const SUSPICIOUS: [&str; 7] =
    ["key", "token", "password", "secret", "unlock", "data", "passphrase"];

/// Fields that sound like secrets and are none: ids, addresses, names, public certificates, what users' programs print.
const HARMLESS: [&str; 14] = [
    "BlobChunk.data",
    "ImportImageRequest.data",
    "InitRequest.data_path_addr",
    "JoinRequest.data_path_addr",
    "LoadImageRequest.data",
    "LogMessage.data",
    "NodeDescription.data_path_addr",
    "PeerAssignment.data_path_addr",
    "RemoveSecretRequest.secret",
    "SecretReference.secret_id",
    // Sealed.
    "SnapshotPiece.data",
    "SecretReference.secret_name",
    "UpdateSecretRequest.secret_id",
    "GetSecretRequest.secret",
];

const MARK: &str = "hunter2-hunter2";

/// The `Debug` outputs of messages that hold [`MARK`] where their secrets are, and the names of those fields.
macro_rules! held {
    ($($message:ident.$field:ident),* $(,)?) => {
        [$((
            concat!(stringify!($message), ".", stringify!($field)),
            format!("{0:?}{0:#?}", $message { $field: MARK.into(), ..$message::default() }),
        )),*]
    };
}

#[expect(clippy::needless_update, reason = "some of the messages hold nothing else")]
fn held() -> Vec<(&'static str, String)> {
    held![
        SecretSpec.data,
        SecretAssignment.data,
        ConfigSpec.data,
        ConfigAssignment.data,
        RootCa.key_pem,
        RootRotation.key_pem,
        RotateRootCaRequest.key_pem,
        JoinTokens.worker,
        JoinTokens.manager,
        IssueCertificateRequest.token,
        JoinRequest.token,
        PullImageRequest.password,
        Custody.unlock_key,
        Custody.recovery_key,
        GetUnlockKeyResponse.unlock_key,
        GetRecoveryKeyResponse.recovery_key,
        UnlockRequest.key,
    ]
    .into()
}

#[test]
fn debug_output_never_shows_a_secret() {
    let bytes = format!("{:?}", MARK.as_bytes());
    let numbers = bytes.trim_matches(['[', ']']);
    for (field, shown) in held() {
        let all = shown.replace(['\n', ' '], "");
        let hidden = !all.contains(MARK) && !all.contains(&numbers.replace(' ', ""));
        assert!(hidden, "{field}: {shown}");
    }
}

#[test]
fn every_field_that_sounds_like_a_secret_is_hidden_or_known_to_be_harmless() {
    use prost_types::field_descriptor_proto::Type;
    let known: BTreeSet<&str> = held().iter().map(|(name, _)| *name).chain(HARMLESS).collect();
    let mut unknown = Vec::new();
    for message in rpc::messages() {
        for field in &message.field {
            let holds = matches!(field.r#type(), Type::String | Type::Bytes);
            let name = format!("{}.{}", message.name(), field.name());
            let sounds = SUSPICIOUS.iter().any(|word| field.name().contains(word));
            if holds && sounds && !known.contains(name.as_str()) {
                unknown.push(name);
            }
        }
    }
    assert!(unknown.is_empty(), "hide these in `redact`, or name them harmless: {unknown:?}");
}
