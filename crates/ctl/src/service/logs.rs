//! `swarmctl service logs`: what the tasks of a service, or one task, wrote, on whichever node they
//! ran.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::SystemTime;

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::{
    GetTaskRequest, ListNodesRequest, ListTasksRequest, LogMessage, LogOptions, LogSelector,
    LogStream, SubscribeLogsRequest, Task,
};

use super::find;
use crate::age::{parse_since, rfc3339};
use crate::client::{Client, ask};
use crate::failure::is_not_found;
use crate::output;
use crate::tasks::hostnames;

/// Flags of `service logs`.
#[derive(Args, Debug, Default)]
pub struct LogsFlags {
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// Only from a time (2026-01-02T15:04:05Z) or age (10m) on
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Number of last lines per task, or "all"
    #[arg(short = 'n', long, default_value = "all", value_name = "N")]
    tail: String,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Show ids in place of names
    #[arg(long)]
    no_resolve: bool,
    /// Show ids in full
    #[arg(long)]
    no_trunc: bool,
    /// Leave task ids out
    #[arg(long)]
    no_task_ids: bool,
    /// Show only what was written
    #[arg(long)]
    raw: bool,
    #[arg(long, hide = true)]
    details: bool,
    /// Service or task
    #[arg(value_name = "SERVICE|TASK")]
    reference: String,
}

impl LogsFlags {
    fn options(&self) -> Result<LogOptions> {
        crate::failure::refuse("--details", self.details)?;
        let tail = match self.tail.as_str() {
            "all" => -1,
            number => match number.parse::<i64>() {
                Ok(lines) => lines,
                Err(_) => bail!("invalid --tail \"{number}\": use a number or \"all\""),
            },
        };
        let now = SystemTime::now();
        let since = self.since.as_deref().map(|text| parse_since(text, now)).transpose()?;
        Ok(LogOptions { follow: self.follow, tail, since, streams: Vec::new() })
    }

    /// Shows the logs; what could not be read is said on stderr.
    pub async fn run(self, client: &Client) -> Result<()> {
        let options = self.options()?;
        let (selector, tty) = select(client, &self.reference).await?;
        if tty && !self.raw {
            bail!("tty service logs only supported with --raw");
        }
        let mut names = Names::load(client, &selector).await?;
        let request = SubscribeLogsRequest { selector: Some(selector), options: Some(options) };
        let mut stream = match client.logs().subscribe_logs(request.clone()).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return Err(client.explain(status).await),
        };
        loop {
            let message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(status) => return Err(client.explain(status).await),
            };
            for line in &message.messages {
                names.learn(client, line).await?;
                self.show(line, &names)?;
            }
            for gap in message.gaps {
                output::note(format_args!("warning: incomplete log: {gap}"));
            }
        }
    }

    fn show(&self, message: &LogMessage, names: &Names) -> Result<()> {
        let mut line = Vec::new();
        if self.timestamps {
            line.extend(format!("{} ", rfc3339(message.timestamp.as_ref())).bytes());
        }
        if !self.raw {
            line.extend(names.prefix(message, self).bytes());
        }
        line.extend(&message.data);
        line.push(b'\n');
        match message.stream() {
            LogStream::Stderr => std::io::stderr().lock().write_all(&line)?,
            _ => output::raw(&line)?,
        }
        Ok(())
    }
}

/// What to read, and whether it has a terminal.
async fn select(client: &Client, reference: &str) -> Result<(LogSelector, bool)> {
    let tty = |task: Option<&swarm_api::TaskSpec>| {
        task.and_then(|t| t.container.as_ref()).is_some_and(|c| c.tty)
    };
    match find(client, reference).await {
        Ok(service) => {
            let selector = LogSelector { service_ids: vec![service.id], ..LogSelector::default() };
            return Ok((selector, tty(service.spec.and_then(|s| s.task).as_ref())));
        }
        Err(error) if is_not_found(&error) => {}
        Err(error) => return Err(error),
    }
    match ask!(client, get_task, GetTaskRequest { task: reference.to_owned() }) {
        Ok(answer) => {
            let task = answer.task.unwrap_or_default();
            let selector = LogSelector { task_ids: vec![task.id], ..LogSelector::default() };
            Ok((selector, tty(task.spec.as_ref())))
        }
        Err(error) if is_not_found(&error) => bail!("no such task or service: {reference}"),
        Err(error) => Err(error),
    }
}

/// Names of the tasks and nodes that lines come from.
#[derive(Default)]
struct Names {
    tasks: BTreeMap<String, Task>,
    nodes: BTreeMap<String, String>,
    /// Digits of the largest slot, so that prefixes line up.
    width: usize,
}

