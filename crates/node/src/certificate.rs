//! Keeps the node's certificate fresh: a new one in time, and at once when the node's role changes or the cluster's root does.
//! Also the trusted roots, as the managers tell them.
//!
//! A node that was off until its certificate had expired proves its old key instead; whether it still is a member is for the
//! managers to say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use swarm_api::node_ca_client::NodeCaClient;
use swarm_api::node_recovery_client::NodeRecoveryClient;
use swarm_api::{
    RecoverCertificateRequest, RenewCertificateRequest, RenewCertificateResponse, SessionMessage,
};
use swarm_ca::{CaError, Credentials, Identity, new_csr, prove_recovery, recovery_channel};
use tokio::sync::{Mutex, Notify, watch};
use tonic::{Code, Status};

use crate::state::StateDir;

/// A certificate is renewed somewhere in this part of its life, so that a cluster's nodes do not all come at once.
const RENEW_FROM: f64 = 0.5;
const RENEW_TO: f64 = 0.8;
/// Nodes that all have to renew come within this time.
const STAGGER: Duration = Duration::from_millis(500);
/// A manager that does not answer by then is passed over.
const RENEW_TIMEOUT: Duration = Duration::from_secs(10);
/// A failed renewal is tried again after this time.
const RETRY: Duration = Duration::from_secs(2);
/// The certificate's age is looked at this often at least: the host may have slept.
const RENEWAL_CHECK: Duration = Duration::from_secs(60);

/// Why a certificate was not renewed; it is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// No manager gave one.
    #[error("no manager renewed the certificate: {0}")]
    Refused(String),
    /// It cannot be made or kept.
    #[error(transparent)]
    Ca(#[from] CaError),
}

/// Keeps one identity.
pub struct Keeper {
    credentials: Credentials,
    state: StateDir,
    /// One change at a time: an answer that was slow must not undo a newer one.
    turn: Mutex<()>,
    urgent: Notify,
    /// Others may know the key: it lay on the disk in the clear.
    exposed: AtomicBool,
    /// Digest of the root that the managers want certificates of; empty: not heard of yet.
    wanted: watch::Sender<String>,
}

impl Keeper {
    /// Of the identity in `credentials`, kept in `state`.
    pub fn new(credentials: Credentials, state: StateDir) -> Self {
        let wanted = watch::Sender::new(String::new());
        let (turn, urgent, exposed) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Self { credentials, state, turn, urgent, exposed, wanted }
    }

    /// Renews in time until dropped.
    pub async fn run(&self, managers: watch::Receiver<Vec<String>>) {
        loop {
            let due = renewal_time(&self.credentials.identity(), rand::random());
            let wait = due.duration_since(SystemTime::now()).unwrap_or_default();
            let urgent = tokio::select! {
                () = tokio::time::sleep(wait.min(RENEWAL_CHECK)) => false,
                () = self.urgent.notified() => {
                    tokio::time::sleep(STAGGER.mul_f64(rand::random())).await;
                    // It may have been renewed for another reason meanwhile.
                    self.is_urgent()
                }
            };
            if !urgent && SystemTime::now() < due {
                continue;
            }
            let known = managers.borrow().clone();
            if let Err(error) = self.renew(&known).await {
                tracing::warn!(%error, "renew certificate");
                tokio::time::sleep(RETRY).await;
                if urgent {
                    self.urgent.notify_one();
                }
            }
        }
    }

    /// Takes over the roots that the managers trust; renews if they want certificates of another root than ours.
    pub async fn follow(&self, message: &SessionMessage) {
        if let Err(error) = self.trust(&message.root_ca_pem).await {
            tracing::warn!(%error, "take over the trusted roots");
        }
        self.wanted.send_replace(message.issuer.clone());
        if self.is_of_another_root() {
            self.urgent.notify_one();
        }
    }

    /// Has the key replaced soon: the one there is may have been read from the disk.
    pub fn replace_key(&self) {
        self.exposed.store(true, Ordering::Relaxed);
        self.urgent.notify_one();
    }

    fn is_urgent(&self) -> bool {
        self.exposed.load(Ordering::Relaxed) || self.is_of_another_root()
    }

    fn is_of_another_root(&self) -> bool {
        let wanted = self.wanted.borrow();
        !wanted.is_empty() && self.credentials.identity().issuer() != *wanted
    }

