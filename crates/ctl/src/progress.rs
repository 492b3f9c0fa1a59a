//! Waiting until services run as asked: follows their tasks, shows how they fare and why some do
//! not run, and ends with an error when an update stops or goes back.
//!
//! [`state`] decides, [`screen`] draws; this file asks the manager.

mod changes;
mod screen;
mod state;

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use swarm_api::{GetServiceRequest, GetServiceResponse, ListTasksRequest, Task};
use tokio::time::Instant;

use crate::client::{Client, ask};
use crate::failure::{interrupted, is_not_found, join};
use crate::output;

use changes::Changes;
use screen::{Screen, Shown};
use state::{Course, Facts, Step, Verdict};

/// A service to wait for.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    service_id: String,
    name: String,
    /// Going back to the former spec is what the user asked for.
    rolling_back: bool,
    /// It must not only run but go on running.
    verify: bool,
}

impl Goal {
    /// Its tasks run as its spec says, and go on running.
    pub fn converge(service_id: &str, name: &str) -> Self {
        let (service_id, name) = (service_id.to_owned(), name.to_owned());
        Goal { service_id, name, rolling_back: false, verify: true }
    }

    /// Its tasks run; nothing was changed that could make them fail.
    pub fn be_there(service_id: &str, name: &str) -> Self {
        Goal { verify: false, ..Self::converge(service_id, name) }
    }

    /// The same after a rollback that the user asked for.
    pub fn roll_back(service_id: &str, name: &str) -> Self {
        Goal { rolling_back: true, ..Self::converge(service_id, name) }
    }
}

/// How to wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct WaitOptions {
    /// Show nothing but errors.
    pub quiet: bool,
    /// Give up after this long.
    pub timeout: Option<Duration>,
    /// Give up on a service when the same slot failed this often.
    pub max_failures: Option<usize>,
}

/// One goal on its way.
struct Run {
    goal: Goal,
    course: Course,
    step: Step,
}

/// Waits for all `goals`; fails with the reasons of those that do not get there. Ctrl-C ends the
/// wait, not the work.
pub async fn wait(client: &Client, goals: Vec<Goal>, options: WaitOptions) -> Result<()> {
    let first = goals.first().map(|g| g.service_id.clone()).unwrap_or_default();
    let result = tokio::select! {
        result = follow(client, goals, options) => result,
        _ = tokio::signal::ctrl_c() => {
            output::note(format_args!(
                "Operation continuing in background.\nUse `swarmctl service ps {first}` to \
                 check progress."
            ));
            Err(interrupted())
        }
    };
    result
}

async fn follow(client: &Client, goals: Vec<Goal>, options: WaitOptions) -> Result<()> {
    let started = Instant::now();
    let mut screen = Screen::new(options.quiet, goals.len() == 1);
    let ids: Vec<String> = goals.iter().map(|g| g.service_id.clone()).collect();
    let mut changes = Changes::new(client.clone(), ids);
    let mut runs: Vec<Run> = goals
        .into_iter()
        .map(|goal| Run {
            course: Course::new(goal.rolling_back, goal.verify, options.max_failures),
            goal,
            step: Step::default(),
        })
        .collect();
    loop {
        // Before reading, so that no change falls between.
        changes.subscribe().await;
        look(client, &mut runs, started.elapsed()).await?;
        let shown: Vec<Shown<'_>> =
            runs.iter().map(|r| Shown { name: &r.goal.name, step: &r.step }).collect();
        screen.show(&shown)?;
        if runs.iter().all(|r| r.step.verdict.is_final()) {
            break;
        }
        if options.timeout.is_some_and(|most| started.elapsed() >= most) {
            return Err(timed_out(&runs, options.timeout.unwrap_or_default()));
        }
        let stabilizing =
            runs.iter().any(|r| matches!(r.step.verdict, Verdict::Stabilizing { .. }));
        changes.next(stabilizing).await;
    }
    finish(&runs, options.quiet)
}

/// Reads the services and tasks of all goals that are still open.
async fn look(client: &Client, runs: &mut [Run], now: Duration) -> Result<()> {
    let open: Vec<String> = runs
        .iter()
        .filter(|r| !r.step.verdict.is_final())
        .map(|r| r.goal.service_id.clone())
        .collect();
    let request = ListTasksRequest {
        service_ids: open.clone(),
        up_to_date: true,
        ..ListTasksRequest::default()
    };
    let tasks = ask!(client, list_tasks, request)?.tasks;
    for run in runs.iter_mut().filter(|r| open.contains(&r.goal.service_id)) {
        let own: Vec<&Task> =
            tasks.iter().filter(|t| t.service_id == run.goal.service_id).collect();
        let request = GetServiceRequest { service: run.goal.service_id.clone() };
        run.step = match ask!(client, get_service, request) {
            Ok(GetServiceResponse { service: Some(service), counts }) => {
                let counts = counts.unwrap_or_default();
                run.course.advance(&Facts { service: &service, counts, tasks: &own, now })
            }
            Ok(_) => bail!("the manager sent no service object"),
            Err(error) if is_not_found(&error) => Step {
                verdict: Verdict::Failed("the service was removed meanwhile".into()),
                ..Step::default()
            },
            Err(error) => return Err(error),
        };
    }
    Ok(())
}

fn timed_out(runs: &[Run], after: Duration) -> anyhow::Error {
    let mut errors = Vec::new();
    for run in runs {
        let name = &run.goal.name;
        match &run.step.verdict {
            Verdict::Done => {}
            Verdict::Failed(why) => errors.push(format!("{name}: {why}")),
            Verdict::Working | Verdict::Stabilizing { .. } => {
                let reasons = run.step.reasons();
                let (done, wanted) = run.step.overall;
                errors.push(format!("{name}: {done} out of {wanted} tasks run{reasons}"));
            }
        }
    }
    let after = swarm_api::duration::format(after);
    anyhow!("not converged after {after}; it goes on in the background:\n{}", errors.join("\n"))
}

fn finish(runs: &[Run], quiet: bool) -> Result<()> {
    let mut errors = Vec::new();
    for run in runs {
        match &run.step.verdict {
            Verdict::Failed(why) if runs.len() == 1 => errors.push(anyhow!("{why}")),
            Verdict::Failed(why) => errors.push(anyhow!("{}: {why}", run.goal.name)),
            _ if runs.len() == 1 && !quiet => {
                output::line(format_args!("verify: Service {} converged", run.goal.service_id))?;
            }
            _ => {}
        }
    }
    join(errors)
}
