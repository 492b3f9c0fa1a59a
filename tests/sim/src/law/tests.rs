//! Each law is broken once, on purpose: it must say so, and say nothing of what is right.

use swarm_api::{Annotations, Secret, SecretSpec, Task, TaskState, TaskStatus};
use swarm_raft_store::{Store, StoreError, Transaction};

use super::*;

type Place = (u64, u64);
type Write = Box<dyn Fn(&mut Transaction) -> Result<(), StoreError>>;

/// What one replica shows; changed from test to test.
#[derive(Default)]
struct Scene {
    host: usize,
    before: Seen,
    sight: Sight,
    fresh: Vec<Entry>,
    view: View,
    digest: Option<u64>,
}

impl Scene {
    fn of(host: usize) -> Self {
        let sight = Sight { raft_id: host as u64 + 1, ..Sight::default() };
        Self { host, sight, ..Self::default() }
    }

    /// With a log of entries of these terms from index 1 on, each its term's content, all new.
    fn log(mut self, terms: &[u64]) -> Self {
        let entry = |(at, term): (usize, &u64)| Entry {
            term: *term,
            index: at as u64 + 1,
            digest: *term * 100 + at as u64,
        };
        self.fresh = terms.iter().enumerate().map(entry).collect();
        self.before.log = self.fresh.clone();
        self.sight.last = self.fresh.last().map(|e| (e.term, e.index));
        self
    }

    fn committed(mut self, place: Place) -> Self {
        self.sight.committed = Some(place);
        self
    }

    fn leads(mut self, term: u64) -> Self {
        (self.sight.leads, self.sight.core_term) = (true, term);
        self
    }

    fn shows(mut self, view: View, digest: u64) -> Self {
        (self.view, self.digest) = (view, Some(digest));
        self
    }

    fn to(&self, law: &mut impl Law) -> Result<(), String> {
        law.look(&Look {
            host: self.host,
            before: &self.before,
            sight: &self.sight,
            fresh: &self.fresh,
            view: &self.view,
            digest: self.digest,
        })
    }

    /// Asserts that `law` finds it wrong, in words that start with its name.
    fn breaks(&self, law: &mut impl Law, name: &str) {
        let said = self.to(law).unwrap_err();
        assert!(said.starts_with(name), "{said}");
    }
}

/// Tables after each of these transactions.
fn views(writes: Vec<Write>) -> Vec<View> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Store::standalone();
    let after = writes.into_iter().map(|write| {
        runtime.block_on(store.transact(0, |tx| write(tx))).unwrap();
        store.view()
    });
    after.collect()
}

fn secret(id: &str, name: &str) -> Secret {
    let annotations = Some(Annotations { name: name.into(), ..Annotations::default() });
    let spec = Some(SecretSpec { annotations, ..SecretSpec::default() });
    Secret { id: id.into(), spec, ..Secret::default() }
}

#[test]
fn two_leaders_of_a_term_are_found_also_from_what_is_sent() {
    let mut law = election_safety::ElectionSafety::default();
    Scene::of(0).leads(3).to(&mut law).unwrap();
    Scene::of(0).leads(3).to(&mut law).unwrap();
    Scene::of(1).leads(4).to(&mut law).unwrap();
    Scene::of(1).leads(3).breaks(&mut law, "election safety");
    let said = |leader| Said { target: 1, term: 4, leader: Some(leader), words: String::new() };
    law.hear(&said(2)).unwrap();
    assert!(law.hear(&said(3)).is_err());
}

#[test]
fn logs_that_differ_at_or_before_an_equal_entry_are_found() {
    let mut law = log_matching::LogMatching::default();
    Scene::of(0).log(&[1, 1, 2]).to(&mut law).unwrap();
    Scene::of(1).log(&[1, 1, 3]).to(&mut law).unwrap();
    Scene::of(2).log(&[1, 3, 3]).breaks(&mut law, "log matching");
    let mut other = Scene::of(2).log(&[1, 1, 2]);
    other.fresh[2].digest = 7;
    other.breaks(&mut law, "log matching");
}

#[test]
fn a_leader_without_what_was_committed_is_found() {
    let mut law = leader_completeness::LeaderCompleteness::default();
    Scene::of(0).log(&[1, 2]).committed((2, 2)).leads(2).to(&mut law).unwrap();
    Scene::of(1).log(&[1, 2, 3]).leads(3).to(&mut law).unwrap();
    Scene::of(2).log(&[1]).leads(4).breaks(&mut law, "leader completeness");
}

