//! `deploy`: how many tasks there are, where they run and how they are replaced; and `restart`,
//! `scale` and `platform`, which say parts of it outside.

use swarm_api::{
    EndpointMode, FailureAction, GlobalMode, Placement, PlacementPreference, Platform,
    ReplicatedMode, RestartCondition, RestartPolicy, UpdateConfig, UpdateOrder,
    constraint::Constraint, service_spec::Mode,
};

use super::Converter;
use crate::problem::Problem;
use crate::view::View;

const JOBS: &str = "jobs are not built yet: want replicated or global";

impl<'a> Converter<'a> {
    pub fn mode(&mut self, service: &View<'a>, deploy: &View<'a>) -> Mode {
        let global = self.report.field(deploy, "mode", is_global).unwrap_or(false);
        let replicas = self.report.field(deploy, "replicas", View::number::<u64>);
        let scale = self.report.field(service, "scale", View::number::<u64>);
        if let (Some(replicas), Some(scale)) = (replicas, scale)
            && replicas != scale
        {
            let message = format!("scale is {scale} and deploy.replicas is {replicas}: keep one");
            self.report.problems.push(service.problem(message));
        }
        let replicas = replicas.or(scale);
        if !global {
            return Mode::Replicated(ReplicatedMode { replicas: replicas.unwrap_or(1) });
        }
        if replicas.is_some() {
            let message = "replicas can only be used with replicated mode";
            self.report.problems.push(deploy.problem(message));
        }
        Mode::Global(GlobalMode {})
    }

    pub fn endpoint_mode(&mut self, deploy: &View<'a>) -> EndpointMode {
        let modes = [("vip", EndpointMode::Vip), ("dnsrr", EndpointMode::Dnsrr)];
        self.report.field(deploy, "endpoint_mode", |v| v.choice(&modes)).unwrap_or_default()
    }

    /// `update_config`, or `rollback_config`, which cannot itself roll back.
    pub fn update(&mut self, deploy: &View<'a>, key: &str) -> Option<UpdateConfig> {
        let view = deploy.get(key)?;
        self.report.keep(view.entries())?;
        let mut actions = vec![
            ("pause", FailureAction::FailurePause),
            ("continue", FailureAction::FailureContinue),
        ];
        if key == "update_config" {
            actions.push(("rollback", FailureAction::FailureRollback));
        }
        let orders =
            [("stop-first", UpdateOrder::StopFirst), ("start-first", UpdateOrder::StartFirst)];
        let report = &mut *self.report;
        let action = report.field(&view, "failure_action", |v| v.choice(&actions));
        let order = report.field(&view, "order", |v| v.choice(&orders));
        Some(UpdateConfig {
            parallelism: report.field(&view, "parallelism", View::number).unwrap_or(1),
            delay: report.field(&view, "delay", View::duration),
            failure_action: action.unwrap_or_default().into(),
            monitor: report.field(&view, "monitor", View::duration),
            max_failure_ratio: report.field(&view, "max_failure_ratio", ratio).unwrap_or_default(),
            order: order.unwrap_or_default().into(),
        })
    }

    /// `deploy.restart_policy`, or what `restart` says.
    pub fn restart(&mut self, service: &View<'a>, deploy: &View<'a>) -> Option<RestartPolicy> {
        let simple = service.get("restart");
        let Some(view) = deploy.get("restart_policy") else {
            let view = simple?;
            if view.node.scalar() == Some("no") {
                let message = "on a cluster \"no\" sets no policy, and tasks are restarted: to run \
                               them once, write deploy.restart_policy.condition: none";
                self.report.warn(&view.node.at, &view.path, message);
            }
            return self.report.keep(restart(&view)).flatten();
        };
        if let Some(simple) = simple {
            self.report.keep(restart(&simple));
            let message = "ignored: deploy.restart_policy says more";
            self.report.warn(&simple.node.at, &simple.path, message);
        }
        self.report.keep(view.entries())?;
        let conditions = [
            ("any", RestartCondition::Any),
            ("on-failure", RestartCondition::OnFailure),
            ("none", RestartCondition::None),
        ];
        let report = &mut *self.report;
        let condition = report.field(&view, "condition", |v| v.choice(&conditions));
        Some(RestartPolicy {
            condition: condition.unwrap_or_default().into(),
            delay: report.field(&view, "delay", View::duration),
            max_attempts: report.field(&view, "max_attempts", View::number).unwrap_or_default(),
            window: report.field(&view, "window", View::duration),
        })
    }

