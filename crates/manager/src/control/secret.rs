//! Secrets: bytes that are sent only to nodes whose tasks use them, and never shown again.

use swarm_api::object::Stored;
use swarm_api::*;

use super::{Door, filter, material, redact};
use crate::refusal::Refusal;

pub async fn create(
    door: &Door,
    request: CreateSecretRequest,
) -> Result<CreateSecretResponse, Refusal> {
    let spec = request.spec;
    let make = |id| Secret { id, spec, ..Secret::default() };
    let secret = material::create(door, &request.request_id, make).await?;
    Ok(CreateSecretResponse { secret: Some(redact::secret(secret)) })
}

pub async fn list(
    door: &Door,
    request: ListSecretsRequest,
) -> Result<ListSecretsResponse, Refusal> {
    let view = door.view().await?;
    let shown = |s: &&Secret| filter::passes(request.filters.as_ref(), *s, &[s.name()]);
    let secrets = view.all::<Secret>().filter(shown).cloned().map(redact::secret).collect();
    Ok(ListSecretsResponse { secrets })
}

pub async fn get(door: &Door, request: GetSecretRequest) -> Result<GetSecretResponse, Refusal> {
    let view = door.view().await?;
    let secret = view.resolve::<Secret>(&request.secret)?.clone();
    Ok(GetSecretResponse { secret: Some(redact::secret(secret)) })
}

pub async fn update(
    door: &Door,
    request: UpdateSecretRequest,
) -> Result<UpdateSecretResponse, Refusal> {
    let spec = request.spec;
    let wanted = spec.map(|spec| Secret { spec: Some(spec), ..Secret::default() });
    let secret = material::update(door, &request.secret_id, request.version, wanted).await?;
    Ok(UpdateSecretResponse { secret: Some(redact::secret(secret)) })
}

pub async fn remove(
    door: &Door,
    request: RemoveSecretRequest,
) -> Result<RemoveSecretResponse, Refusal> {
    material::remove::<Secret>(door, &request.secret).await?;
    Ok(RemoveSecretResponse {})
}
