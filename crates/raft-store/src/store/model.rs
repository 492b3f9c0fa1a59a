//! Random transactions, alone and sharing a command, on the store and on a model of plain maps:
//! both must say and hold the same, and so must another replica, a subscriber, and a store restored
//! from a snapshot.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;
use swarm_api::object::Stored;
use swarm_api::{
    Annotations, ConfigReference, ContainerSpec, Kind, NetworkAttachmentConfig, Object,
    RaftCommand, Secret, SecretReference, SecretSpec, Service, ServiceSpec, Task, TaskSpec,
    TaskState,
};

use super::*;
use crate::apply::{Applied, apply};
use crate::raft::SnapshotMeta;
use crate::raft::snapshot::{Assembly, SnapshotFile, chunks, count};
use crate::raft::wire::SnapshotEnd;
use crate::seal::Sealer;
use crate::state::State;
use crate::{Action, Change};

/// What an update is based on.
#[derive(Debug, Clone, Copy)]
enum Read {
    /// What the transaction sees.
    Now,
    /// What the store held before the command.
    Before,
    Never,
}

/// Few ids and names, so that they clash.
#[derive(Debug, Clone)]
enum Step {
    CreateSecret { id: u8, name: u8 },
    RenameSecret { id: u8, name: u8, read: Read },
    RemoveSecret { id: u8 },
    PutTask { id: u8, row: TaskRow },
    RemoveTask { id: u8 },
    PutService { id: u8, row: ServiceRow },
    RemoveService { id: u8 },
}

/// Service, node, slot, desired state.
type TaskRow = (u8, u8, u8, u8);
/// Which of three secrets, configs and networks it refers to, as bits.
type ServiceRow = (u8, u8, u8);

const DESIRED: [TaskState; 3] = [TaskState::Ready, TaskState::Running, TaskState::Shutdown];

fn step() -> impl Strategy<Value = Step> {
    let few = || 0..6_u8;
    let three = || 0..3_u8;
    let read = prop_oneof![8 => Just(Read::Now), 2 => Just(Read::Before), 1 => Just(Read::Never)];
    prop_oneof![
        2 => (few(), few()).prop_map(|(id, name)| Step::CreateSecret { id, name }),
        2 => (few(), few(), read)
            .prop_map(|(id, name, read)| Step::RenameSecret { id, name, read }),
        1 => few().prop_map(|id| Step::RemoveSecret { id }),
        4 => (0..12_u8, (three(), three(), three(), three()))
            .prop_map(|(id, row)| Step::PutTask { id, row }),
        1 => (0..12_u8).prop_map(|id| Step::RemoveTask { id }),
        2 => (three(), (0..8_u8, 0..8_u8, 0..8_u8))
            .prop_map(|(id, row)| Step::PutService { id, row }),
        1 => three().prop_map(|id| Step::RemoveService { id }),
    ]
}

fn secret(id: u8, name: u8) -> Secret {
    let annotations = Annotations { name: format!("n{name}"), ..Annotations::default() };
    let spec = SecretSpec { annotations: Some(annotations), data: vec![name] };
    Secret { id: format!("s{id}"), spec: Some(spec), ..Secret::default() }
}

fn task(id: u8, (service, node, slot, desired): TaskRow) -> Task {
    Task {
        id: format!("t{id:02}"),
        service_id: format!("v{service}"),
        node_id: format!("h{node}"),
        slot: slot.into(),
        desired_state: DESIRED[usize::from(desired)] as i32,
        ..Task::default()
    }
}

fn bits(row: u8) -> impl Iterator<Item = u8> {
    (0..3).filter(move |bit| row & 1 << bit != 0)
}

fn service(id: u8, (secrets, configs, networks): ServiceRow) -> Service {
    let secrets = bits(secrets)
        .map(|n| SecretReference { secret_id: format!("r{n}"), ..SecretReference::default() });
    let configs = bits(configs)
        .map(|n| ConfigReference { config_id: format!("r{n}"), ..ConfigReference::default() });
    let networks = bits(networks).map(|n| NetworkAttachmentConfig {
        target: format!("r{n}"),
        ..NetworkAttachmentConfig::default()
    });
    let (secrets, configs) = (secrets.collect(), configs.collect());
    let container = ContainerSpec { secrets, configs, ..ContainerSpec::default() };
    let networks = networks.collect();
    let task = TaskSpec { container: Some(container), networks, ..TaskSpec::default() };
    let spec = ServiceSpec { task: Some(task), ..ServiceSpec::default() };
    Service { id: format!("v{id}"), spec: Some(spec), ..Service::default() }
}

