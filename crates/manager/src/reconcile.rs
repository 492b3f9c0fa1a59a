//! The passes: what the cluster is to do next, decided over one snapshot of the store and written in one transaction.
//!
//! A pass is a pure function of the view and the time. It makes the slots that services ask for, restarts what ended,
//! moves updates on, hands out networks, addresses and ports, places tasks on nodes, and removes what is history. Its
//! steps never call agents: `dispatch` tells them what was written. Run by the leader only ([`run`]).

mod allocate;
mod birth;
mod clean;
mod draft;
mod enforce;
mod lost;
mod orchestrate;
mod placing;
mod plan;
mod reap;
mod reference;
mod restart;
mod runner;
mod scope;
mod slot;
mod update;
mod wake;

use std::collections::{BTreeMap, BTreeSet};

use swarm_raft_store::View;

pub(crate) use allocate::usage;
pub use plan::Plan;
pub use runner::{ReconcileError, run, run_by};

use draft::Draft;
use scope::Scope;
use wake::Wake;

/// Decides over the whole view. `now_ns` is the time of the transaction that the plan goes into, nanoseconds since the
/// epoch; `ids` names new tasks.
pub fn pass(view: &View, now_ns: i64, ids: &mut impl FnMut() -> String) -> Plan {
    pass_over(view, now_ns, ids, &Scope::everything())
}

/// Decides over what is in scope.
fn pass_over(view: &View, now: i64, ids: &mut dyn FnMut() -> String, scope: &Scope) -> Plan {
    let mut owned = Draft::new(view, now, ids);
    let draft = &mut owned;
    if scope.everything || scope.networks {
        allocate::allocate_networks(draft);
    }
    let mut services = scope.services(view);
    let mut nodes = scope.nodes(view);
    if scope.everything {
        nodes.iter().for_each(|node_id| enforce::enforce(draft, node_id, &mut services));
    }
    let wakes: BTreeMap<String, Option<i64>> =
        services.iter().map(|id| (id.clone(), tend(draft, id).earliest())).collect();
    let mut pools = None;
    let waiting = placing::place_waiting(draft, &mut pools, services.into_iter());
    let touched: BTreeSet<String> =
        draft.tasks.values().flatten().map(|t| t.node_id.clone()).collect();
    nodes.extend(touched);
    if scope.networks {
        nodes.extend(draft.all_nodes().map(|n| n.id.clone()).collect::<Vec<_>>());
    }
    nodes.iter().for_each(|node_id| allocate::attach_node(draft, &mut pools, node_id));
    Plan::of(owned, wakes, waiting)
}

/// All that concerns one service, save the placement of its tasks. Returns when to look at it again.
fn tend(draft: &mut Draft<'_>, service_id: &str) -> Wake {
    let mut wake = Wake::default();
    lost::orphan(draft, service_id, &mut wake);
    let Some(service) = draft.service(service_id).cloned() else {
        orchestrate::abandon(draft, service_id);
        reap::settle(draft, service_id);
        reap::reap(draft, service_id, None);
        return wake;
    };
    restart::restart(draft, &service, &mut wake);
    orchestrate::orchestrate(draft, &service);
    update::adopt(draft, &service);
    update::update(draft, &service, &mut wake);
    let service = draft.service(service_id).cloned().unwrap_or(service);
    restart::thin(draft, &service);
    restart::promote(draft, &service, &mut wake);
    reap::settle(draft, service_id);
    reap::reap(draft, service_id, Some(&service));
    wake
}

#[cfg(test)]
pub(crate) mod tests;
