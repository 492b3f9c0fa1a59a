//! Tasks, which users only look at.

use swarm_api::object::Stored;
use swarm_api::*;
use swarm_raft_store::View;

use super::{Door, filter};
use crate::refusal::Refusal;

pub async fn list(door: &Door, request: ListTasksRequest) -> Result<ListTasksResponse, Refusal> {
    let view = door.view().await?;
    let services = resolved::<Service>(&view, &request.service_ids)?;
    let nodes = resolved::<Node>(&view, &request.node_ids)?;
    let shown = |task: &&Task| {
        let names = [task.slot_name(), task.full_name()];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let states = &request.desired_states;
        filter::passes(request.filters.as_ref(), *task, &names)
            && (services.is_empty() || services.contains(&task.service_id))
            && (nodes.is_empty() || nodes.contains(&task.node_id))
            && (states.is_empty() || states.contains(&task.desired_state))
            && (!request.up_to_date || is_up_to_date(&view, task))
    };
    Ok(ListTasksResponse { tasks: view.all::<Task>().filter(shown).cloned().collect() })
}

pub async fn get(door: &Door, request: GetTaskRequest) -> Result<GetTaskResponse, Refusal> {
    let view = door.view().await?;
    Ok(GetTaskResponse { task: Some(view.resolve::<Task>(&request.task)?.clone()) })
}

/// Ids of what is named. A full id of something already removed stands: its tasks may still be there.
fn resolved<T: Stored>(view: &View, references: &[String]) -> Result<Vec<String>, Refusal> {
    let one = |reference: &String| match view.resolve::<T>(reference) {
        Ok(found) => Ok(found.id().to_owned()),
        Err(_) if reference.len() == id::ID_LEN => Ok(reference.clone()),
        Err(error) => Err(error.into()),
    };
    references.iter().map(one).collect()
}

fn is_up_to_date(view: &View, task: &Task) -> bool {
    let service = view.get::<Service>(&task.service_id);
    service.is_some_and(|s| s.spec_version == task.spec_version)
}
