//! The leader's life: on winning leadership everything that only a leader does is started, on losing it everything ends.
//!
//! It is the only writer of the [`Seat`]. An actor that ends by itself ends the leadership with it: another manager takes
//! over, or this one starts all of its actors anew. If that does not help either, the node is told to stop.

use std::sync::Arc;
use std::time::Duration;

use swarm_raft_store::{Leadership, Replica, Store};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::dispatch::Dispatcher;
use crate::logs::Broker;
use crate::membership::{self, RoleManager};
use crate::quorum::Quorum;
use crate::reconcile;
use crate::rotation::Finisher;
use crate::seat::{Leading, Seat};
use crate::seed::{self, ClusterSeed};
use crate::spare::SpareKeeper;

/// How long actors may take to end when leadership does.
const GRACE: Duration = Duration::from_secs(5);
/// Between an actor's death and the next try to lead: another manager has had time to take over.
const PAUSE: Duration = Duration::from_millis(500);
/// An actor may learn that leadership is gone before this much later everybody has.
const NEWS: Duration = Duration::from_millis(300);
/// So many failures in a row are no accident.
const MAX_FAILURES: u32 = 5;
/// A reign of this length was a success.
const GOOD_REIGN: Duration = Duration::from_secs(60);

/// What the leader's life needs.
pub struct Lead {
    pub replica: Replica,
    pub store: Store,
    pub clock: Clock,
    pub own_id: String,
    /// What to make of an empty store; only for the first manager of a new cluster.
    pub seed: Option<ClusterSeed>,
    pub seats: watch::Sender<Seat>,
    pub cancel: CancellationToken,
}

impl Lead {
    /// Runs until cancelled. An error is final: the node must stop.
    pub async fn run(self) -> Result<(), String> {
        let mut leadership = self.replica.leadership();
        let mut failures = 0;
        while !self.cancel.is_cancelled() {
            let state = leadership.borrow_and_update().clone();
            if !state.is_leader {
                self.follow(&state);
                tokio::select! {
                    () = self.cancel.cancelled() => break,
                    changed = leadership.changed() => {
                        changed.map_err(|_| "the replica has ended".to_owned())?;
                    }
                }
                continue;
            }
            let start = Instant::now();
            let Err(reason) = self.reign(&mut leadership, state.term).await else { continue };
            failures = if start.elapsed() >= GOOD_REIGN { 1 } else { failures + 1 };
            if failures >= MAX_FAILURES {
                return Err(format!("this manager cannot lead: {reason}"));
            }
            self.step_down(&reason).await;
        }
        self.sit(Seat::Vacant);
        Ok(())
    }

    fn follow(&self, state: &Leadership) {
        let Some(leader) = &state.leader else { return self.sit(Seat::Vacant) };
        let same =
            matches!(&*self.seats.borrow(), Seat::Elsewhere { leader: l, .. } if l == leader);
        // Not ready to lead yet, though Raft says so.
        if leader.node_id == self.own_id {
            self.sit(Seat::Vacant);
        } else if !same {
            let term = self.cancel.child_token();
            self.sit(Seat::Elsewhere { leader: leader.clone(), term });
        }
    }

    /// Takes the seat; whatever was begun under the former one ends.
    fn sit(&self, seat: Seat) {
        if let Seat::Elsewhere { term, .. } | Seat::Here { term, .. } =
            self.seats.send_replace(seat)
        {
            term.cancel();
        }
    }

