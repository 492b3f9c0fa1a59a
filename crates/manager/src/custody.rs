//! The keys of the managers, which the cluster object holds: on every manager its node is told when
//! they change, so that it brings what lies on its disk under them; and the store is sealed under
//! another data key whenever the cluster asks for one.
//!
//! It writes no file: the node does, through [`Custodian`], and the store itself, through [`Sealed`].

use std::sync::Arc;
use std::time::Duration;

use swarm_api::Cluster;
use swarm_api::object::Stored;
use swarm_ca::{RecoveryKey, UnlockKey};
use swarm_raft_store::{DATA_KEY_BYTES, Replica, Store, StoreError, View};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// A node that could not keep the keys tries again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// A key that a store is sealed under.
pub type DataKey = Zeroizing<[u8; DATA_KEY_BYTES]>;

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

    /// The data key that the store is still to be sealed under, for its key to have been made since
    /// the cluster's number reached `epoch`: a new one, or that of a rotation which was cut off. It is
    /// on disk, before the old one, when this returns. Blocking.
    fn next_data_key(&self, epoch: u64) -> Result<Option<DataKey>, String>;

    /// Nothing needs any data key but the newest: the others are off the disk when it returns.
    /// Blocking.
    fn settle_data_keys(&self) -> Result<(), String>;
}

/// What is sealed under the data key.
#[tonic::async_trait]
pub trait Sealed: Send + Sync + 'static {
    /// Nothing on disk needs an earlier key when it returns. May be asked twice for the same key.
    async fn rotate(&self, new: &DataKey) -> Result<(), StoreError>;
}

#[tonic::async_trait]
impl Sealed for Replica {
    async fn rotate(&self, new: &DataKey) -> Result<(), StoreError> {
        self.rotate_data_key(new).await
    }
}

/// Keeps `custody`, then sees to the data keys: a new one is first kept under the lock of today.
async fn follow(
    custodian: &Arc<dyn Custodian>,
    sealed: &Arc<dyn Sealed>,
    custody: &Custody,
) -> Result<(), String> {
    let (here, wanted) = (Arc::clone(custodian), custody.clone());
    aside(move || here.keep(&wanted)).await?;
    let epoch = custody.data_key_epoch;
    loop {
        let here = Arc::clone(custodian);
        let Some(key) = aside(move || here.next_data_key(epoch)).await? else { return Ok(()) };
        let rotated = sealed.rotate(&key).await;
        rotated.map_err(|error| format!("sealing the store anew: {error}"))?;
        let here = Arc::clone(custodian);
        aside(move || here.settle_data_keys()).await?;
        tracing::info!(epoch, "the store is sealed under a new data key");
    }
}

async fn aside<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, String> + Send + 'static,
) -> Result<R, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| format!("keeping the keys: {e}"))?
}

