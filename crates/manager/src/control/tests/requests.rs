//! Requests that are sent again: carried out once, answered alike.

use super::*;

/// The door for a call under this id.
fn under(door: &Door, call: &str, id: &str) -> Door {
    let mut request = Request::new(());
    request.metadata_mut().insert(request_id::HEADER, id.parse().unwrap());
    door.of(call, &request).unwrap()
}

fn labelled(secret: &Secret) -> UpdateSecretRequest {
    let mut spec = secret.spec.clone().unwrap();
    spec.annotations.as_mut().unwrap().labels.insert("tier".into(), "db".into());
    let version = secret.meta.as_ref().unwrap().version;
    UpdateSecretRequest { secret_id: secret.id.clone(), version, spec: Some(spec) }
}

#[tokio::test]
async fn an_update_that_was_applied_is_answered_again_and_not_refused_as_outdated() {
    let door = door().await;
    let update = labelled(&make_secret(&door, "password").await);
    let named = under(&door, "update_secret", "r1");
    let first = secret::update(&named, update.clone()).await.unwrap();
    let again = secret::update(&named, update.clone()).await.unwrap();
    assert_eq!(first, again);
    // The same update as a request of its own is based on what is no more.
    let other = under(&door, "update_secret", "r2");
    let refusal = secret::update(&other, update).await.unwrap_err();
    assert_eq!(Status::from(refusal).code(), tonic::Code::Aborted);
}

#[tokio::test]
async fn a_removal_sent_again_is_done_and_spares_what_was_made_since() {
    let door = door().await;
    make_secret(&door, "password").await;
    let removal = RemoveSecretRequest { secret: "password".into() };
    let named = under(&door, "remove_secret", "r1");
    secret::remove(&named, removal.clone()).await.unwrap();
    make_secret(&door, "password").await;
    secret::remove(&named, removal.clone()).await.unwrap();
    assert!(door.view().await.unwrap().by_name::<Secret>("password").is_some());
    // Nor does it stand in the way of another kind of call under its name.
    let update = RemoveSecretRequest { secret: "nothing".into() };
    let refusal = secret::remove(&under(&door, "other", "r1"), update).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NotFound(_)), "{refusal}");
}

#[tokio::test]
async fn a_creation_sent_again_does_not_bring_back_what_was_removed_since() {
    let door = door().await;
    let spec = SecretSpec { annotations: annotations("s"), data: b"hidden".to_vec() };
    let request = CreateSecretRequest { spec: Some(spec), request_id: "r1".into() };
    let named = under(&door, "create_secret", "r1");
    let made = secret::create(&named, request.clone()).await.unwrap();
    assert_eq!(secret::create(&named, request.clone()).await.unwrap(), made);
    secret::remove(&door, RemoveSecretRequest { secret: "s".into() }).await.unwrap();
    assert!(matches!(secret::create(&named, request).await, Err(Refusal::NotFound(_))));
    assert_eq!(door.view().await.unwrap().count::<Secret>(), 0);
}

#[tokio::test]
async fn a_malformed_request_id_is_refused() {
    let door = door().await;
    let mut request = Request::new(());
    let long = "x".repeat(request_id::MAX_LEN + 1);
    request.metadata_mut().insert(request_id::HEADER, long.parse().unwrap());
    let status = door.of("update_secret", &request).err().unwrap();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}