/// Rows, each with its version.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    secrets: BTreeMap<u8, (u8, u64)>,
    tasks: BTreeMap<u8, (TaskRow, u64)>,
    services: BTreeMap<u8, (ServiceRow, u64)>,
}

/// A transaction of the model: what it writes is at version `index`.
struct Draft<'a> {
    before: &'a Model,
    now: Model,
    index: u64,
    /// What updates of secrets that it wrote may be based on besides.
    own: BTreeMap<u8, u64>,
}

fn taken(name: String) -> Result<(), StoreError> {
    Err(StoreError::AlreadyExists { kind: "secret", name })
}

fn removed<T>(row: Option<T>, kind: &'static str, id: String) -> Result<(), StoreError> {
    row.map(|_| ()).ok_or(StoreError::NotFound { kind, id })
}

impl Draft<'_> {
    fn apply(&mut self, step: &Step) -> Result<(), StoreError> {
        let now = &mut self.now;
        match *step {
            Step::CreateSecret { id, .. } if now.secrets.contains_key(&id) => {
                return taken(format!("s{id}"));
            }
            Step::CreateSecret { name, .. } if now.owner(name).is_some() => {
                return taken(format!("n{name}"));
            }
            Step::CreateSecret { id, name } => {
                self.own.insert(id, 0);
                now.secrets.insert(id, (name, self.index));
            }
            Step::RenameSecret { id, name, read } => return self.rename(id, name, read),
            Step::RemoveSecret { id } => {
                return removed(now.secrets.remove(&id), "secret", format!("s{id}"));
            }
            Step::PutTask { id, row } => drop(now.tasks.insert(id, (row, self.index))),
            Step::RemoveTask { id } => {
                return removed(now.tasks.remove(&id), "task", format!("t{id:02}"));
            }
            Step::PutService { id, row } => drop(now.services.insert(id, (row, self.index))),
            Step::RemoveService { id } => {
                return removed(now.services.remove(&id), "service", format!("v{id}"));
            }
        }
        Ok(())
    }

    fn rename(&mut self, id: u8, name: u8, read: Read) -> Result<(), StoreError> {
        let stored = self.now.secrets.get(&id).map(|row| row.1);
        let Some(want) = stored else { return removed(stored, "secret", format!("s{id}")) };
        let have = match read {
            Read::Now => want,
            Read::Before => self.before.secrets.get(&id).map_or(0, |row| row.1),
            Read::Never => 0,
        };
        if have != want && self.own.get(&id) != Some(&have) {
            let id = format!("s{id}");
            return Err(StoreError::OutOfSequence { kind: "secret", id, have, want });
        }
        if self.now.owner(name).is_some_and(|owner| owner != id) {
            return taken(format!("n{name}"));
        }
        self.own.entry(id).or_insert(want);
        self.now.secrets.insert(id, (name, self.index));
        Ok(())
    }
}

fn carry_out(tx: &mut Transaction, before: &View, step: &Step) -> Result<(), StoreError> {
    fn put<T: Stored>(tx: &mut Transaction, mut object: T) -> Result<(), StoreError> {
        match tx.view().get::<T>(object.id()).map(|found| found.meta().copied()) {
            Some(meta) => {
                *object.meta_mut() = meta;
                tx.update(object)
            }
            None => tx.create(object),
        }
    }
    match *step {
        Step::CreateSecret { id, name } => tx.create(secret(id, name)),
        Step::RenameSecret { id, name, read } => {
            let found = match read {
                Read::Now => tx.view().get::<Secret>(&format!("s{id}")),
                Read::Before => before.get(&format!("s{id}")),
                Read::Never => None,
            };
            let meta = found.and_then(|s| s.meta);
            tx.update(Secret { meta, ..secret(id, name) })
        }
        Step::RemoveSecret { id } => tx.remove::<Secret>(&format!("s{id}")),
        Step::PutTask { id, row } => put(tx, task(id, row)),
        Step::RemoveTask { id } => tx.remove::<Task>(&format!("t{id:02}")),
        Step::PutService { id, row } => put(tx, service(id, row)),
        Step::RemoveService { id } => tx.remove::<Service>(&format!("v{id}")),
    }
}

