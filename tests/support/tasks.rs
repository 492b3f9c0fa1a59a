//! What the cluster says of the tasks of a service, and the processes behind them on this machine.

use std::collections::BTreeSet;

use crate::cluster::Cluster;
use crate::wait::eventually;

/// One line of `service ps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    /// `service.slot`.
    pub name: String,
    /// Hostname of its node; empty when it has none.
    pub node: String,
    /// What the managers want of it.
    pub desired: String,
    /// The first word of its current state.
    pub state: String,
    /// Why it does not run, without quotes.
    pub error: String,
}

impl Cluster {
    /// Makes a service without waiting for it, and gives its id. Its tasks end at once when they are stopped.
    pub fn create(&self, node: &str, args: &[&str]) -> String {
        let flags = ["service", "create", "-d", "-q", "--stop-signal", "KILL"];
        self.ctl(node, &[&flags, args].concat()).ok()
    }

    /// All tasks of a service, as `service ps --no-trunc` lists them.
    pub fn tasks(&self, node: &str, service: &str) -> Vec<TaskRow> {
        let format = "{{.Name}}|{{.Node}}|{{.DesiredState}}|{{.CurrentState}}|{{.Error}}";
        let args = ["service", "ps", "--no-trunc", "--format", format, service];
        let listed = self.ctl(node, &args).stdout;
        listed.lines().filter_map(row).collect()
    }

    /// Waits until a task of the service shows an error that contains `text`; gives that task.
    pub fn wait_error(&self, node: &str, service: &str, text: &str) -> TaskRow {
        eventually(&format!("a task of {service} says {text:?}"), || {
            let tasks = self.tasks(node, service);
            let found = tasks.iter().find(|t| t.error.contains(text)).cloned();
            found.ok_or_else(|| format!("{tasks:#?}"))
        })
    }

    /// Waits until a task of the service is in `state`; gives that task.
    pub fn wait_state(&self, node: &str, service: &str, state: &str) -> TaskRow {
        eventually(&format!("a task of {service} is {state}"), || {
            let tasks = self.tasks(node, service);
            let found = tasks.iter().find(|t| t.state == state).cloned();
            found.ok_or_else(|| format!("{tasks:#?}"))
        })
    }

    /// The nodes on which tasks of a service run, sorted; one entry per task.
    pub fn hosts_of(&self, node: &str, service: &str) -> Vec<String> {
        let mut hosts: Vec<String> =
            self.running(node, service).into_iter().map(|(_, host)| host).collect();
        hosts.sort();
        hosts
    }

    /// Host pids of the first processes of all containers of this cluster.
    pub fn containers(&self) -> BTreeSet<u32> {
        let children = |shim: u32| {
            let path = format!("/proc/{shim}/task/{shim}/children");
            std::fs::read_to_string(path).unwrap_or_default()
        };
        let lists: Vec<String> = self.shims().into_iter().map(children).collect();
        lists.iter().flat_map(|list| list.split(' ')).filter_map(|pid| pid.parse().ok()).collect()
    }
}

/// Without the quotes that errors are shown in.
fn unquoted(error: &str) -> &str {
    error.strip_prefix('"').and_then(|e| e.strip_suffix('"')).unwrap_or(error)
}

fn row(line: &str) -> Option<TaskRow> {
    let mut fields = line.splitn(5, '|').map(str::to_owned);
    let mut next = || fields.next();
    let (name, node, desired, state, error) = (next()?, next()?, next()?, next()?, next()?);
    Some(TaskRow {
        name: name.trim_start_matches([' ', '\\', '_']).to_owned(),
        node,
        desired,
        state: state.split(' ').next().unwrap_or_default().to_owned(),
        error: unquoted(&error).to_owned(),
    })
}
