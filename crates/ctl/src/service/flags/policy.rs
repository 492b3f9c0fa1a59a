//! Flags about restarts and about how changes are rolled out and back.

use std::time::Duration;

use clap::{Args, ValueEnum};
use swarm_api::{
    FailureAction, RestartCondition, RestartPolicy, TaskSpec, UpdateConfig, UpdateOrder,
};

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq)]
enum Condition {
    None,
    OnFailure,
    Any,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq)]
enum Action {
    Pause,
    Continue,
    Rollback,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq)]
enum RollbackAction {
    Pause,
    Continue,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq)]
enum Order {
    StopFirst,
    StartFirst,
}

/// Flags of both commands.
#[derive(Args, Debug, Default, PartialEq)]
pub struct RestartFlags {
    /// When an ended task is replaced (any)
    #[arg(long, value_enum, value_name = "CONDITION")]
    restart_condition: Option<Condition>,
    /// Time before an ended task is replaced (5s)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    restart_delay: Option<Duration>,
    /// Replacements before giving up; 0 is no limit
    #[arg(long, value_name = "N")]
    restart_max_attempts: Option<u64>,
    /// Time in which replacements count; 0s is all time
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    restart_window: Option<Duration>,
}

impl RestartFlags {
    /// Writes the given flags into `task`.
    pub fn apply(&self, task: &mut TaskSpec) {
        let none = self.restart_condition.is_none()
            && self.restart_delay.or(self.restart_window).is_none()
            && self.restart_max_attempts.is_none();
        if none {
            return;
        }
        let policy: &mut RestartPolicy = task.restart.get_or_insert_default();
        if let Some(condition) = self.restart_condition {
            policy.condition = match condition {
                Condition::None => RestartCondition::None,
                Condition::OnFailure => RestartCondition::OnFailure,
                Condition::Any => RestartCondition::Any,
            }
            .into();
        }
        if let Some(delay) = self.restart_delay {
            policy.delay = Some(swarm_api::time::to_proto(delay));
        }
        if let Some(window) = self.restart_window {
            policy.window = Some(swarm_api::time::to_proto(window));
        }
        policy.max_attempts = self.restart_max_attempts.unwrap_or(policy.max_attempts);
    }
}

/// How updates are rolled out.
#[derive(Args, Debug, Default, PartialEq)]
pub struct RolloutFlags {
    /// Tasks updated at once; 0 is all (1)
    #[arg(long, value_name = "N")]
    update_parallelism: Option<u64>,
    /// Time between two tasks (0s)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    update_delay: Option<Duration>,
    /// How long a task must run to count as good (5s)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    update_monitor: Option<Duration>,
    /// What happens when tasks fail (pause)
    #[arg(long, value_enum, value_name = "ACTION")]
    update_failure_action: Option<Action>,
    /// Part of the tasks that may fail, 0 to 1 (0)
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    update_max_failure_ratio: Option<f32>,
    /// Whether the old task stops first or the new one starts first (stop-first)
    #[arg(long, value_enum, value_name = "ORDER")]
    update_order: Option<Order>,
}

impl RolloutFlags {
    /// Writes the given flags into `config`.
    pub fn apply(&self, config: &mut Option<UpdateConfig>) {
        let change = Change {
            parallelism: self.update_parallelism,
            delay: self.update_delay,
            monitor: self.update_monitor,
            action: self.update_failure_action.map(|action| match action {
                Action::Pause => FailureAction::FailurePause,
                Action::Continue => FailureAction::FailureContinue,
                Action::Rollback => FailureAction::FailureRollback,
            }),
            ratio: self.update_max_failure_ratio,
            order: self.update_order,
        };
        change.apply(config);
    }
}

/// How updates are rolled back.
#[derive(Args, Debug, Default, PartialEq)]
pub struct RollbackPolicyFlags {
    /// Tasks rolled back at once; 0 is all (1)
    #[arg(long, value_name = "N")]
    rollback_parallelism: Option<u64>,
    /// Time between two tasks (0s)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    rollback_delay: Option<Duration>,
    /// How long a task must run to count as good (5s)
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    rollback_monitor: Option<Duration>,
    /// What happens when tasks fail (pause)
    #[arg(long, value_enum, value_name = "ACTION")]
    rollback_failure_action: Option<RollbackAction>,
    /// Part of the tasks that may fail, 0 to 1 (0)
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    rollback_max_failure_ratio: Option<f32>,
    /// Whether the old task stops first or the new one starts first (stop-first)
    #[arg(long, value_enum, value_name = "ORDER")]
    rollback_order: Option<Order>,
}

impl RollbackPolicyFlags {
    /// Writes the given flags into `config`.
    pub fn apply(&self, config: &mut Option<UpdateConfig>) {
        let change = Change {
            parallelism: self.rollback_parallelism,
            delay: self.rollback_delay,
            monitor: self.rollback_monitor,
            action: self.rollback_failure_action.map(|action| match action {
                RollbackAction::Pause => FailureAction::FailurePause,
                RollbackAction::Continue => FailureAction::FailureContinue,
            }),
            ratio: self.rollback_max_failure_ratio,
            order: self.rollback_order,
        };
        change.apply(config);
    }
}

struct Change {
    parallelism: Option<u64>,
    delay: Option<Duration>,
    monitor: Option<Duration>,
    action: Option<FailureAction>,
    ratio: Option<f32>,
    order: Option<Order>,
}

impl Change {
    fn apply(self, config: &mut Option<UpdateConfig>) {
        let none = self.parallelism.is_none()
            && self.delay.or(self.monitor).is_none()
            && self.action.is_none()
            && self.ratio.is_none()
            && self.order.is_none();
        if none {
            return;
        }
        // One at a time unless told otherwise: zero would mean all at once.
        let config = config
            .get_or_insert_with(|| UpdateConfig { parallelism: 1, ..UpdateConfig::default() });
        config.parallelism = self.parallelism.unwrap_or(config.parallelism);
        if let Some(delay) = self.delay {
            config.delay = Some(swarm_api::time::to_proto(delay));
        }
        if let Some(monitor) = self.monitor {
            config.monitor = Some(swarm_api::time::to_proto(monitor));
        }
        if let Some(action) = self.action {
            config.failure_action = action.into();
        }
        config.max_failure_ratio = self.ratio.unwrap_or(config.max_failure_ratio);
        if let Some(order) = self.order {
            config.order = match order {
                Order::StopFirst => UpdateOrder::StopFirst,
                Order::StartFirst => UpdateOrder::StartFirst,
            }
            .into();
        }
    }
}

fn ratio(text: &str) -> std::result::Result<f32, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("want a number from 0 to 1".into()),
    }
}