#[test]
fn another_entry_in_the_place_of_a_committed_one_is_found_and_a_log_cut_behind_it() {
    let mut law = committed_is_immutable::CommittedIsImmutable::default();
    Scene::of(0).log(&[1, 2]).committed((2, 2)).to(&mut law).unwrap();
    Scene::of(1).log(&[1, 3]).committed((1, 1)).to(&mut law).unwrap();
    Scene::of(1).log(&[1, 3]).committed((3, 2)).breaks(&mut law, "committed is immutable");
    Scene::of(2).log(&[1]).committed((2, 2)).breaks(&mut law, "committed is immutable");
}

#[test]
fn a_term_that_goes_back_and_a_second_vote_are_found_unless_the_disk_is_gone() {
    let vote = |term, voted_for, vote_won| {
        let mut scene = Scene::of(0);
        let sight = &mut scene.sight;
        (sight.term, sight.voted_for, sight.vote_won) = (term, voted_for, vote_won);
        scene
    };
    let mut law = monotonic_term::MonotonicTerm::default();
    vote(3, 1, false).to(&mut law).unwrap();
    vote(3, 2, true).to(&mut law).unwrap();
    vote(3, 1, true).breaks(&mut law, "monotonic term");
    vote(2, 1, false).breaks(&mut law, "monotonic term");
    law.forget(0);
    vote(1, 2, false).to(&mut law).unwrap();
}

#[test]
fn a_replica_that_goes_back_is_found() {
    let mut law = monotonic_progress::MonotonicProgress;
    let mut scene = Scene::of(0).committed((2, 5));
    scene.before.sight.committed = Some((2, 4));
    scene.to(&mut law).unwrap();
    scene.before.sight.committed = Some((2, 6));
    scene.breaks(&mut law, "monotonic commit");
    let mut scene = Scene::of(0);
    scene.before.sight.applied = Some((1, 1));
    scene.breaks(&mut law, "monotonic apply");
    let mut scene = Scene::of(0);
    scene.before.version = 1;
    scene.breaks(&mut law, "monotonic apply");
}

#[test]
fn tables_that_differ_at_one_version_are_found() {
    let mut law = state_machine_safety::StateMachineSafety::default();
    Scene::of(0).shows(View::default(), 1).to(&mut law).unwrap();
    Scene::of(1).shows(View::default(), 1).to(&mut law).unwrap();
    Scene::of(2).shows(View::default(), 2).breaks(&mut law, "state machine safety");
}

#[test]
fn objects_that_go_back_to_an_older_version_are_found_until_the_host_starts_anew() {
    let change = |tx: &mut Transaction| {
        let mut changed = tx.view().get::<Secret>("a").cloned().unwrap_or_default();
        changed.spec.get_or_insert_default().data = b"new".to_vec();
        tx.update(changed)
    };
    let seen = views(vec![Box::new(|tx| tx.create(secret("a", "x"))), Box::new(change)]);
    let [old, new] = &seen[..] else { panic!("two transactions") };
    let mut law = version_monotonic::VersionMonotonic::default();
    Scene::of(0).shows(new.clone(), 2).to(&mut law).unwrap();
    Scene::of(1).shows(old.clone(), 1).to(&mut law).unwrap();
    Scene::of(0).shows(old.clone(), 1).breaks(&mut law, "version monotonic");
    let mut anew = Scene::of(0).shows(old.clone(), 1);
    anew.before.life = 1;
    anew.to(&mut law).unwrap();
}

#[test]
fn tasks_that_go_back_or_change_their_node_are_found() {
    let task = |state: TaskState, node: &str| Task {
        id: "t".into(),
        node_id: node.into(),
        status: Some(TaskStatus { state: state as i32, ..TaskStatus::default() }),
        ..Task::default()
    };
    let shown = |task: Task| views(vec![Box::new(move |tx| tx.create(task.clone()))]).remove(0);
    let mut law = task_states::TaskStates::default();
    Scene::of(0).shows(shown(task(TaskState::Pending, "")), 1).to(&mut law).unwrap();
    Scene::of(0).shows(shown(task(TaskState::Running, "n1")), 2).to(&mut law).unwrap();
    Scene::of(0).shows(shown(task(TaskState::Running, "n2")), 3).breaks(&mut law, "task states");
    let mut law = task_states::TaskStates::default();
    Scene::of(0).shows(shown(task(TaskState::Running, "n1")), 1).to(&mut law).unwrap();
    Scene::of(0).shows(shown(task(TaskState::Assigned, "n1")), 2).breaks(&mut law, "task states");
}

#[test]
fn names_that_lead_to_their_owners_are_no_fault() {
    // A store refuses a second owner, so that it cannot be shown one; see the model test there.
    let seen = views(vec![Box::new(|tx| {
        tx.create(secret("a", "x"))?;
        tx.create(secret("b", "y"))
    })]);
    let mut law = unique_names::UniqueNames;
    Scene::of(0).shows(seen[0].clone(), 1).to(&mut law).unwrap();
}
