//! The managers' keys: autolock and its unlock key, and the recovery key of snapshots. Only here do
//! keys leave the store, for operators who ask for them.

use std::time::Duration;

use swarm_api::time::to_std;
use swarm_api::*;
use swarm_ca::{CaError, RecoveryKey, UnlockKey};

use super::{Door, cluster::missing};
use crate::refusal::Refusal;

/// More often, and a large cluster would do little else.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Copies of the whole state are as large as it.
const MAX_KEPT: u32 = 1000;

pub async fn unlock(door: &Door, _: GetUnlockKeyRequest) -> Result<GetUnlockKeyResponse, Refusal> {
    let view = door.view().await?;
    let cluster = view.cluster().ok_or_else(missing)?;
    let key = cluster.custody.as_ref().and_then(|c| UnlockKey::from_slice(&c.unlock_key));
    Ok(GetUnlockKeyResponse { unlock_key: key.map(|k| k.to_string()).unwrap_or_default() })
}

pub async fn recovery(
    door: &Door,
    _: GetRecoveryKeyRequest,
) -> Result<GetRecoveryKeyResponse, Refusal> {
    let view = door.view().await?;
    let cluster = view.cluster().ok_or_else(missing)?;
    let key = cluster.custody.as_ref().and_then(|c| RecoveryKey::from_slice(&c.recovery_key));
    let none = || Refusal::Internal("the cluster has no recovery key".into());
    Ok(GetRecoveryKeyResponse { recovery_key: key.ok_or_else(none)?.to_string() })
}

/// Makes the keys that the new settings and the request ask for.
pub fn settle(cluster: &mut Cluster, request: &UpdateClusterRequest) -> Result<(), Refusal> {
    let autolock = cluster.spec.as_ref().is_some_and(|s| s.autolock);
    if request.rotate_unlock_key && !autolock {
        return Err(Refusal::Conflict("cannot rotate because autolock is not turned on".into()));
    }
    let custody = cluster.custody.get_or_insert_default();
    let mut new_data_keys = request.rotate_data_key;
    if !autolock {
        custody.unlock_key.clear();
    } else if custody.unlock_key.is_empty() || request.rotate_unlock_key {
        custody.unlock_key = UnlockKey::generate().map_err(failed)?.bytes().to_vec();
        // Whoever had the disk, or the unlock key, before may know the ones there are.
        new_data_keys = true;
    }
    if new_data_keys {
        custody.data_key_epoch += 1;
    }
    if request.rotate_recovery_key {
        custody.recovery_key = RecoveryKey::generate().map_err(failed)?.bytes().to_vec();
    }
    Ok(())
}

fn failed(error: CaError) -> Refusal {
    Refusal::Internal(error.to_string())
}

/// Refuses an interval or a number that is out of range.
pub fn check_auto_snapshots(spec: &ClusterSpec) -> Result<(), Refusal> {
    let Some(settings) = &spec.auto_snapshots else { return Ok(()) };
    let interval = settings.interval.as_ref().map(to_std).unwrap_or_default();
    if !interval.is_zero() && interval < MIN_INTERVAL {
        return Err(Refusal::Invalid(format!(
            "the interval of automatic snapshots must be at least {} or 0 for none, not {}",
            duration::format(MIN_INTERVAL),
            duration::format(interval)
        )));
    }
    if !(1..=MAX_KEPT).contains(&settings.keep) {
        return Err(Refusal::Invalid(format!(
            "the number of automatic snapshots kept must be between 1 and {MAX_KEPT}, not {}",
            settings.keep
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(autolock: bool) -> Cluster {
        let spec = Some(ClusterSpec { autolock, ..ClusterSpec::default() });
        Cluster { spec, ..Cluster::default() }
    }

    fn custody(cluster: &Cluster) -> Custody {
        cluster.custody.clone().unwrap_or_default()
    }

    #[test]
    fn autolock_makes_a_key_which_stays_until_it_is_rotated_or_autolock_ends() {
        let mut it = cluster(true);
        settle(&mut it, &UpdateClusterRequest::default()).unwrap();
        let first = custody(&it);
        assert_eq!(first.unlock_key.len(), 32);
        settle(&mut it, &UpdateClusterRequest::default()).unwrap();
        assert_eq!(custody(&it), first);
        let rotate = UpdateClusterRequest { rotate_unlock_key: true, ..Default::default() };
        settle(&mut it, &rotate).unwrap();
        let second = custody(&it);
        assert_ne!(second.unlock_key, first.unlock_key);
        it.spec = Some(ClusterSpec::default());
        settle(&mut it, &UpdateClusterRequest::default()).unwrap();
        assert!(custody(&it).unlock_key.is_empty());
        let refused = settle(&mut it, &rotate).unwrap_err().to_string();
        assert_eq!(refused, "cannot rotate because autolock is not turned on");
    }

    #[test]
    fn the_recovery_key_changes_when_asked_and_by_nothing_else() {
        let mut it = cluster(false);
        let request = UpdateClusterRequest { rotate_recovery_key: true, ..Default::default() };
        settle(&mut it, &request).unwrap();
        let key = custody(&it).recovery_key;
        assert_eq!(key.len(), 32);
        assert_eq!(custody(&it).data_key_epoch, 0);
        let request = UpdateClusterRequest { rotate_data_key: true, ..Default::default() };
        settle(&mut it, &request).unwrap();
        assert_eq!(custody(&it).recovery_key, key);
        assert_eq!(custody(&it).data_key_epoch, 1);
    }

    #[test]
    fn data_keys_are_made_anew_when_autolock_begins_and_with_every_unlock_key() {
        let mut it = cluster(true);
        settle(&mut it, &UpdateClusterRequest::default()).unwrap();
        assert_eq!(custody(&it).data_key_epoch, 1);
        settle(&mut it, &UpdateClusterRequest::default()).unwrap();
        assert_eq!(custody(&it).data_key_epoch, 1);
        let rotate = UpdateClusterRequest { rotate_unlock_key: true, ..Default::default() };
        settle(&mut it, &rotate).unwrap();
        assert_eq!(custody(&it).data_key_epoch, 2);
        it.spec = Some(ClusterSpec::default());
        settle(&mut it, &UpdateClusterRequest::default()).unwrap();
        assert_eq!(custody(&it).data_key_epoch, 2);
    }

    #[test]
    fn settings_of_automatic_snapshots_are_held_to_their_ranges() {
        let spec = |millis, keep| ClusterSpec {
            auto_snapshots: Some(AutoSnapshots {
                interval: Some(time::to_proto(Duration::from_millis(millis))),
                keep,
            }),
            ..ClusterSpec::default()
        };
        assert!(check_auto_snapshots(&spec(0, 1)).is_ok());
        assert!(check_auto_snapshots(&spec(1000, 1000)).is_ok());
        let low = check_auto_snapshots(&spec(10, 1)).unwrap_err().to_string();
        assert!(low.contains("at least 1s or 0"), "{low}");
        assert!(check_auto_snapshots(&spec(0, 0)).is_err());
        assert!(check_auto_snapshots(&spec(0, 1001)).is_err());
    }
}
