//! Into a cluster: `init` makes one, `join` enters one. Either the node is a member at the end, or nothing of it is left.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_api::node_ca_client::NodeCaClient;
use swarm_api::{
    InitRequest, IssueCertificateRequest, JoinRequest, NodeAvailability, NodeRole, id,
};
use swarm_ca::{CaError, Identity, JoinToken, Root, anonymous_channel, fetch_root, new_csr};
use swarm_manager::{ClusterSeed, Mode};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::address::{self, interfaces};
use crate::daemon::Daemon;
use crate::member::{Member, bind};
use crate::place::{self, Place, Wish};
use crate::recover::force;
use crate::state::Settings;
use crate::unlock;

/// Life of the first manager's certificate: the default of a cluster, 90 days.
const CERT_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// VXLAN's port.
const DATA_PATH_PORT: u32 = 4789;
/// Docker's range for it.
const DATA_PATH_PORTS: std::ops::RangeInclusive<u32> = 1024..=49151;
/// A manager that does not issue a certificate by then is passed over.
const ISSUE_TIMEOUT: Duration = Duration::from_secs(15);
/// Docker's value.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);
const ALREADY: &str = "This node is already part of a swarm. Use \"swarmctl leave\" to leave this \
     swarm and join another one.";
const SLOW: &str = "Timeout was reached before node joined. The attempt to join the swarm will \
     continue in the background. Use the \"swarmctl info\" command to see the current swarm \
     status of your node.";

/// Makes a new cluster with this node as its first manager. Returns the node's id.
pub async fn init(daemon: &Arc<Daemon>, request: InitRequest) -> Result<String, Status> {
    let mut place = daemon.member.lock().await;
    unlock::refuse_locked(daemon)?;
    if request.force_new_cluster {
        return force_new_cluster(daemon, &mut place, request).await;
    }
    if place.is_some() {
        return Err(Status::failed_precondition(ALREADY));
    }
    check_pools(&request)?;
    let wanted = Wanted {
        listen: &request.listen_addr,
        advertise: &request.advertise_addr,
        data_path: &request.data_path_addr,
        data_path_port: request.data_path_port,
    };
    let mut settings = settings(daemon, &wanted)?;
    settings.managers = vec![settings.advertise_addr.clone()];
    let (cluster_id, node_id) = (id::random_id(), id::random_id());
    let (root, identity) = first_identity(&cluster_id, &node_id).map_err(internal)?;
    let seed = ClusterSeed {
        root,
        cluster_id,
        node_id: node_id.clone(),
        hostname: daemon.hostname.clone(),
        availability: request.availability(),
        default_addr_pool: request.default_addr_pool,
        subnet_size: request.subnet_size,
        data_path_port: settings.data_path_port.into(),
    };
    let mode = Some(Mode::Bootstrap(Box::new(seed)));
    *place = Some(begin(daemon, identity, settings, mode).await?);
    Ok(node_id)
}

/// Makes this manager the only one of its cluster, with all state; containers go on meanwhile.
async fn force_new_cluster(
    daemon: &Arc<Daemon>,
    place: &mut Option<Member>,
    request: InitRequest,
) -> Result<String, Status> {
    let refused = |error: anyhow::Error| Status::failed_precondition(format!("{error:#}"));
    let Some(member) = place.take() else {
        let text = "this node is in no cluster: there is nothing to make a new cluster from";
        return Err(Status::failed_precondition(text));
    };
    let identity = member.identity();
    if identity.role != NodeRole::Manager {
        *place = Some(member);
        return Err(Status::failed_precondition(force::WORKER));
    }
    member.stop().await;
    drop(member);
    let given = |text: String| (!text.is_empty()).then_some(text);
    let addresses = force::Addresses {
        listen: given(request.listen_addr),
        advertise: given(request.advertise_addr),
    };
    let state = daemon.state.clone();
    let forced = tokio::task::spawn_blocking(move || force::run(&state, &addresses)).await;
    // Also after a failure: then it goes on as what it was.
    *place = Some(unlock::take_up(daemon).await.map_err(refused)?);
    forced.map_err(internal)?.map_err(refused)?;
    Ok(identity.node_id.clone())
}

