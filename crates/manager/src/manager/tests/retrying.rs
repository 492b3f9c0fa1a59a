//! Requests that are sent again, to whatever manager there is, while leaders go; and reads that see every write.

use tonic::Request;

use super::*;

fn named<T>(message: T, id: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(request_id::HEADER, id.parse().unwrap());
    request
}

fn labelled(secret: &Secret, value: &str) -> UpdateSecretRequest {
    let mut spec = secret.spec.clone().unwrap();
    spec.annotations.as_mut().unwrap().labels.insert("value".into(), value.into());
    let version = secret.meta.as_ref().unwrap().version;
    UpdateSecretRequest { secret_id: secret.id.clone(), version, spec: Some(spec) }
}

impl Host {
    async fn secret(&self, name: &str) -> Result<Secret, tonic::Status> {
        let request = GetSecretRequest { secret: name.into() };
        Ok(self.control().get_secret(request).await?.into_inner().secret.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_is_answered_alike_by_the_next_leader() {
    let first = first().await;
    let token = first.manager_token().await;
    let second = join(&first, &token).await;
    let third = join(&first, &token).await;
    until(|| second.add_secret("s")).await;
    let update = labelled(&second.secret("s").await.unwrap(), "new");
    let answer = second.control().update_secret(named(update.clone(), "r1")).await.unwrap();
    let updated = answer.into_inner().secret.unwrap();
    first.stop().await;
    let again = async || third.control().update_secret(named(update.clone(), "r1")).await;
    assert_eq!(until(again).await.into_inner().secret.unwrap(), updated);
    let removal = || RemoveSecretRequest { secret: "s".into() };
    for host in [&second, &third] {
        until(async || host.control().remove_secret(named(removal(), "r2")).await).await;
    }
    second.stop().await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_through_one_follower_sees_what_was_just_written_through_another() {
    let first = first().await;
    let token = first.manager_token().await;
    let second = join(&first, &token).await;
    let third = join(&first, &token).await;
    until(|| second.add_secret("s")).await;
    for n in 0..30 {
        let (writer, reader) = if n % 2 == 0 { (&second, &third) } else { (&third, &first) };
        let value = n.to_string();
        let update = labelled(&writer.secret("s").await.unwrap(), &value);
        writer.control().update_secret(update).await.unwrap();
        let seen = reader.secret("s").await.unwrap().spec.unwrap().annotations.unwrap();
        assert_eq!(seen.labels["value"], value);
    }
    for host in [&first, &second, &third] {
        host.stop().await;
    }
}