    /// Leads until leadership is lost or this manager stops (both fine), or something that a leader needs fails.
    async fn reign(
        &self,
        leadership: &mut watch::Receiver<Leadership>,
        raft_term: u64,
    ) -> Result<(), String> {
        let term = self.cancel.child_token();
        let mut actors = JoinSet::new();
        let over = |l: &Leadership| !l.is_leader || l.term != raft_term;
        let mut outcome = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Ok(()),
            lost = leadership.wait_for(over) => {
                lost.map(|_| ()).map_err(|_| "the replica has ended".to_owned())
            }
            reason = self.work(&term, &mut actors) => Err(reason),
        };
        if outcome.is_err() && self.ends(leadership, over).await {
            outcome = Ok(());
        }
        self.sit(Seat::Vacant);
        term.cancel();
        let ended = async { while actors.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            actors.shutdown().await;
        }
        outcome
    }

    /// Whether an actor's end was only the first sign that this manager stops or leads no more.
    async fn ends(
        &self,
        leadership: &mut watch::Receiver<Leadership>,
        over: impl FnMut(&Leadership) -> bool,
    ) -> bool {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => true,
            lost = leadership.wait_for(over) => lost.is_ok(),
            () = tokio::time::sleep(NEWS) => false,
        }
    }

    /// Starts everything and watches over it. Returns only with the reason why it cannot go on.
    async fn work(&self, term: &CancellationToken, actors: &mut JoinSet<Ended>) -> String {
        if let Err(error) = self.replica.read_barrier().await {
            return format!("reading what is committed failed: {error}");
        }
        if let Err(reason) = seed::ensure(&self.store, &self.clock, self.seed.as_ref()).await {
            return reason.to_string();
        }
        let members: Vec<_> = self.replica.members().into_iter().map(|m| m.member).collect();
        if let Err(reason) = membership::note(&self.store, &self.clock, &members).await {
            return reason.to_string();
        }
        let leading = Arc::new(self.start(term, actors));
        self.sit(Seat::Here { leading, term: term.clone() });
        tracing::info!("this manager leads");
        match actors.join_next().await {
            Some(Ok((name, Ok(())))) => format!("the {name} has ended"),
            Some(Ok((name, Err(reason)))) => format!("the {name} has failed: {reason}"),
            Some(Err(error)) => format!("an actor has panicked: {error}"),
            None => "there is nothing to lead with".into(),
        }
    }

    fn start(&self, term: &CancellationToken, actors: &mut JoinSet<Ended>) -> Leading {
        let store = &self.store;
        let quorum = Quorum::Replicated(self.replica.clone());
        let passes = reconcile::run_by(store.clone(), self.clock.clone(), term.clone());
        actors.spawn(async { ("reconciler", passes.await.map_err(|e| e.to_string())) });
        let notes = note_moves(self.replica.clone(), store.clone(), self.clock.clone());
        let notes = term.clone().run_until_cancelled_owned(notes);
        actors.spawn(async { ("addresses' keeper", notes.await.unwrap_or(Ok(()))) });
        let spares = SpareKeeper::new(store.clone(), quorum.clone(), self.clock.clone());
        let spares = spares.run(term.clone());
        actors.spawn(async { ("spare keeper", spares.await.map_err(|e| e.to_string())) });
        let roles =
            RoleManager::new(store.clone(), quorum, self.clock.clone(), self.own_id.clone());
        let roles = roles.run(term.clone());
        actors.spawn(async { ("role manager", roles.await.map_err(|e| e.to_string())) });
        let rotation = Finisher::new(store.clone(), self.clock.clone()).run(term.clone());
        actors.spawn(async { ("root rotation", rotation.await.map_err(|e| e.to_string())) });
        let dispatcher = Dispatcher::by(store.clone(), self.clock.clone(), term.clone());
        let liveness = dispatcher.clone().run();
        actors.spawn(async { ("dispatcher", liveness.await.map_err(|e| e.to_string())) });
        let broker = Broker::new(store.clone(), term.clone());
        let readers = broker.clone().run();
        actors.spawn(async {
            readers.await;
            ("log broker", Ok(()))
        });
        Leading { dispatcher, broker }
    }

    async fn step_down(&self, reason: &str) {
        tracing::error!(reason, "stepping down");
        let quorum = Quorum::Replicated(self.replica.clone());
        let hand_over = async {
            // Without another manager there is nobody to hand over to: then this one tries again.
            if let Err(error) = quorum.hand_over().await {
                tracing::debug!(%error, "leadership stays here");
            }
            tokio::time::sleep(PAUSE).await;
        };
        self.cancel.run_until_cancelled(hand_over).await;
    }
}

/// Writes down where managers are whenever the group's membership changes: a join may end between the change and its note.
async fn note_moves(replica: Replica, store: Store, clock: Clock) -> Result<(), String> {
    let mut group = replica.group();
    loop {
        let members = group.borrow_and_update().clone();
        if let Err(error) = membership::note(&store, &clock, &members).await {
            tracing::info!(%error, "where managers are could not be written down yet");
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        if group.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Which actor ended, and how.
type Ended = (&'static str, Result<(), String>);