/// Enters the cluster that one of the remote managers belongs to. Returns the node's id and role.
pub async fn join(
    daemon: &Arc<Daemon>,
    request: JoinRequest,
) -> Result<(String, NodeRole), Status> {
    let mut place = daemon.member.lock().await;
    unlock::refuse_locked(daemon)?;
    if place.is_some() {
        return Err(Status::failed_precondition(ALREADY));
    }
    let token: JoinToken = request
        .token
        .parse()
        .map_err(|e: swarm_ca::TokenError| Status::invalid_argument(e.to_string()))?;
    let wanted = Wanted {
        listen: &request.listen_addr,
        advertise: &request.advertise_addr,
        data_path: &request.data_path_addr,
        data_path_port: 0,
    };
    let mut settings = settings(daemon, &wanted)?;
    // Before a manager is asked: an address in use must not leave a node in the cluster's list.
    drop(bind(&settings).await.map_err(|e| Status::failed_precondition(format!("{e:#}")))?);
    let Enrolment { identity, remote, data_path_port } = enrol(daemon, &request, &token).await?;
    settings.managers = vec![remote];
    settings.data_path_port = data_path_port;
    let role = identity.role;
    let node_id = identity.node_id.clone();
    let mode =
        (role == NodeRole::Manager).then(|| Mode::Join { remotes: settings.managers.clone() });
    let member = begin(daemon, identity, settings, mode).await?;
    let mut news = member.news();
    let manager = member.manager().await;
    *place = Some(member);
    drop(place);
    let joined = async {
        let heard = news.wait_for(Option::is_some).await.is_ok();
        match manager {
            Some(manager) => heard && manager.ready(JOIN_TIMEOUT).await.is_ok(),
            None => heard,
        }
    };
    match timeout(JOIN_TIMEOUT, joined).await {
        Ok(true) => Ok((node_id, role)),
        _ => Err(Status::failed_precondition(SLOW)),
    }
}

/// Keeps identity and settings, then starts; on failure both are removed again.
async fn begin(
    daemon: &Arc<Daemon>,
    identity: Identity,
    settings: Settings,
    mode: Option<Mode>,
) -> Result<Member, Status> {
    let started = async {
        let listener = bind(&settings).await?;
        daemon.state.save_identity(&identity)?;
        daemon.state.save_settings(&settings)?;
        Member::begin(daemon, identity, settings, listener, mode).await
    };
    match started.await {
        Ok(member) => Ok(member),
        Err(error) => {
            if let Err(error) = daemon.state.wipe() {
                tracing::error!(%error, "remove what a failed init or join left");
            }
            daemon.slot.clear(crate::daemon::NO_CLUSTER);
            Err(Status::internal(format!("{error:#}")))
        }
    }
}

/// A certificate from the first remote that gives one.
async fn enrol(
    daemon: &Daemon,
    request: &JoinRequest,
    token: &JoinToken,
) -> Result<Enrolment, Status> {
    let missing = || Status::invalid_argument("the address of a manager is missing");
    let mut failure = missing();
    for remote in &request.remote_addrs {
        let remote = with_port(remote);
        match enrol_at(daemon, request, token, &remote).await {
            Ok(enrolment) => return Ok(enrolment),
            // What a manager refuses, the others refuse too.
            Err(status) if status.code() == Code::Unavailable => failure = unreachable(&status),
            Err(status) => return Err(status),
        }
    }
    Err(failure)
}

/// Not `Unavailable` any more: that would say that this daemon did not answer.
fn unreachable(status: &Status) -> Status {
    Status::failed_precondition(format!(
        "{}: give the address of a running manager, as 'swarmctl join-token' prints it",
        status.message()
    ))
}

async fn enrol_at(
    daemon: &Daemon,
    request: &JoinRequest,
    token: &JoinToken,
    remote: &str,
) -> Result<Enrolment, Status> {
    let root = fetch_root(remote, token).await.map_err(|error| match error {
        CaError::WrongRoot { .. } => Status::permission_denied(error.to_string()),
        _ => Status::unavailable(error.to_string()),
    })?;
    let channel = anonymous_channel(remote, &root).await.map_err(internal)?;
    let (key, csr_der) = new_csr().map_err(internal)?;
    let issue = IssueCertificateRequest {
        csr_der,
        token: token.to_string(),
        availability: NodeAvailability::try_from(request.availability).unwrap_or_default().into(),
        hostname: daemon.hostname.clone(),
    };
    let mut client = NodeCaClient::new(channel);
    let answer = timeout(ISSUE_TIMEOUT, client.issue_certificate(issue)).await;
    let slow = || Status::unavailable(format!("{remote}: no answer within {ISSUE_TIMEOUT:?}"));
    let answer = answer.map_err(|_| slow())??.into_inner();
    // The whole cluster carries its overlay traffic on one port.
    let port = u16::try_from(answer.data_path_port).ok().filter(|port| *port > 0);
    let data_path_port = port.ok_or_else(|| internal("the manager told no data path port"))?;
    let identity = Identity::new(answer.certificate_pem, key, answer.root_ca_pem);
    Ok(Enrolment {
        identity: identity.map_err(internal)?.received(SystemTime::now()),
        remote: remote.to_owned(),
        data_path_port,
    })
}