fn versioned<T: Stored>(mut object: T) -> (T, u64) {
    let version = object.version();
    *object.meta_mut() = None;
    (object, version)
}

fn stored<T: Stored>(view: &View) -> Vec<(T, u64)> {
    view.all::<T>().cloned().map(versioned).collect()
}

fn ids<'a, T: Stored>(found: impl Iterator<Item = &'a T>) -> Vec<String> {
    found.map(|object| object.id().to_owned()).collect()
}

impl Model {
    fn owner(&self, name: u8) -> Option<u8> {
        self.secrets.iter().find(|(_, row)| row.0 == name).map(|(id, _)| *id)
    }

    fn check(&self, view: &View) {
        let secrets = self.secrets.iter().map(|(id, (name, at))| (secret(*id, *name), *at));
        assert_eq!(stored::<Secret>(view), secrets.collect::<Vec<_>>());
        let tasks = self.tasks.iter().map(|(id, (row, at))| (task(*id, *row), *at));
        assert_eq!(stored::<Task>(view), tasks.collect::<Vec<_>>());
        let services = self.services.iter().map(|(id, (row, at))| (service(*id, *row), *at));
        assert_eq!(stored::<Service>(view), services.collect::<Vec<_>>());
        for name in 0..6 {
            let owner = view.by_name::<Secret>(&format!("n{name}")).map(|s| s.id.clone());
            assert_eq!(owner, self.owner(name).map(|id| format!("s{id}")));
        }
        for n in 0..3_u8 {
            self.check_tasks(view, n);
            self.check_services(view, n);
        }
        let prefixed = view.0.table(Kind::Task).by_prefix("t1").map(|o| crate::record::id(o));
        let expected = self.tasks.keys().filter(|id| **id >= 10).map(|id| format!("t{id}"));
        assert_eq!(prefixed.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    /// Every index against a full scan.
    fn check_tasks(&self, view: &View, n: u8) {
        let scan = |fits: &dyn Fn(&TaskRow) -> bool| -> Vec<String> {
            let found = self.tasks.iter().filter(|(_, (row, _))| fits(row));
            found.map(|(id, _)| format!("t{id:02}")).collect()
        };
        let (service, node) = (format!("v{n}"), format!("h{n}"));
        assert_eq!(ids(view.tasks_of_service(&service)), scan(&|row| row.0 == n));
        assert_eq!(ids(view.tasks_of_node(&node)), scan(&|row| row.1 == n));
        let desired = view.tasks_desired(DESIRED[usize::from(n)]);
        assert_eq!(ids(desired), scan(&|row| row.3 == n));
        for slot in 1..3_u8 {
            let found = view.tasks_of_slot(&service, slot.into());
            assert_eq!(ids(found), scan(&|row| row.0 == n && row.2 == slot));
        }
    }

    fn check_services(&self, view: &View, n: u8) {
        let scan = |refers: &dyn Fn(&ServiceRow) -> u8| -> Vec<String> {
            let found = self.services.iter().filter(|(_, (row, _))| refers(row) & 1 << n != 0);
            found.map(|(id, _)| format!("v{id}")).collect()
        };
        let id = format!("r{n}");
        assert_eq!(ids(view.services_using_secret(&id)), scan(&|row| row.0));
        assert_eq!(ids(view.services_using_config(&id)), scan(&|row| row.1));
        assert_eq!(ids(view.services_using_network(&id)), scan(&|row| row.2));
    }
}

fn same(a: &State, b: &State) {
    let encoded = |state: &State| chunks(state).collect::<Vec<_>>();
    assert_eq!(encoded(a), encoded(b));
    assert_eq!(a.version, b.version);
    assert!(a.requests().eq(b.requests()));
}

fn same_changes(a: &Applied, b: &Applied) {
    let plain = |c: &Change| (c.action, Object::clone(&c.object), c.old.as_deref().cloned());
    let all = |applied: &Applied| applied.changes.iter().map(plain).collect::<Vec<_>>();
    assert_eq!(all(a), all(b));
}

fn check_snapshot(state: &State, model: &Model) {
    let mut assembly = Assembly::default();
    chunks(state).for_each(|chunk| assembly.add(&chunk).unwrap());
    let end = SnapshotEnd { items: count(state) };
    let restored = assembly.finish(state.version, end).unwrap();
    same(state, &restored);
    model.check(&View(Arc::new(restored)));
    let dir = tempfile::tempdir().unwrap();
    let file = SnapshotFile::new(dir.path(), Arc::new(Sealer::new(&[7; 32].into()).unwrap()));
    file.write(&SnapshotMeta::default(), state).unwrap();
    same(state, &file.read().unwrap().unwrap().1);
}

/// The store, its model, and one who follows it.
struct Pair {
    publisher: Arc<Publisher>,
    model: Model,
    feed: Subscription,
    mirror: BTreeMap<(Kind, String), Arc<Object>>,
    commits: Vec<Arc<Commit>>,
}

impl Pair {
    fn new() -> Self {
        let publisher = Publisher::new();
        let feed = publisher.subscribe();
        let (mirror, commits) = (BTreeMap::new(), Vec::new());
        Self { publisher, model: Model::default(), feed, mirror, commits }
    }

    /// Transactions that share a command.
    fn command(&mut self, transactions: &[Vec<Step>]) {
        let base = self.publisher.view();
        let index = base.version() + 1;
        let now = i64::try_from(index).unwrap();
        let mut batch = Batch::new(base.clone(), index, now);
        let before = self.model.clone();
        let mut requests = Vec::new();
        for (n, steps) in transactions.iter().enumerate() {
            let (now, own) = (self.model.clone(), BTreeMap::new());
            let mut draft = Draft { before: &before, now, index, own };
            let expected = steps.iter().try_for_each(|step| draft.apply(step));
            let mut tx = batch.begin().unwrap();
            let result = steps.iter().try_for_each(|step| carry_out(&mut tx, &base, step));
            assert_eq!(result, expected, "{steps:?}");
            match tx.cost().filter(|_| result.is_ok()) {
                Some(bytes) => {
                    let request = format!("r{index}-{n}");
                    batch.keep(tx, bytes, &request);
                    requests.push(request);
                    self.model = draft.now;
                }
                None => batch.put_back(tx),
            }
            let looked = batch.begin().unwrap();
            self.model.check(looked.view());
            batch.put_back(looked);
        }
        if let Some(finished) = batch.finish() {
            let command = RaftCommand::decode(finished.command()).unwrap();
            let elsewhere = apply(&base.0, command, index).unwrap();
            same(&elsewhere.state, &finished.applied.state);
            same_changes(&elsewhere, &finished.applied);
            let Applied { state, changes } = finished.applied;
            self.publisher.commit(state, Commit { version: index, changes });
        }
        let view = self.publisher.view();
        self.model.check(&view);
        let remembered = |request: &String| view.request_applied(request) == Some(index);
        assert!(requests.iter().all(remembered));
    }

    /// Every change tells what was before, and nothing is left out.
    fn follow(&mut self, runtime: &tokio::runtime::Runtime) {
        let view = self.publisher.view();
        while self.feed.version() < view.version() {
            let commit = runtime.block_on(self.feed.next()).unwrap();
            for change in &commit.changes {
                let (kind, id) = crate::apply::key(&change.object).unwrap();
                let before = match change.action {
                    Action::Removed => self.mirror.remove(&(kind, id)),
                    _ => self.mirror.insert((kind, id), Arc::clone(&change.object)),
                };
                assert_eq!(before, change.old);
            }
            self.commits.push(commit);
        }
        let held: usize =
            [Kind::Secret, Kind::Task, Kind::Service].map(|k| view.0.table(k).len()).iter().sum();
        assert_eq!(self.mirror.len(), held);
        for ((kind, id), object) in &self.mirror {
            assert_eq!(view.0.table(*kind).get(id), Some(object));
        }
    }

    /// Whoever resumes from a version gets exactly what came after it.
    fn check_resumed(&self, runtime: &tokio::runtime::Runtime) {
        let middle = self.commits.len() / 2;
        let Some(seen) = self.commits.get(middle).map(|commit| commit.version) else { return };
        let mut resumed = self.publisher.subscribe_after(seen).unwrap();
        for commit in &self.commits[middle + 1..] {
            assert!(Arc::ptr_eq(&runtime.block_on(resumed.next()).unwrap(), commit));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn the_store_does_what_a_model_does_and_a_snapshot_restores_all_of_it(
        commands in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(step(), 1..6), 1..4),
            1..16,
        )
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut pair = Pair::new();
        for transactions in &commands {
            pair.command(transactions);
            pair.follow(&runtime);
        }
        pair.check_resumed(&runtime);
        check_snapshot(&pair.publisher.view().0, &pair.model);
    }
}
