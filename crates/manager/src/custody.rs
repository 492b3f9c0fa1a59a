//! The keys of the managers, which the cluster object holds: on every manager its node is told when
//! they change, so that it brings what lies on its disk under them.
//!
//! It writes no file: the node does, through [`Custodian`].

use std::sync::Arc;
use std::time::Duration;

use swarm_api::Cluster;
use swarm_api::object::Stored;
use swarm_ca::{RecoveryKey, UnlockKey};
use swarm_raft_store::{Store, View};
use tokio_util::sync::CancellationToken;

/// A node that could not keep the keys tries again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// What the cluster wants of the keys on a manager's disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Custody {
    /// Of the cluster object that says so: an older one counts no more once a newer was kept.
    pub version: u64,
    /// Wraps the manager's own keys; `None`: autolock is off.
    pub unlock_key: Option<UnlockKey>,
    /// Seals snapshots.
    pub recovery_key: Option<RecoveryKey>,
    /// The store is to be sealed under a key made since this number was reached.
    pub data_key_epoch: u64,
}

impl Custody {
    /// As `view` has it; `None` before there is a cluster.
    pub fn of(view: &View) -> Option<Self> {
        let cluster = view.cluster()?;
        let custody = cluster.custody.as_ref();
        let autolock = cluster.spec.as_ref().is_some_and(|s| s.autolock);
        let unlock_key = custody.and_then(|c| UnlockKey::from_slice(&c.unlock_key));
        Some(Self {
            version: cluster.version(),
            unlock_key: unlock_key.filter(|_| autolock),
            recovery_key: custody.and_then(|c| RecoveryKey::from_slice(&c.recovery_key)),
            data_key_epoch: custody.map_or(0, |c| c.data_key_epoch),
        })
    }

    fn same_keys(&self, other: &Self) -> bool {
        self == &Self { version: self.version, ..other.clone() }
    }
}

/// Where a manager's keys lie.
pub trait Custodian: Send + Sync + 'static {
    /// Brings the files under `custody`; on disk when it returns. Blocking. An error is in words, and
    /// it is called again later.
    fn keep(&self, custody: &Custody) -> Result<(), String>;
}

/// Tells the custodian, until cancelled.
pub async fn run(
    store: Store,
    custodian: Arc<dyn Custodian>,
    cancel: CancellationToken,
) -> Result<(), String> {
    let mut commits = store.subscribe();
    let mut kept: Option<Custody> = None;
    loop {
        let custody = Custody::of(&store.view());
        let news = custody.filter(|c| !kept.as_ref().is_some_and(|k| k.same_keys(c)));
        let mut again = false;
        if let Some(custody) = news {
            let (custodian, wanted) = (custodian.clone(), custody.clone());
            let keeping = tokio::task::spawn_blocking(move || custodian.keep(&wanted));
            match keeping.await.map_err(|e| format!("keeping the keys: {e}"))? {
                Ok(()) => kept = Some(custody),
                Err(reason) => {
                    tracing::error!(
                        reason,
                        "the keys on this node's disk are not as they should be"
                    );
                    again = true;
                }
            }
        }
        let retry = async {
            match again {
                true => tokio::time::sleep(RETRY).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = retry => {}
            () = cluster_change(&mut commits) => {}
        }
    }
}

/// Waits for a commit that touches the cluster object.
pub(crate) async fn cluster_change(commits: &mut swarm_raft_store::Subscription) {
    loop {
        let Ok(commit) = commits.next().await else {
            commits.resync();
            return;
        };
        if commit.changes.iter().any(|change| change.object::<Cluster>().is_some()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use swarm_api::{Annotations, ClusterSpec};
    use swarm_raft_store::StoreError;
    use tokio::sync::mpsc;

    use super::*;

    struct Book {
        told: mpsc::UnboundedSender<Custody>,
        refusals: Mutex<u32>,
    }

    impl Custodian for Book {
        fn keep(&self, custody: &Custody) -> Result<(), String> {
            let mut refusals = self.refusals.lock().unwrap();
            if *refusals > 0 {
                *refusals -= 1;
                return Err("the disk is full".into());
            }
            self.told.send(custody.clone()).map_err(|e| e.to_string())
        }
    }

    async fn write(store: &Store, autolock: bool, key: u8) {
        let written = store.transact(0, |tx| {
            let annotations = Some(Annotations { name: "default".into(), ..Default::default() });
            let spec = ClusterSpec { annotations, autolock, ..ClusterSpec::default() };
            let custody =
                swarm_api::Custody { unlock_key: vec![key; 32], ..swarm_api::Custody::default() };
            let fresh = tx.view().cluster().is_none();
            let mut cluster = tx.view().cluster().cloned().unwrap_or_default();
            cluster.id = "c1".into();
            (cluster.spec, cluster.custody) = (Some(spec), Some(custody));
            if fresh { tx.create(cluster) } else { tx.update(cluster) }
        });
        written.await.map_err(|e: StoreError| e).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn every_change_of_keys_is_kept_once_and_a_failure_is_tried_again() {
        let store = Store::standalone();
        let (told, mut heard) = mpsc::unbounded_channel();
        let book = Arc::new(Book { told, refusals: Mutex::new(2) });
        let cancel = CancellationToken::new();
        let running = tokio::spawn(run(store.clone(), book, cancel.clone()));
        write(&store, false, 1).await;
        assert_eq!(heard.recv().await.unwrap().unlock_key, None);
        write(&store, true, 1).await;
        let key = heard.recv().await.unwrap().unlock_key.unwrap();
        assert_eq!(key.bytes(), &[1; 32]);
        // The same again is no news.
        write(&store, true, 1).await;
        write(&store, true, 2).await;
        let key = heard.recv().await.unwrap().unlock_key.unwrap();
        assert_eq!(key.bytes(), &[2; 32]);
        cancel.cancel();
        running.await.unwrap().unwrap();
    }
}