    async fn trust(&self, root_pem: &str) -> Result<(), CaError> {
        let _turn = self.turn.lock().await;
        let identity = self.credentials.identity();
        if root_pem.is_empty() || identity.root_pem == root_pem {
            return Ok(());
        }
        let identity = identity.with_roots(root_pem)?;
        self.state.save_roots(&identity)?;
        self.credentials.replace(identity);
        tracing::info!("the trusted roots were taken over");
        Ok(())
    }

    /// Gets a certificate for the node's present role from one of `managers`, keeps it and uses it from now on.
    pub async fn renew(&self, managers: &[String]) -> Result<(), RenewError> {
        let _turn = self.turn.lock().await;
        let own = self.credentials.identity();
        let (key, csr_der) = new_csr()?;
        let mut reason = "no manager is known".to_owned();
        for addr in managers {
            match self.ask(&own, addr, &csr_der).await {
                Ok(answer) => {
                    let next = Identity::new(answer.certificate_pem, key, answer.root_ca_pem)?;
                    let next = own.succeeded_by(next.received(SystemTime::now()))?;
                    self.state.save_identity(&next)?;
                    tracing::info!(role = ?next.role, "certificate renewed");
                    self.credentials.replace(next);
                    self.exposed.store(false, Ordering::Relaxed);
                    return Ok(());
                }
                Err(status) => reason = format!("{addr}: {}", status.message()),
            }
        }
        Err(RenewError::Refused(reason))
    }

    /// By the certificate, or if nobody believes it any more, by its key.
    async fn ask(
        &self,
        own: &Identity,
        addr: &str,
        csr_der: &[u8],
    ) -> Result<RenewCertificateResponse, Status> {
        let now = SystemTime::now();
        let refused = match own.is_expired(now) {
            true => Status::unavailable("the certificate has expired"),
            false => match present(&self.credentials, addr, csr_der).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            },
        };
        // A clock that was wrong may be right by now: the manager knows whether it has expired.
        let broken = matches!(refused.code(), Code::Unavailable | Code::Unknown);
        let maybe = broken && now >= renewal_time(own, 1.0);
        if !own.is_expired(now) && !maybe {
            return Err(refused);
        }
        recover(own, addr, csr_der).await.map_err(|status| {
            let both = format!("{}; {}", refused.message(), status.message());
            Status::new(status.code(), both)
        })
    }
}

/// When `identity` is to be renewed; `share` in 0…1 says where in the allowed part of its life.
fn renewal_time(identity: &Identity, share: f64) -> SystemTime {
    identity.age_at(RENEW_FROM + (RENEW_TO - RENEW_FROM) * share)
}

async fn present(
    credentials: &Credentials,
    addr: &str,
    csr_der: &[u8],
) -> Result<RenewCertificateResponse, Status> {
    let channel = credentials.channel(addr).map_err(|e| Status::internal(e.to_string()))?;
    let request = RenewCertificateRequest { csr_der: csr_der.to_vec() };
    let mut client = NodeCaClient::new(channel);
    let answer = tokio::time::timeout(RENEW_TIMEOUT, client.renew_certificate(request)).await;
    Ok(answer.map_err(|_| no_answer())??.into_inner())
}

async fn recover(
    own: &Identity,
    addr: &str,
    csr_der: &[u8],
) -> Result<RenewCertificateResponse, Status> {
    let broken = |e: CaError| Status::internal(e.to_string());
    let request = RecoverCertificateRequest {
        csr_der: csr_der.to_vec(),
        certificate_pem: own.certificate_pem.clone(),
        signature: prove_recovery(own, csr_der).map_err(broken)?,
    };
    let mut client = NodeRecoveryClient::new(recovery_channel(addr, own).map_err(broken)?);
    let answer = tokio::time::timeout(RENEW_TIMEOUT, client.recover_certificate(request)).await;
    let mut answer = answer.map_err(|_| no_answer())??.into_inner();
    // Only signatures were checked on the way here: what to trust is learned later, over a connection of today.
    answer.root_ca_pem.clone_from(&own.root_pem);
    Ok(answer)
}

fn no_answer() -> Status {
    Status::unavailable(format!("no answer within {RENEW_TIMEOUT:?}"))
}

#[cfg(test)]
mod tests;
