//! A task's state only grows, and so does the state that it is to be in; where it runs is decided
//! once.

use std::collections::BTreeMap;

use swarm_api::Task;

use super::{Law, Look};

/// State, desired state, node.
type Known = (i32, i32, String);

#[derive(Default)]
pub struct TaskStates {
    /// Host and life, and each task as it was there.
    tasks: BTreeMap<usize, (u32, BTreeMap<String, Known>)>,
}

impl Law for TaskStates {
    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        if look.digest.is_none() {
            return Ok(());
        }
        let (life, tasks) = self.tasks.entry(look.host).or_default();
        if *life != look.before.life {
            (*life, *tasks) = (look.before.life, BTreeMap::new());
        }
        for task in look.view.all::<Task>() {
            let now = (task.state() as i32, task.desired_state, task.node_id.clone());
            let before = tasks.insert(task.id.clone(), now.clone()).unwrap_or_default();
            let moved = !before.2.is_empty() && before.2 != now.2;
            if now.0 < before.0 || now.1 < before.1 || moved {
                return Err(format!(
                    "task states: {} went from {before:?} to {now:?} on n{}",
                    task.id,
                    look.host + 1
                ));
            }
        }
        Ok(())
    }
}
