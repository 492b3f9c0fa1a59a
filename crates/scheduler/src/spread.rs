//! The decision tree of the spread preferences: branches by label value, at its leaves the nodes, best first.
//! Tasks are handed out one at a time to the branch that has the fewest; a full branch is passed over.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use swarm_api::{Node, PlacementPreference};

/// How good a node is; the smallest is best. `index` is the node's place in the order of ids, so ties are settled alike
/// every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) faults: usize,
    pub(crate) of_service: usize,
    pub(crate) total: usize,
    pub(crate) index: usize,
}

/// A branch, or a leaf where there are no more preferences.
#[derive(Default)]
pub(crate) struct Branch {
    tasks: usize,
    full: bool,
    children: BTreeMap<String, Branch>,
    nodes: BinaryHeap<Reverse<Rank>>,
}

impl Branch {
    /// Adds a node under its label values. Its tasks count for the branch even if it takes no more (`rank` is `None`).
    pub(crate) fn add(&mut self, values: &[&str], tasks: usize, rank: Option<Rank>) {
        self.tasks += tasks;
        match values {
            [] => self.nodes.extend(rank.map(Reverse)),
            [first, rest @ ..] => {
                self.children.entry((*first).to_owned()).or_default().add(rest, tasks, rank);
            }
        }
    }

    /// Hands out one task. `assign` takes the chosen node's index and returns its new rank if it can take another.
    pub(crate) fn assign(
        &mut self,
        assign: &mut impl FnMut(usize) -> Option<Rank>,
    ) -> Option<usize> {
        let chosen = if self.children.is_empty() {
            self.nodes.pop().map(|Reverse(best)| {
                self.nodes.extend(assign(best.index).map(Reverse));
                best.index
            })
        } else {
            self.assign_below(assign)
        };
        match chosen {
            Some(_) => self.tasks += 1,
            None => self.full = true,
        }
        chosen
    }

    fn assign_below(&mut self, assign: &mut impl FnMut(usize) -> Option<Rank>) -> Option<usize> {
        loop {
            let open = self.children.values_mut().filter(|child| !child.full);
            let child = open.min_by_key(|child| child.tasks)?;
            if let Some(index) = child.assign(assign) {
                return Some(index);
            }
        }
    }
}

/// The node's value at each level of the tree; an absent label is the empty one. Preferences on anything but labels are
/// ignored.
pub(crate) fn values<'n>(node: &'n Node, preferences: &[PlacementPreference]) -> Vec<&'n str> {
    preferences.iter().filter_map(|p| value(node, &p.spread)).collect()
}

fn value<'n>(node: &'n Node, descriptor: &str) -> Option<&'n str> {
    let strip = |prefix: &str| {
        let head = descriptor.get(..prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then(|| &descriptor[prefix.len()..])
    };
    let found = if let Some(key) = strip("node.labels.") {
        let annotations = node.spec.as_ref().and_then(|s| s.annotations.as_ref());
        annotations.and_then(|a| a.labels.get(key))
    } else {
        let key = strip("engine.labels.")?;
        let engine = node.description.as_ref().and_then(|d| d.engine.as_ref());
        engine.and_then(|e| e.labels.get(key))
    };
    Some(found.map_or("", String::as_str))
}
