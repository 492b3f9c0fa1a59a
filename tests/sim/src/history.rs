//! What clients did and were told, and whether some single order of it all explains every answer.
//!
//! The search is a library's (Wing and Gong's, with Lowe's memory of dead ends). Registers are
//! checked one by one, which is as good as all at once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

/// A value of a register; each is written at most once. `None`: there is no such object.
pub type Value = Option<u64>;

/// An operation with its outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    /// Was told this value.
    Read(Value),
    /// Replaced the first by the second.
    Swapped(Value, Value),
    /// Was refused, because the value was not this one.
    Refused(Value),
    /// Was told nothing: may have replaced the first by the second, or may yet.
    Unknown(Value, Value),
}

/// A register.
struct Register;

impl Specification for Register {
    type State = Value;
    type Operation = Op;

    fn init() -> Value {
        None
    }

    fn apply(op: &Op, state: &Value) -> (bool, Value) {
        match *op {
            Op::Read(value) => (value == *state, *state),
            Op::Swapped(from, to) => (from == *state, to),
            Op::Refused(from) => (from != *state, *state),
            // What finds another value changes nothing; so does what never came.
            Op::Unknown(from, to) => (true, if from == *state { to } else { *state }),
        }
    }
}

/// An operation that began and has not ended.
pub struct Begun {
    register: usize,
    number: usize,
}

#[derive(Default)]
pub struct Record {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Beginnings and ends in the order in which they happened, by register.
    events: BTreeMap<usize, Vec<(usize, bool)>>,
    outcomes: Vec<Option<Op>>,
}

impl Record {
    /// A client begins an operation, which is this if it is never told the outcome.
    pub fn begin(&self, register: usize, untold: Option<Op>) -> Begun {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let number = inner.outcomes.len();
        inner.outcomes.push(untold);
        inner.events.entry(register).or_default().push((number, true));
        Begun { register, number }
    }

    /// It was told the outcome.
    pub fn end(&self, begun: Begun, outcome: Op) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.outcomes[begun.number] = Some(outcome);
        // One without an answer may take effect at any time up to the end of the run.
        if !matches!(outcome, Op::Unknown(..)) {
            inner.events.entry(begun.register).or_default().push((begun.number, false));
        }
    }

    /// It certainly changed nothing, and told nothing.
    pub fn forget(&self, begun: Begun) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.outcomes[begun.number] = None;
    }

    /// How many operations were answered, and how many were not.
    pub fn counts(&self) -> (usize, usize) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown =
            inner.outcomes.iter().filter(|op| matches!(op, None | Some(Op::Unknown(..)))).count();
        (inner.outcomes.len() - unknown, unknown)
    }

    /// Whether the answers make sense; which register's do not.
    pub fn check(&self) -> Result<(), String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for (register, events) in &inner.events {
            let actions = actions(events, &inner.outcomes);
            if actions.is_empty() {
                continue;
            }
            let shown = format!("{actions:?}");
            if !WGLChecker::<Register>::is_linearizable(History::from_actions(actions)) {
                return Err(format!(
                    "linearizability: no order explains what clients were told of register \
                     {register}: {shown}"
                ));
            }
        }
        Ok(())
    }
}

fn actions(events: &[(usize, bool)], outcomes: &[Option<Op>]) -> Vec<(usize, Action<Op>)> {
    let mut actions = Vec::new();
    let mut open = Vec::new();
    for (number, begins) in events {
        // A read that was cut off says nothing.
        let Some(op) = outcomes[*number] else { continue };
        if *begins {
            actions.push((*number, Action::Call(op)));
            open.push((*number, op));
        } else {
            actions.push((*number, Action::Response(op)));
            open.retain(|(other, _)| other != number);
        }
    }
    actions.extend(open.into_iter().map(|(number, op)| (number, Action::Response(op))));
    actions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ops: &[Op]) -> Record {
        let record = Record::default();
        for op in ops {
            let begun = record.begin(0, None);
            record.end(begun, *op);
        }
        record
    }

    #[test]
    fn what_one_client_does_makes_sense() {
        let ops = [
            Op::Read(None),
            Op::Swapped(None, Some(1)),
            Op::Refused(None),
            Op::Read(Some(1)),
            Op::Swapped(Some(1), None),
        ];
        assert!(record(&ops).check().is_ok());
    }

    #[test]
    fn a_stale_read_is_found() {
        let ops = [Op::Swapped(None, Some(1)), Op::Swapped(Some(1), Some(2)), Op::Read(Some(1))];
        assert!(record(&ops).check().is_err());
    }

    #[test]
    fn a_lost_write_is_found() {
        assert!(record(&[Op::Swapped(None, Some(1)), Op::Read(None)]).check().is_err());
    }

    #[test]
    fn a_stale_refusal_is_found() {
        assert!(record(&[Op::Swapped(None, Some(1)), Op::Refused(Some(1))]).check().is_err());
    }

    #[test]
    fn an_unanswered_write_may_come_late_or_never_but_not_twice() {
        let unknown = Op::Unknown(None, Some(1));
        assert!(record(&[unknown, Op::Read(None)]).check().is_ok());
        assert!(record(&[unknown, Op::Read(None), Op::Read(Some(1))]).check().is_ok());
        let twice = [unknown, Op::Swapped(Some(1), None), Op::Read(None), Op::Read(Some(1))];
        assert!(record(&twice).check().is_err());
    }

    #[test]
    fn a_write_cannot_take_effect_before_it_began() {
        assert!(record(&[Op::Read(Some(1)), Op::Swapped(None, Some(1))]).check().is_err());
    }
}
