//! The swarm as a whole: its settings and join tokens.

use std::time::Duration;

use swarm_api::time::to_std;
use swarm_api::*;
use swarm_ca::{JoinToken, Root};

use super::{Door, keys, material::expect_version, redact};
use crate::refusal::Refusal;

/// Name of the one cluster object.
pub const NAME: &str = "default";

/// Shorter, and nodes would do little but renew; longer than half of a root's life, and it would outlive its root.
const CERT_EXPIRY_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(3600)..=Duration::from_secs(10 * 365 * 24 * 3600);

/// Every write waits for a majority of them: more than anyone has.
const MAX_MANAGERS: u64 = 31;

/// Shorter, and a host that is started again would find itself replaced.
const MIN_SPARE_AFTER: Duration = Duration::from_secs(10);

/// Faster, and a busy node would count as down.
const HEARTBEAT_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(300);

pub async fn get(door: &Door, _: GetClusterRequest) -> Result<GetClusterResponse, Refusal> {
    let view = door.view().await?;
    let cluster = view.cluster().cloned().ok_or_else(missing)?;
    Ok(GetClusterResponse { cluster: Some(redact::cluster(cluster)) })
}

pub async fn update(
    door: &Door,
    request: UpdateClusterRequest,
) -> Result<UpdateClusterResponse, Refusal> {
    if let Some(spec) = &request.spec {
        check(spec)?;
    }
    let cluster = door
        .change(NAME, |tx| {
            let mut cluster = tx.view().cluster().cloned().ok_or_else(missing)?;
            let id = cluster.id.clone();
            if let Some(spec) = &request.spec {
                refuse_unbuilt(cluster.spec.as_ref(), spec)?;
                cluster.spec = Some(spec.clone());
            }
            rotate(&mut cluster, &request)?;
            keys::settle(&mut cluster, &request)?;
            expect_version(&mut cluster, request.version);
            tx.update(cluster)?;
            Ok(id)
        })
        .await?;
    Ok(UpdateClusterResponse { cluster: Some(redact::cluster(cluster)) })
}

pub fn missing() -> Refusal {
    Refusal::Unavailable("the swarm is being prepared: try again".into())
}

/// Managers snapshot at an interval of their own.
fn refuse_unbuilt(before: Option<&ClusterSpec>, wanted: &ClusterSpec) -> Result<(), Refusal> {
    match before.map_or(0, |s| s.snapshot_interval) == wanted.snapshot_interval {
        true => Ok(()),
        false => Err(Refusal::NotBuilt("changing the snapshot interval is not built yet".into())),
    }
}

fn check(spec: &ClusterSpec) -> Result<(), Refusal> {
    let name = spec.annotations.as_ref().map_or("", |a| &a.name);
    if name != NAME {
        let text = format!("the swarm's name must be \"{NAME}\", not \"{name}\"");
        return Err(Refusal::Invalid(text));
    }
    let expiry = spec.node_cert_expiry.as_ref().map(to_std);
    if let Some(expiry) = expiry.filter(|e| !CERT_EXPIRY_RANGE.contains(e)) {
        return Err(Refusal::Invalid(format!(
            "certificate expiry {} is out of range: minimum certificate expiry time is: {}, \
             maximum: {}",
            duration::format(expiry),
            duration::format(*CERT_EXPIRY_RANGE.start()),
            duration::format(*CERT_EXPIRY_RANGE.end())
        )));
    }
    keys::check_auto_snapshots(spec)?;
    if spec.spare_managers > MAX_MANAGERS {
        let have = spec.spare_managers;
        let text = format!("spare managers: {have} is out of range, want 0 to {MAX_MANAGERS}");
        return Err(Refusal::Invalid(text));
    }
    let spare_after = spec.spare_after.as_ref().map(to_std);
    if let Some(after) = spare_after.filter(|a| *a < MIN_SPARE_AFTER) {
        return Err(Refusal::Invalid(format!(
            "a manager must be silent for at least {} before it is replaced, not {}",
            duration::format(MIN_SPARE_AFTER),
            duration::format(after)
        )));
    }
    let heartbeat = spec.heartbeat_period.as_ref().map(to_std);
    if let Some(period) = heartbeat.filter(|p| !HEARTBEAT_RANGE.contains(p)) {
        return Err(Refusal::Invalid(format!(
            "heartbeat period {} must be between {} and {}",
            duration::format(period),
            duration::format(*HEARTBEAT_RANGE.start()),
            duration::format(*HEARTBEAT_RANGE.end())
        )));
    }
    Ok(())
}

/// A new token has a new secret; nodes that have joined are not affected.
fn rotate(cluster: &mut Cluster, request: &UpdateClusterRequest) -> Result<(), Refusal> {
    if !request.rotate_worker_token && !request.rotate_manager_token {
        return Ok(());
    }
    let Some(root_ca) = &mut cluster.root_ca else { return Err(missing()) };
    let root = Root::from_pem(&root_ca.certificate_pem, None)
        .map_err(|error| Refusal::Internal(error.to_string()))?;
    let token = || JoinToken::generate(&root, &mut rand::rng()).to_string();
    let tokens = root_ca.join_tokens.get_or_insert_default();
    if request.rotate_worker_token {
        tokens.worker = token();
    }
    if request.rotate_manager_token {
        tokens.manager = token();
    }
    Ok(())
}
