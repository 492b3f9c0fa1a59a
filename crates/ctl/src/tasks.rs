//! The table of tasks that `service ps`, `node ps` and `stack ps` show, and its filters.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use swarm_api::image::ImageRef;
use swarm_api::{ListNodesRequest, ListTasksRequest, Node, PublishMode, Task, TaskState};

use crate::age::ago;
use crate::client::{Client, ask};
use crate::filter::FilterSet;
use crate::listing::{Column, ListFlags, Listing};
use crate::order::natural;
use crate::shape::task::{parse_state, state};

/// Characters of an error that fit in the table.
const ERROR_WIDTH: usize = 30;

const COLUMNS: &[Column] = &[
    ("ID", "ID"),
    ("NAME", "_Name"),
    ("IMAGE", "Image"),
    ("NODE", "Node"),
    ("DESIRED STATE", "DesiredState"),
    ("CURRENT STATE", "CurrentState"),
    ("ERROR", "Error"),
    ("PORTS", "Ports"),
];

/// Flags of every list of tasks.
#[derive(Args, Debug, Default)]
pub struct TaskFlags {
    /// Only tasks with KEY=VALUE: id, name, node, desired-state, label
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Show ids in place of node names
    #[arg(long)]
    no_resolve: bool,
    /// Show ids, images and errors in full
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    list: ListFlags,
}

/// Shows the tasks that `request` finds.
pub async fn show(client: &Client, flags: &TaskFlags, request: ListTasksRequest) -> Result<()> {
    let allowed = ["id", "name", "node", "desired-state", "label"];
    let filters = FilterSet::parse(&flags.filter, &allowed)?;
    for wanted in filters.values("desired-state") {
        if parse_state(wanted).is_none() {
            anyhow::bail!("invalid desired state '{wanted}'");
        }
    }
    let tasks = ask!(client, list_tasks, request)?.tasks;
    let nodes = ask!(client, list_nodes, ListNodesRequest::default())?.nodes;
    let node_id = match filters.values("node").iter().any(|n| n == "self") {
        true => client.info().await?.node_id,
        false => String::new(),
    };
    let view = View { flags, hosts: hostnames(&nodes), own: node_id, now: SystemTime::now() };
    let kept = tasks.into_iter().filter(|task| view.keeps(task, &filters)).collect();
    Listing { columns: COLUMNS, rows: view.rows(kept), key: "ID" }.print(&flags.list)
}

/// Hostnames by node id.
pub fn hostnames(nodes: &[Node]) -> BTreeMap<String, String> {
    nodes.iter().map(|n| (n.id.clone(), n.hostname().to_owned())).collect()
}

struct View<'a> {
    flags: &'a TaskFlags,
    hosts: BTreeMap<String, String>,
    own: String,
    now: SystemTime,
}

impl View<'_> {
    fn host<'a>(&'a self, id: &'a str) -> &'a str {
        match self.flags.no_resolve {
            true => id,
            false => self.hosts.get(id).map_or(id, String::as_str),
        }
    }

    /// As `web.1`, or `web.<node>` for a global service.
    fn name(&self, task: &Task) -> String {
        task.slot_name()
    }

    fn keeps(&self, task: &Task, filters: &FilterSet) -> bool {
        let labels = task.service_annotations.as_ref().map(|a| &a.labels);
        let host = self.hosts.get(&task.node_id).map_or("", String::as_str);
        filters.allows("id", |id| task.id.starts_with(id))
            && filters.allows("name", |n| self.name(task).starts_with(n))
            && filters.allows("desired-state", |s| parse_state(s) == Some(task.desired_state()))
            && filters.allows("node", |n| {
                n == host || task.node_id.starts_with(n) || n == "self" && task.node_id == self.own
            })
            && filters.labels_match("label", labels)
    }

    /// Ordered by name, newest first; the older ones of a slot are marked.
    fn rows(&self, mut tasks: Vec<Task>) -> Vec<Value> {
        tasks.sort_by(|a, b| natural(&self.name(a), &self.name(b)).then_with(|| newest(a, b)));
        let mut seen = BTreeSet::new();
        tasks
            .iter()
            .map(|task| {
                let name = self.name(task);
                let first = seen.insert(name.clone());
                self.row(task, &name, first)
            })
            .collect()
    }

    fn row(&self, task: &Task, name: &str, first: bool) -> Value {
        let whole = self.flags.no_trunc;
        let image = task.spec.as_ref().and_then(|s| s.container.as_ref()).map_or("", |c| &c.image);
        let status = task.status.clone().unwrap_or_default();
        json!({
            "ID": if whole { &task.id } else { swarm_api::id::short(&task.id) },
            "Name": name,
            "_Name": if first { name.to_owned() } else { format!(" \\_ {name}") },
            "Image": if whole { image.to_owned() } else { without_digest(image) },
            "Node": self.host(&task.node_id),
            "DesiredState": capital(state(task.desired_state())),
            "CurrentState": format!(
                "{} {}",
                capital(state(status.state())),
                ago(status.timestamp.as_ref(), self.now).to_lowercase()
            ),
            "Error": quoted(reason(task), whole),
            "Ports": host_ports(task),
        })
    }
}

