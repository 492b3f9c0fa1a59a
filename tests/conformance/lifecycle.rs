//! Restarts and updates, as the passes make them while time goes by.

use serde::Deserialize;
use serde_json::{Value, json};
use swarm_api::{
    FailureAction, ReplicatedMode, RestartCondition, ServiceSpec, UpdateOrder, UpdateState,
    service_spec,
};

use crate::case::{Answer, Case};
use crate::world::{Broken, Fate, NEW, OLD, World, service};

/// Longer than any delay and monitor of a case.
const LONG: usize = 120;

pub fn answer(case: &Case) -> Answer {
    let result = match case.op.as_str() {
        "restart" => Restart::deserialize(&case.input).map(|input| input.run()),
        "update" => Update::deserialize(&case.input).map(|input| input.run()),
        _ => return Answer::Unknown,
    };
    match result {
        Ok(Some(Ok(value))) => Answer::Is(value),
        Ok(Some(Err(broken))) => Answer::refused(broken),
        // Another form of the operation.
        Ok(None) | Err(_) => Answer::Unknown,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restart {
    policy: String,
    exit: i32,
    #[serde(default)]
    max_attempts: u64,
}

impl Restart {
    fn run(&self) -> Option<Result<Value, Broken>> {
        let fate: Fate = match self.exit {
            0 => |_, _| Some(0),
            _ => |_, _| Some(1),
        };
        let mut spec = service();
        let restart = spec.task.get_or_insert_default().restart.get_or_insert_default();
        restart.set_condition(match self.policy.as_str() {
            "none" => RestartCondition::None,
            "on-failure" => RestartCondition::OnFailure,
            "any" => RestartCondition::Any,
            _ => return None,
        });
        restart.max_attempts = self.max_attempts;
        Some(restarts(spec, fate))
    }
}

fn restarts(spec: ServiceSpec, fate: Fate) -> Result<Value, Broken> {
    let mut world = World::new(spec, fate)?;
    world.live(LONG)?;
    let restarts = world.started().saturating_sub(1);
    Ok(json!({"restarted": restarts > 0, "restarts": restarts}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    #[serde(default = "one")]
    replicas: u64,
    #[serde(default = "one")]
    parallelism: u64,
    #[serde(default)]
    order: String,
    #[serde(default)]
    failure_action: String,
    #[serde(default)]
    max_failure_ratio: f32,
    #[serde(default)]
    new_image_always_fails: bool,
    #[serde(default)]
    new_image_always_fails_after_first: bool,
}

fn one() -> u64 {
    1
}

impl Update {
    fn run(&self) -> Option<Result<Value, Broken>> {
        let mut spec = service();
        let replicas = self.replicas;
        spec.mode = Some(service_spec::Mode::Replicated(ReplicatedMode { replicas }));
        let update = spec.update.get_or_insert_default();
        update.parallelism = self.parallelism;
        update.max_failure_ratio = self.max_failure_ratio;
        update.set_order(match self.order.as_str() {
            "start-first" => UpdateOrder::StartFirst,
            "stop-first" | "" => UpdateOrder::StopFirst,
            _ => return None,
        });
        update.set_failure_action(match self.failure_action.as_str() {
            "rollback" => FailureAction::FailureRollback,
            "continue" => FailureAction::FailureContinue,
            "pause" | "" => FailureAction::FailurePause,
            _ => return None,
        });
        let fate: Fate =
            match (self.new_image_always_fails, self.new_image_always_fails_after_first) {
                (true, _) => |_, image| (image == NEW).then_some(1),
                (_, true) => |nth, image| (image == NEW && nth > 1).then_some(1),
                _ => |_, _| None,
            };
        Some(updated(spec, fate))
    }
}

fn updated(spec: ServiceSpec, fate: Fate) -> Result<Value, Broken> {
    let mut world = World::new(spec, fate)?;
    world.live(LONG)?;
    (world.most_running, world.states) = (0, Vec::new());
    world.update()?;
    world.live(LONG * 10)?;
    let image = match world.image().as_str() {
        OLD => "old".to_owned(),
        NEW => "new".to_owned(),
        other => other.to_owned(),
    };
    let states: Vec<&str> = world.states.iter().map(|state| name(*state)).collect();
    Ok(json!({
        "update_state_sequence": states,
        "final_state": states.last(),
        "final_image": image,
        "max_running_during_update": world.most_running,
    }))
}

fn name(state: i32) -> &'static str {
    match UpdateState::try_from(state) {
        Ok(UpdateState::Updating) => "updating",
        Ok(UpdateState::UpdatePaused) => "paused",
        Ok(UpdateState::UpdateCompleted) => "completed",
        Ok(UpdateState::RollbackStarted) => "rollback_started",
        Ok(UpdateState::RollbackPaused) => "rollback_paused",
        Ok(UpdateState::RollbackCompleted) => "rollback_completed",
        Ok(UpdateState::UpdateNone) | Err(_) => "none",
    }
}