impl Names {
    async fn load(client: &Client, selector: &LogSelector) -> Result<Self> {
        let mut names = Names::default();
        let request = ListTasksRequest {
            service_ids: selector.service_ids.clone(),
            ..ListTasksRequest::default()
        };
        if !selector.service_ids.is_empty() {
            for task in ask!(client, list_tasks, request)?.tasks {
                names.insert(task);
            }
        }
        let nodes = ask!(client, list_nodes, ListNodesRequest::default())?.nodes;
        names.nodes = hostnames(&nodes);
        Ok(names)
    }

    fn insert(&mut self, task: Task) {
        self.width = self.width.max(task.slot.to_string().len());
        self.tasks.insert(task.id.clone(), task);
    }

    /// A line may come from a task that began only now.
    async fn learn(&mut self, client: &Client, message: &LogMessage) -> Result<()> {
        let task = message.context.clone().unwrap_or_default().task_id;
        if self.tasks.contains_key(&task) {
            return Ok(());
        }
        match ask!(client, get_task, GetTaskRequest { task: task.clone() }) {
            Ok(answer) => self.insert(answer.task.unwrap_or_default()),
            // Gone meanwhile: its id still names it.
            Err(error) if is_not_found(&error) => {
                self.insert(Task { id: task, ..Task::default() });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// `web.1.<id>@node    | `
    fn prefix(&self, message: &LogMessage, flags: &LogsFlags) -> String {
        let context = message.context.clone().unwrap_or_default();
        let task = self.tasks.get(&context.task_id);
        let id = match flags.no_trunc {
            true => context.task_id.as_str(),
            false => swarm_api::id::short(&context.task_id),
        };
        let named = task.filter(|t| t.service_annotations.is_some());
        let name = match named {
            Some(_) if flags.no_resolve => id.to_owned(),
            Some(task) => {
                let service = task.service_annotations.as_ref().map_or("", |a| &a.name);
                match flags.no_task_ids {
                    true => format!("{service}.{}", task.slot),
                    false => format!("{service}.{}.{id}", task.slot),
                }
            }
            None => id.to_owned(),
        };
        let node = match self.nodes.get(&context.node_id) {
            Some(host) if !flags.no_resolve => host.as_str(),
            _ => swarm_api::id::short(&context.node_id),
        };
        let slot = task.map_or(0, |t| t.slot.to_string().len());
        let padding = " ".repeat(self.width.saturating_sub(slot));
        format!("{name}@{node}{padding}    | ")
    }
}

#[cfg(test)]
mod tests {
    use swarm_api::{Annotations, LogContext};

    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        for slot in [1, 10] {
            names.insert(Task {
                id: format!("task{slot}xxxxxxxxxxxxxxxx"),
                slot,
                service_annotations: Some(Annotations { name: "web".into(), ..Default::default() }),
                ..Task::default()
            });
        }
        names.nodes.insert("n1".into(), "m1".into());
        names
    }

    fn message(task: &str) -> LogMessage {
        let context =
            LogContext { task_id: task.into(), node_id: "n1".into(), ..LogContext::default() };
        LogMessage { context: Some(context), ..LogMessage::default() }
    }

    #[test]
    fn a_line_says_which_task_wrote_it_and_where_and_lines_up() {
        let flags = LogsFlags::default();
        let line = |task: &str| names().prefix(&message(task), &flags);
        assert_eq!(line("task1xxxxxxxxxxxxxxxx"), "web.1.task1xxxxxxx@m1     | ");
        assert_eq!(line("task10xxxxxxxxxxxxxxxx"), "web.10.task10xxxxxx@m1    | ");
    }

    #[test]
    fn ids_can_be_left_out_or_shown_alone() {
        let short = LogsFlags { no_task_ids: true, ..LogsFlags::default() };
        let task = "task10xxxxxxxxxxxxxxxx";
        assert_eq!(names().prefix(&message(task), &short), "web.10@m1    | ");
        let raw = LogsFlags { no_resolve: true, ..LogsFlags::default() };
        assert_eq!(names().prefix(&message(task), &raw), "task10xxxxxx@n1    | ");
    }

    #[test]
    fn tail_is_a_number_or_all() {
        let tail = |t: &str| LogsFlags { tail: t.into(), ..LogsFlags::default() }.options();
        assert_eq!(tail("all").unwrap().tail, -1);
        assert_eq!(tail("5").unwrap().tail, 5);
        assert!(tail("x").is_err());
    }
}
