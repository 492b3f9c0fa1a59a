//! Power cuts: what no completed sync covers is dropped or torn.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;

use super::platter::Platter;
use crate::backend::redb::Redb;
use crate::backend::{LogBackend, Write};

/// What the database must hold.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    log: BTreeMap<u64, Vec<u8>>,
    vote: Option<Vec<u8>>,
}

enum Step {
    Append(u64, Vec<Vec<u8>>),
    Truncate(u64),
    Purge(u64),
    Vote(Vec<u8>),
}

impl Model {
    fn draw(&self, random: &mut StdRng) -> Step {
        let first = self.log.first_key_value().map_or(1, |(index, _)| *index);
        let next = self.log.last_key_value().map_or(first, |(index, _)| index + 1);
        let mut blob = |most| {
            let length = random.random_range(1..most);
            (0..length).map(|_| random.random()).collect::<Vec<u8>>()
        };
        let records: Vec<_> = (0..8).map(|n| blob(if n == 0 { 6000 } else { 400 })).collect();
        let vote = blob(30);
        let within = random.random_range(first..=next);
        match random.random_range(0..20) {
            0 => Step::Truncate(within),
            1 => Step::Purge(within),
            2 => Step::Vote(vote),
            n => Step::Append(next, records[..1 + n % 8].to_vec()),
        }
    }

    fn after(&self, step: &Step) -> Self {
        let mut next = self.clone();
        match step {
            Step::Append(from, records) => next.log.extend((*from..).zip(records.iter().cloned())),
            Step::Truncate(index) => next.log.retain(|at, _| at < index),
            Step::Purge(index) => next.log.retain(|at, _| at > index),
            Step::Vote(vote) => next.vote = Some(vote.clone()),
        }
        next
    }

    fn read(backend: &Redb) -> Self {
        let log = backend.read(0, u64::MAX, usize::MAX).unwrap().into_iter().collect();
        Self { log, vote: backend.get("vote").unwrap() }
    }
}

fn writes(step: &Step) -> Vec<Write> {
    match step {
        Step::Append(from, records) => (*from..)
            .zip(records.iter().cloned())
            .map(|(index, record)| Write::Put { index, record })
            .collect(),
        Step::Truncate(index) => vec![Write::TruncateFrom(*index)],
        Step::Purge(index) => vec![Write::PurgeTo(*index)],
        Step::Vote(vote) => vec![Write::Set { name: "vote", record: vote.clone() }],
    }
}

/// Works on the disk until its power fails: what was acknowledged, and what may be there besides.
fn work(platter: Platter, known: Model, random: &mut StdRng) -> (Model, Model, u64) {
    let mut acknowledged = 0;
    let mut model = known;
    let Ok(backend) = Redb::over(platter) else { return (model.clone(), model, 0) };
    assert_eq!(Model::read(&backend), model);
    loop {
        let step = model.draw(random);
        let next = model.after(&step);
        if backend.commit(writes(&step)).is_err() {
            return (model, next, acknowledged);
        }
        (model, acknowledged) = (next, acknowledged + 1);
    }
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let (cycles, mut random) = super::crash::cycles(50);
    let (mut image, mut model, mut acknowledged) = (Vec::new(), Model::default(), 0);
    for cycle in 0..cycles {
        // Often a new database: a cut while it is made is a case of its own.
        if cycle % 10 == 0 {
            (image, model) = (Vec::new(), Model::default());
        }
        let platter = Platter::new(image, random.random_range(0..400));
        let (least, most, count) = work(platter.clone(), model, &mut random);
        image = platter.remains(&mut random);
        let reopened = Platter::new(image, u64::MAX);
        let backend = Redb::over(reopened.clone());
        let found = Model::read(&backend.unwrap_or_else(|e| panic!("cycle {cycle}: {e}")));
        let allowed = found == least || found == most;
        assert!(allowed, "cycle {cycle}: after {count} commits");
        (image, model, acknowledged) = (reopened.synced(), found, acknowledged + count);
    }
    println!("{cycles} power cuts, {acknowledged} acknowledged commits, none lost");
}