    pub fn placement(&mut self, service: &View<'a>, deploy: &View<'a>) -> Option<Placement> {
        let view = deploy.get("placement");
        let platform = self.report.field(service, "platform", platform);
        if view.is_none() && platform.is_none() {
            return None;
        }
        let mut placement =
            Placement { platforms: Vec::from_iter(platform), ..Placement::default() };
        if let Some(view) = view {
            self.report.keep(view.entries())?;
            let constraints = self.report.list(&view, "constraints");
            let preferences = self.report.list(&view, "preferences");
            let report = &mut *self.report;
            placement.constraints =
                constraints.iter().filter_map(|item| report.keep(constraint(item))).collect();
            placement.preferences =
                preferences.iter().filter_map(|item| report.keep(preference(item))).collect();
            placement.max_replicas =
                report.field(&view, "max_replicas_per_node", View::number).unwrap_or_default();
        }
        Some(placement)
    }
}

fn is_global(view: &View<'_>) -> Result<bool, Problem> {
    match view.str()? {
        "replicated" => Ok(false),
        "global" => Ok(true),
        "replicated-job" | "global-job" => Err(view.problem(JOBS)),
        other => Err(view.problem(format!("must be one of replicated, global, not \"{other}\""))),
    }
}

fn ratio(view: &View<'_>) -> Result<f32, Problem> {
    let ratio = view.number::<f32>()?;
    match (0.0..=1.0).contains(&ratio) {
        true => Ok(ratio),
        false => Err(view.problem(format!("must be from 0 to 1, not {ratio}"))),
    }
}

/// What `restart` means in a cluster; `no` sets nothing.
pub fn restart(view: &View<'_>) -> Result<Option<RestartPolicy>, Problem> {
    let text = view.str()?;
    let (policy, count) = match text.split_once(':') {
        Some((policy, count)) => (policy, Some(count)),
        None => (text, None),
    };
    let wrong = || {
        view.problem(format!(
            "must be one of no, always, unless-stopped, on-failure[:attempts], not \"{text}\""
        ))
    };
    let condition = match (policy, count) {
        ("no", None) => return Ok(None),
        ("always" | "unless-stopped", None) => RestartCondition::Any,
        ("on-failure", _) => RestartCondition::OnFailure,
        _ => return Err(wrong()),
    };
    let max_attempts = count.map_or(Ok(0), str::parse).map_err(|_| wrong())?;
    Ok(Some(RestartPolicy { condition: condition.into(), max_attempts, ..Default::default() }))
}

fn constraint(view: &View<'_>) -> Result<String, Problem> {
    view.parsed(Constraint::parse)?;
    view.text()
}

fn preference(view: &View<'_>) -> Result<PlacementPreference, Problem> {
    let spread = view.get("spread").ok_or_else(|| view.problem("spread is required"))?;
    Ok(PlacementPreference { spread: spread.text()? })
}

fn platform(view: &View<'_>) -> Result<Platform, Problem> {
    let text = view.str()?;
    match text.split('/').collect::<Vec<_>>().as_slice() {
        [os, architecture] if !os.is_empty() && !architecture.is_empty() => {
            Ok(Platform { os: (*os).to_owned(), architecture: (*architecture).to_owned() })
        }
        _ => {
            Err(view
                .problem(format!("invalid platform \"{text}\": want os/arch, such as linux/amd64")))
        }
    }
}
