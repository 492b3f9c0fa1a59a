//! Random transactions on the store and on a model of plain maps: both must say and hold the same,
//! and so must a store restored from a snapshot.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::raft::SnapshotMeta;
use crate::raft::snapshot::{Assembly, SnapshotFile, chunks, count};
use crate::raft::wire::SnapshotEnd;
use crate::seal::Sealer;
use crate::state::State;

/// Few ids and names, so that they clash.
#[derive(Debug, Clone)]
enum Step {
    CreateSecret { id: u8, name: u8 },
    RenameSecret { id: u8, name: u8, stale: bool },
    RemoveSecret { id: u8 },
    PutTask { id: u8, service: u8, node: u8, slot: u8, desired: u8 },
    RemoveTask { id: u8 },
}

/// Service, node, slot, desired state.
type TaskRow = (u8, u8, u8, u8);

const DESIRED: [TaskState; 3] = [TaskState::Ready, TaskState::Running, TaskState::Shutdown];

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    secrets: BTreeMap<u8, u8>,
    tasks: BTreeMap<u8, TaskRow>,
}

fn step() -> impl Strategy<Value = Step> {
    let small = 0..6_u8;
    prop_oneof![
        (small.clone(), small.clone()).prop_map(|(id, name)| Step::CreateSecret { id, name }),
        (small.clone(), small.clone(), prop::bool::weighted(0.1))
            .prop_map(|(id, name, stale)| Step::RenameSecret { id, name, stale }),
        small.clone().prop_map(|id| Step::RemoveSecret { id }),
        (0..12_u8, 0..3_u8, 0..3_u8, 0..3_u8, 0..3_u8).prop_map(
            |(id, service, node, slot, desired)| Step::PutTask { id, service, node, slot, desired }
        ),
        (0..12_u8).prop_map(|id| Step::RemoveTask { id }),
    ]
}

fn named(id: u8, name: u8) -> Secret {
    secret(&format!("s{id}"), &format!("n{name}"))
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

impl Model {
    /// What the step does; `false` if it must be refused.
    fn apply(&mut self, step: &Step) -> bool {
        match *step {
            Step::CreateSecret { id, name } => {
                let free = !self.secrets.contains_key(&id) && self.owner(name).is_none();
                free && self.secrets.insert(id, name).is_none()
            }
            Step::RenameSecret { id, name, stale } => {
                let free = self.owner(name).is_none_or(|owner| owner == id);
                !stale && free && self.secrets.get_mut(&id).map(|now| *now = name).is_some()
            }
            Step::RemoveSecret { id } => self.secrets.remove(&id).is_some(),
            Step::PutTask { id, service, node, slot, desired } => {
                self.tasks.insert(id, (service, node, slot, desired));
                true
            }
            Step::RemoveTask { id } => self.tasks.remove(&id).is_some(),
        }
    }

    fn owner(&self, name: u8) -> Option<u8> {
        self.secrets.iter().find(|(_, n)| **n == name).map(|(id, _)| *id)
    }

    fn check(&self, view: &View) {
        let secrets: Vec<_> = self.secrets.iter().map(|(i, n)| named(*i, *n)).collect();
        let stored = view.all::<Secret>().map(|s| Secret { meta: None, ..s.clone() });
        assert_eq!(stored.collect::<Vec<_>>(), secrets);
        for name in 0..6 {
            let owner = view.by_name::<Secret>(&format!("n{name}")).map(|s| s.id.clone());
            assert_eq!(owner, self.owner(name).map(|id| format!("s{id}")));
        }
        let stored = view.all::<Task>().map(|t| Task { meta: None, ..t.clone() });
        let tasks: Vec<_> = self.tasks.iter().map(|(id, row)| task(*id, *row)).collect();
        assert_eq!(stored.collect::<Vec<_>>(), tasks);
        for n in 0..3_u8 {
            self.check_index(view.tasks_of_service(&format!("v{n}")), |row| row.0 == n);
            self.check_index(view.tasks_of_node(&format!("h{n}")), |row| row.1 == n);
            let desired = view.tasks_desired(DESIRED[usize::from(n)]);
            self.check_index(desired, |row| row.3 == n);
            for slot in 1..3_u8 {
                let service = format!("v{n}");
                let found = view.tasks_of_slot(&service, slot.into());
                self.check_index(found, |row| row.0 == n && row.2 == slot);
            }
        }
    }

    fn check_index<'a>(
        &self,
        found: impl Iterator<Item = &'a Task>,
        belongs: impl Fn(&TaskRow) -> bool,
    ) {
        let expected = self.tasks.iter().filter(|(_, row)| belongs(row));
        let expected: Vec<_> = expected.map(|(id, _)| format!("t{id:02}")).collect();
        assert_eq!(found.map(|t| t.id.clone()).collect::<Vec<_>>(), expected);
    }
}

fn carry_out(tx: &mut Transaction, step: &Step) -> Result<(), StoreError> {
    match *step {
        Step::CreateSecret { id, name } => tx.create(named(id, name)),
        Step::RenameSecret { id, name, stale } => {
            let meta = tx.view().get::<Secret>(&format!("s{id}")).and_then(|s| s.meta);
            let meta = if stale { None } else { meta };
            tx.update(Secret { meta, ..named(id, name) })
        }
        Step::RemoveSecret { id } => tx.remove::<Secret>(&format!("s{id}")),
        Step::PutTask { id, service, node, slot, desired } => {
            let task = task(id, (service, node, slot, desired));
            match tx.view().get::<Task>(&task.id).map(|t| t.meta) {
                Some(meta) => tx.update(Task { meta, ..task }),
                None => tx.create(task),
            }
        }
        Step::RemoveTask { id } => tx.remove::<Task>(&format!("t{id:02}")),
    }
}

fn same(a: &State, b: &State) {
    let encoded = |state: &State| chunks(state).collect::<Vec<_>>();
    assert_eq!(encoded(a), encoded(b));
    assert_eq!(a.version, b.version);
    assert!(a.requests().eq(b.requests()));
}

fn check_snapshot(state: &State, model: &Model) {
    let mut assembly = Assembly::default();
    chunks(state).for_each(|chunk| assembly.add(&chunk).unwrap());
    let end = SnapshotEnd { items: count(state) };
    let restored = assembly.finish(state.version, end).unwrap();
    same(state, &restored);
    model.check(&View(Arc::new(restored)));
    let dir = tempfile::tempdir().unwrap();
    let file = SnapshotFile::new(dir.path(), Arc::new(Sealer::new(&[7; 32]).unwrap()));
    file.write(&SnapshotMeta::default(), state).unwrap();
    same(state, &file.read().unwrap().unwrap().1);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn the_store_does_what_a_model_does_and_a_snapshot_restores_all_of_it(
        transactions in prop::collection::vec(prop::collection::vec(step(), 1..6), 1..30)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (store, mut model) = (Store::standalone(), Model::default());
        for (n, steps) in transactions.iter().enumerate() {
            let mut next = model.clone();
            let accepted = steps.iter().all(|step| next.apply(step));
            let request = if n % 2 == 0 { format!("r{n}") } else { String::new() };
            let result = runtime.block_on(store.transact_once(1, &request, |tx| {
                steps.iter().try_for_each(|step| carry_out(tx, step))
            }));
            prop_assert_eq!(result.is_ok(), accepted, "{:?}: {:?}", steps, result);
            if accepted {
                model = next;
            }
            model.check(&store.view());
        }
        check_snapshot(&store.view().0, &model);
    }
}