fn newest(a: &Task, b: &Task) -> Ordering {
    let made = |t: &Task| {
        t.meta.as_ref().and_then(|m| m.created_at).map_or(0, |at| swarm_api::time::to_nanos(&at))
    };
    made(b).cmp(&made(a)).then_with(|| b.id.cmp(&a.id))
}

/// The image as users wrote it: `name:tag`.
pub fn without_digest(image: &str) -> String {
    match ImageRef::parse(image) {
        Ok(parsed) if parsed.tag.is_some() => ImageRef { digest: None, ..parsed }.familiar(),
        _ => image.to_owned(),
    }
}

/// Why the task is not running; empty when it is, or when it ended as it should.
pub fn reason(task: &Task) -> &str {
    let Some(status) = &task.status else { return "" };
    if !status.err.is_empty() {
        return &status.err;
    }
    match status.state() {
        TaskState::Pending | TaskState::Failed | TaskState::Rejected | TaskState::Orphaned => {
            &status.message
        }
        // On its way, running or ended as asked: the message only repeats the state.
        _ => "",
    }
}

fn quoted(reason: &str, whole: bool) -> String {
    if reason.is_empty() {
        return String::new();
    }
    // One task, one line.
    let line = reason.replace(['\n', '\t'], " ");
    if whole || line.chars().count() <= ERROR_WIDTH {
        return format!("\"{line}\"");
    }
    let start: String = line.chars().take(ERROR_WIDTH - 1).collect();
    format!("\"{start}…\"")
}

/// A word with a capital.
pub fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |c| c.to_uppercase().chain(letters).collect())
}

fn host_ports(task: &Task) -> String {
    let ports = task.status.as_ref().map_or(&[][..], |s| &s.host_ports);
    let shown: Vec<String> = ports
        .iter()
        .filter(|p| p.mode() == PublishMode::Host)
        .map(|p| {
            let host = if p.host_ip.is_empty() { "*" } else { &p.host_ip };
            let protocol = swarm_api::port::protocol_name(p.protocol());
            format!("{host}:{}->{}/{protocol}", p.published, p.target)
        })
        .collect();
    shown.join(",")
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use swarm_api::{Annotations, Meta, TaskStatus};

    use super::*;

    fn task(id: &str, slot: u64, at: i64, state: TaskState, message: &str) -> Task {
        Task {
            id: id.into(),
            slot,
            node_id: "n1".into(),
            meta: Some(Meta {
                created_at: Some(Timestamp { seconds: at, nanos: 0 }),
                ..Meta::default()
            }),
            service_annotations: Some(Annotations { name: "web".into(), ..Default::default() }),
            status: Some(TaskStatus {
                state: state.into(),
                message: message.into(),
                timestamp: Some(Timestamp { seconds: at, nanos: 0 }),
                ..TaskStatus::default()
            }),
            desired_state: TaskState::Running.into(),
            ..Task::default()
        }
    }

    fn view(flags: &TaskFlags) -> View<'_> {
        View {
            flags,
            hosts: BTreeMap::from([("n1".into(), "m1".into())]),
            own: String::new(),
            now: SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(400),
        }
    }

    #[test]
    fn the_newest_task_of_a_slot_comes_first_and_the_others_are_its_history() {
        let flags = TaskFlags::default();
        let rows = view(&flags).rows(vec![
            task("old", 2, 100, TaskState::Shutdown, ""),
            task("ten", 10, 100, TaskState::Running, ""),
            task("new", 2, 340, TaskState::Running, "running"),
        ]);
        let cells: Vec<_> = rows
            .iter()
            .map(|r| [r["ID"].clone(), r["_Name"].clone(), r["CurrentState"].clone()])
            .collect();
        assert_eq!(cells[0], ["new", "web.2", "Running about a minute ago"]);
        assert_eq!(cells[1], ["old", " \\_ web.2", "Shutdown 5 minutes ago"]);
        assert_eq!(cells[2], ["ten", "web.10", "Running 5 minutes ago"]);
        assert_eq!(rows[0]["Node"], "m1");
    }

    #[test]
    fn a_task_that_is_not_running_says_why() {
        let why = "no suitable node (insufficient resources on 2 nodes)";
        let pending = task("a", 1, 0, TaskState::Pending, why);
        assert_eq!(reason(&pending), why);
        assert_eq!(quoted(why, true), format!("\"{why}\""));
        assert_eq!(quoted(why, false), "\"no suitable node (insufficien…\"");
        assert_eq!(reason(&task("b", 1, 0, TaskState::Running, "started")), "");
        assert_eq!(reason(&task("c", 1, 0, TaskState::Starting, "starting")), "");
    }

    #[test]
    fn the_digest_is_shown_only_in_full() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(without_digest(&format!("nginx:1@{digest}")), "nginx:1");
        assert_eq!(without_digest("web"), "web:latest");
    }
}
