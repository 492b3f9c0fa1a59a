//! Saving the whole state for an operator, while the cluster runs: what was acknowledged before the
//! call is in it.

use std::pin::Pin;

use futures::Stream;
use swarm_api::*;
use swarm_raft_store::{ArchiveCover, Replica, View, write_archive};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::authorize::{Audience, Gate};
use crate::clock::Clock;
use crate::custody::Custody;
use crate::refusal::Refusal;

/// Pieces made ahead of the client.
const AHEAD: usize = 2;

/// The snapshot service.
pub struct SnapshotService {
    replica: Replica,
    clock: Clock,
    gate: Gate,
}

impl SnapshotService {
    /// Saves what `replica` holds.
    pub fn new(replica: Replica, clock: Clock, gate: Gate) -> Self {
        Self { replica, clock, gate }
    }
}

type Pieces = Pin<Box<dyn Stream<Item = Result<SnapshotPiece, Status>> + Send>>;

#[tonic::async_trait]
impl snapshots_server::Snapshots for SnapshotService {
    type SaveSnapshotStream = Pieces;

    async fn save_snapshot(
        &self,
        request: Request<SaveSnapshotRequest>,
    ) -> Result<Response<Pieces>, Status> {
        self.gate.admit(&request, Audience::Operators)?;
        self.replica.read_barrier().await.map_err(Refusal::from)?;
        let view = self.replica.store().view();
        let key = Custody::of(&view).and_then(|custody| custody.recovery_key);
        let key = key.ok_or_else(|| Status::internal("the cluster has no recovery key"))?;
        let cover = self.replica.cover(&view, self.clock.now_nanos());
        let (sender, pieces) = mpsc::channel(AHEAD);
        // Encoding a large store takes a while.
        tokio::task::spawn_blocking(move || send(&sender, &view, &cover, key.bytes()));
        Ok(Response::new(Box::pin(ReceiverStream::new(pieces))))
    }
}

type Sender = mpsc::Sender<Result<SnapshotPiece, Status>>;

/// Ends early when the client is gone.
fn send(sender: &Sender, view: &View, cover: &ArchiveCover, key: &[u8; 32]) {
    let mut bytes = 0;
    let written = write_archive(view, cover, key, |piece| {
        bytes += piece.len() as u64;
        let piece = SnapshotPiece { data: piece.to_vec(), saved: None };
        sender.blocking_send(Ok(piece)).map_err(std::io::Error::other)
    });
    let saved = SavedSnapshot {
        index: view.version(),
        term: cover.term,
        saved_at: Some(time::from_nanos(cover.saved_at_ns)),
        bytes,
    };
    let last = match written {
        Ok(()) => Ok(SnapshotPiece { data: Vec::new(), saved: Some(saved) }),
        Err(error) => Err(Status::internal(format!("save the snapshot: {error}"))),
    };
    let _ = sender.blocking_send(last);
}
