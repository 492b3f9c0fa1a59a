//! Configs: files for containers that need not be hidden.

use swarm_api::object::Stored;
use swarm_api::*;

use super::{Door, filter, material};
use crate::refusal::Refusal;

pub async fn create(
    door: &Door,
    request: CreateConfigRequest,
) -> Result<CreateConfigResponse, Refusal> {
    let spec = request.spec;
    let make = |id| Config { id, spec, ..Config::default() };
    let config = material::create(door, &request.request_id, make).await?;
    Ok(CreateConfigResponse { config: Some(config) })
}

pub async fn list(
    door: &Door,
    request: ListConfigsRequest,
) -> Result<ListConfigsResponse, Refusal> {
    let view = door.view().await?;
    let shown = |s: &&Config| filter::passes(request.filters.as_ref(), *s, &[s.name()]);
    let configs = view.all::<Config>().filter(shown).cloned().collect();
    Ok(ListConfigsResponse { configs })
}

pub async fn get(door: &Door, request: GetConfigRequest) -> Result<GetConfigResponse, Refusal> {
    let view = door.view().await?;
    let config = view.resolve::<Config>(&request.config)?.clone();
    Ok(GetConfigResponse { config: Some(config) })
}

pub async fn update(
    door: &Door,
    request: UpdateConfigRequest,
) -> Result<UpdateConfigResponse, Refusal> {
    let spec = request.spec;
    let wanted = spec.map(|spec| Config { spec: Some(spec), ..Config::default() });
    let config = material::update(door, &request.config_id, request.version, wanted).await?;
    Ok(UpdateConfigResponse { config: Some(config) })
}

pub async fn remove(
    door: &Door,
    request: RemoveConfigRequest,
) -> Result<RemoveConfigResponse, Refusal> {
    material::remove::<Config>(door, &request.config).await?;
    Ok(RemoveConfigResponse {})
}