/// Tells the custodian, until cancelled.
pub async fn run(
    store: Store,
    custodian: Arc<dyn Custodian>,
    sealed: Arc<dyn Sealed>,
    cancel: CancellationToken,
) -> Result<(), String> {
    let mut commits = store.subscribe();
    let mut kept: Option<Custody> = None;
    loop {
        let custody = Custody::of(&store.view());
        let news = custody.filter(|c| !kept.as_ref().is_some_and(|k| k.same_keys(c)));
        let mut again = false;
        if let Some(custody) = news {
            match follow(&custodian, &sealed, &custody).await {
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
        // Epoch, and keys newest first.
        data_keys: Mutex<(u64, Vec<DataKey>)>,
    }

    impl Book {
        fn new(refusals: u32) -> (Arc<Self>, mpsc::UnboundedReceiver<Custody>) {
            let (told, heard) = mpsc::unbounded_channel();
            let data_keys = Mutex::new((0, vec![[0; DATA_KEY_BYTES].into()]));
            (Arc::new(Self { told, refusals: Mutex::new(refusals), data_keys }), heard)
        }

        fn keys(&self) -> Vec<u8> {
            self.data_keys.lock().unwrap().1.iter().map(|key| key[0]).collect()
        }
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

        fn next_data_key(&self, epoch: u64) -> Result<Option<DataKey>, String> {
            let mut held = self.data_keys.lock().unwrap();
            if held.1.len() == 1 && held.0 < epoch {
                let new = [u8::try_from(epoch).unwrap(); DATA_KEY_BYTES];
                (held.0, held.1) = (epoch, vec![new.into(), held.1[0].clone()]);
            }
            Ok((held.1.len() > 1).then(|| held.1[0].clone()))
        }

        fn settle_data_keys(&self) -> Result<(), String> {
            self.data_keys.lock().unwrap().1.truncate(1);
            Ok(())
        }
    }

    /// Says which keys it was given, and what the custodian had kept then.
    struct Safe {
        book: Arc<Book>,
        told: mpsc::UnboundedSender<(u8, Vec<u8>)>,
        fails: Mutex<u32>,
    }

    #[tonic::async_trait]
    impl Sealed for Safe {
        async fn rotate(&self, new: &DataKey) -> Result<(), StoreError> {
            self.told.send((new[0], self.book.keys())).unwrap();
            let mut fails = self.fails.lock().unwrap();
            *fails = fails.saturating_sub(1);
            if *fails == 0 { Ok(()) } else { Err(StoreError::Refused("not now".into())) }
        }
    }

    fn safe(book: &Arc<Book>, fails: u32) -> (Arc<Safe>, mpsc::UnboundedReceiver<(u8, Vec<u8>)>) {
        let (told, heard) = mpsc::unbounded_channel();
        (Arc::new(Safe { book: Arc::clone(book), told, fails: Mutex::new(fails) }), heard)
    }

    fn custody(data_key_epoch: u64) -> Custody {
        Custody { version: 1, unlock_key: None, recovery_key: None, data_key_epoch }
    }

    #[tokio::test]
    async fn a_new_data_key_is_kept_before_the_store_has_it_and_the_old_one_goes_after() {
        let (book, _heard) = Book::new(0);
        let (safe, mut rotations) = safe(&book, 0);
        let (custodian, sealed): (Arc<dyn Custodian>, Arc<dyn Sealed>) = (book.clone(), safe);
        follow(&custodian, &sealed, &custody(0)).await.unwrap();
        assert!(rotations.try_recv().is_err(), "no new key was asked for");
        follow(&custodian, &sealed, &custody(3)).await.unwrap();
        assert_eq!(rotations.recv().await.unwrap(), (3, vec![3, 0]));
        assert_eq!(book.keys(), [3]);
        follow(&custodian, &sealed, &custody(3)).await.unwrap();
        assert!(rotations.try_recv().is_err(), "it has that key already");
    }

    #[tokio::test]
    async fn a_rotation_that_failed_goes_on_with_the_same_key_and_the_old_one_stays_until_then() {
        let (book, _heard) = Book::new(0);
        let (safe, mut rotations) = safe(&book, 2);
        let (custodian, sealed): (Arc<dyn Custodian>, Arc<dyn Sealed>) = (book.clone(), safe);
        let refused = follow(&custodian, &sealed, &custody(1)).await.unwrap_err();
        assert!(refused.contains("not now"), "{refused}");
        assert_eq!(book.keys(), [1, 0]);
        // Meanwhile another was asked for.
        follow(&custodian, &sealed, &custody(2)).await.unwrap();
        let told: Vec<_> = std::iter::from_fn(|| rotations.try_recv().ok()).collect();
        assert_eq!(told, [(1, vec![1, 0]), (1, vec![1, 0]), (2, vec![2, 1])]);
        assert_eq!(book.keys(), [2]);
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
        let (book, mut heard) = Book::new(2);
        let (safe, _) = safe(&book, 0);
        let cancel = CancellationToken::new();
        let running = tokio::spawn(run(store.clone(), book, safe, cancel.clone()));
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