/// What a joiner gets.
struct Enrolment {
    identity: Identity,
    /// The manager that gave it.
    remote: String,
    data_path_port: u16,
}

fn first_identity(cluster_id: &str, node_id: &str) -> Result<(Root, Identity), CaError> {
    let now = SystemTime::now();
    let root = Root::generate(cluster_id, now)?;
    let (key, csr) = new_csr()?;
    let pem = root.issue(&csr, node_id, NodeRole::Manager, cluster_id, CERT_LIFE, now)?;
    let identity = Identity::new(pem, key, root.certificate_pem().to_owned())?;
    Ok((root, identity))
}

struct Wanted<'a> {
    listen: &'a str,
    advertise: &'a str,
    data_path: &'a str,
    data_path_port: u32,
}

/// Addresses as asked for, else the daemon's own defaults.
fn settings(daemon: &Daemon, wanted: &Wanted<'_>) -> Result<Settings, Status> {
    let interfaces = interfaces();
    let invalid = |e: address::AddressError| Status::invalid_argument(e.to_string());
    let flags = Wish::of(&daemon.args);
    let wish = Wish {
        listen: wanted.listen.to_owned(),
        advertise: wanted.advertise.to_owned(),
        data_path: wanted.data_path.to_owned(),
    };
    let asked = wish.or(&flags);
    let Place { listen, advertise, data_path } =
        place::find(&asked, &interfaces).map_err(invalid)?;
    let port = match wanted.data_path_port {
        0 => DATA_PATH_PORT,
        port => port,
    };
    if !DATA_PATH_PORTS.contains(&port) {
        let text = format!("Datapath port number is not in valid range (1024-49151) : {port}");
        return Err(Status::invalid_argument(text));
    }
    Ok(Settings {
        listen_addr: listen.to_string(),
        advertise_addr: advertise.to_string(),
        data_path_addr: data_path.to_string(),
        // Checked against the range above.
        data_path_port: u16::try_from(port).unwrap_or(u16::MAX),
        managers: Vec::new(),
        asked,
        flags,
    })
}

fn check_pools(request: &InitRequest) -> Result<(), Status> {
    let size = request.subnet_size;
    if size > 29 {
        let text = format!("subnet size is out of range: {size}, want at most 29");
        return Err(Status::invalid_argument(text));
    }
    for pool in &request.default_addr_pool {
        let wrong = |why: &str| {
            Err(Status::invalid_argument(format!("invalid address pool \"{pool}\": {why}")))
        };
        let Ok(ip) = pool.parse::<ipnet::IpNet>() else {
            return wrong("want a subnet such as 10.20.0.0/16");
        };
        if ip.addr() != ip.network() {
            return wrong(&format!("did you mean {}", ip.trunc()));
        }
        match ip {
            ipnet::IpNet::V6(net) if net.prefix_len() > 64 => {
                return wrong("subnets of /64 are cut from IPv6 pools");
            }
            ipnet::IpNet::V4(net) if size != 0 && size < u32::from(net.prefix_len()) => {
                let text =
                    format!("invalid CIDR: \"{pool}\". Subnet size {size} is too small for pool");
                return Err(Status::invalid_argument(text));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A manager's address as a user gives it, with its port.
pub fn with_port(remote: &str) -> String {
    let remote = remote.trim();
    match remote.parse::<std::net::IpAddr>() {
        Ok(ip) => std::net::SocketAddr::new(ip, address::DEFAULT_PORT).to_string(),
        Err(_) if remote.contains(':') => remote.to_owned(),
        Err(_) => format!("{remote}:{}", address::DEFAULT_PORT),
    }
}

fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_without_port_gets_the_default_one() {
        assert_eq!(with_port("192.0.2.1"), "192.0.2.1:2377");
        assert_eq!(with_port("192.0.2.1:99"), "192.0.2.1:99");
        assert_eq!(with_port("host"), "host:2377");
        assert_eq!(with_port("2001:db8::1"), "[2001:db8::1]:2377");
    }

    #[test]
    fn a_pool_that_is_smaller_than_its_subnets_is_refused() {
        let request = |pool: &str, subnet_size| InitRequest {
            default_addr_pool: vec![pool.into()],
            subnet_size,
            ..InitRequest::default()
        };
        assert!(check_pools(&request("10.20.0.0/16", 24)).is_ok());
        assert!(check_pools(&request("10.20.0.0/24", 20)).is_err());
        assert!(check_pools(&request("10.20.0.0/16", 30)).is_err());
        assert!(check_pools(&request("nonsense", 24)).is_err());
        assert!(check_pools(&request("10.20.0.1/16", 24)).is_err());
        assert!(check_pools(&request("fd00:1::/48", 24)).is_ok());
        assert!(check_pools(&request("fd00:1::/96", 24)).is_err());
    }
}
