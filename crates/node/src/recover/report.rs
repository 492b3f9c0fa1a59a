//! What recovery tells before it acts: what comes back, and what is known to be lost. Pure.

use std::fmt::Write;
use std::time::SystemTime;

use serde_json::{Value, json};
use swarm_api::time::nanos_of;
use swarm_manager::recovery::{Heir, Salvage};

use crate::args::RecoverArgs;
use crate::state::StateDir;

/// The plan in words.
pub fn plan(
    salvage: &Salvage,
    heir: &Heir,
    here: &StateDir,
    wanted: &RecoverArgs,
    now: SystemTime,
) -> String {
    let mut text = format!("Recover cluster {}\n", salvage.cluster_id());
    line(&mut text, "From", &wanted.from.display().to_string());
    state(&mut text, salvage);
    line(&mut text, "Loss", &loss(salvage, &heir.node_id, now));
    let node = match salvage.knows(&heir.node_id) {
        true => {
            format!("{} ({}), which it was before", heir.node_id, salvage.hostname(&heir.node_id))
        }
        false => format!("{} ({}), a new node", heir.node_id, heir.hostname),
    };
    line(&mut text, "Manager", &format!("{node}, at {}", heir.addr));
    let others = others(salvage, &heir.node_id);
    if !others.is_empty() {
        let words = "become workers when they come back; promote them again to have more managers";
        line(&mut text, "Others", &format!("{} {words}", others.join(", ")));
    }
    let place = here.root().display();
    let moved = match here.root().exists() {
        true => format!("{place}; what is there is moved aside"),
        false => place.to_string(),
    };
    line(&mut text, "Into", &moved);
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, " {:<9} {value}", format!("{name}:"));
}

fn state(text: &mut String, salvage: &Salvage) {
    let at = format!("index {}, term {}", salvage.index(), salvage.term);
    line(text, "State", &format!("{at}, last change {}", time(salvage.changed_at_ns())));
    if let Some(saved_at) = salvage.saved_at_ns {
        line(text, "Saved", &time(saved_at));
    }
    let counts: Vec<String> = salvage.counts().iter().map(|(k, n)| format!("{n} {k}")).collect();
    line(text, "Holds", &counts.join(", "));
}

fn others(salvage: &Salvage, own: &str) -> Vec<String> {
    let others = salvage.members.iter().filter(|m| m.node_id != own);
    others.map(|m| format!("{} ({})", salvage.hostname(&m.node_id), m.addr)).collect()
}

/// What is lost, as far as this state can tell.
fn loss(salvage: &Salvage, own: &str, now: SystemTime) -> String {
    if let Some(saved_at) = salvage.saved_at_ns {
        let hours = (nanos_of(now).saturating_sub(saved_at) / 1_000_000_000).max(0);
        return format!(
            "all that was changed after {}, {} ago",
            time(saved_at),
            swarm_api::duration::format(std::time::Duration::from_secs(hours.unsigned_abs()))
        );
    }
    let (index, committed) = (salvage.index(), salvage.committed.unwrap_or_default());
    let mut text = match index - committed.min(index) {
        0 => format!("nothing of what this manager knew: all up to index {index} was committed"),
        unsure => format!(
            "nothing of what this manager knew: the last {unsure} changes (index {} to {index}) \
             were not known to be committed here, and are kept",
            committed + 1
        ),
    };
    let others: Vec<String> = salvage
        .members
        .iter()
        .filter(|m| m.node_id != own && Some(&m.node_id) != salvage.node_id.as_ref())
        .map(|m| salvage.hostname(&m.node_id))
        .collect();
    if !others.is_empty() {
        let _ = write!(
            text,
            "; what only {} acknowledged after index {index} is lost",
            others.join(" and ")
        );
    }
    text
}

/// A snapshot in words.
pub fn snapshot(salvage: &Salvage, file: &str) -> String {
    let mut text = format!("Snapshot of cluster {}\n", salvage.cluster_id());
    line(&mut text, "File", file);
    state(&mut text, salvage);
    let managers: Vec<String> = salvage
        .members
        .iter()
        .map(|m| format!("{} ({})", salvage.hostname(&m.node_id), m.addr))
        .collect();
    line(&mut text, "Managers", &managers.join(", "));
    text
}

/// A snapshot for programs.
pub fn snapshot_json(salvage: &Salvage, file: &str) -> Value {
    let members = salvage.members.iter();
    let managers: Vec<Value> = members
        .map(|m| json!({"ID": m.node_id, "Hostname": salvage.hostname(&m.node_id), "Addr": m.addr}))
        .collect();
    json!({
        "File": file,
        "ClusterID": salvage.cluster_id(),
        "Index": salvage.index(),
        "Term": salvage.term,
        "SavedAt": salvage.saved_at_ns.map(time),
        "ChangedAt": time(salvage.changed_at_ns()),
        "Counts": salvage.counts(),
        "Managers": managers,
    })
}

fn time(nanos: i64) -> String {
    let at = jiff::Timestamp::from_second(nanos.div_euclid(1_000_000_000));
    at.map_or_else(|_| "an unknown time".to_owned(), |at| at.to_string())
}
