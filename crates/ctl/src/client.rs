//! The connection to a daemon: its unix socket, calls with retries over a change of leader, and
//! plain words for what the daemon's answers mean. Every command that talks to the cluster goes
//! through it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use hyper_util::rt::TokioIo;
use swarm_api::control_client::ControlClient;
use swarm_api::images_client::ImagesClient;
use swarm_api::logs_client::LogsClient;
use swarm_api::node_control_client::NodeControlClient;
use swarm_api::snapshots_client::SnapshotsClient;
use swarm_api::volumes_client::VolumesClient;
use swarm_api::watch_client::WatchClient;
use swarm_api::{InfoRequest, InfoResponse, LocalState, NodeRole, request_id};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Response, Status};

use crate::failure::Refused;

/// Where a daemon listens unless told otherwise.
pub const DEFAULT_HOST: &str = "unix:///run/swarmd/swarmd.sock";
/// An election takes up to 2 s, its retry as much again, a daemon's restart some seconds; then there
/// is no quorum rather than no leader yet.
const RETRY_FOR: Duration = Duration::from_secs(12);
/// Between two attempts: short against an election, long against a round trip.
const RETRY_PAUSE: Duration = Duration::from_millis(150);
/// A manager without quorum may keep a read waiting.
const ATTEMPT: Duration = Duration::from_secs(8);
/// Lists of tens of thousands of tasks fit.
const MAX_MESSAGE: usize = 256 << 20;

/// A connection to one daemon.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    host: String,
}

/// The control service, asked under one name.
pub type Control = ControlClient<InterceptedService<Channel, Named>>;

/// Names a request: a manager that has carried it out does not do it again, and says what it said.
#[derive(Clone)]
pub struct Named(MetadataValue<Ascii>);

impl Named {
    #[expect(clippy::expect_used, reason = "ids are letters and digits")]
    fn new() -> Self {
        let id = swarm_api::id::random_id();
        Self(id.parse().expect("letters and digits are ASCII"))
    }
}

impl Interceptor for Named {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(request_id::HEADER, self.0.clone());
        Ok(request)
    }
}

/// `client.call` with a request that is sent anew at every attempt.
macro_rules! ask {
    ($client:expr, $method:ident, $request:expr) => {{
        let request = $request;
        $client
            .call(|mut control| {
                let request = request.clone();
                async move { control.$method(request).await }
            })
            .await
    }};
}
pub(crate) use ask;

/// The socket that `host` names.
fn socket(host: &str) -> Result<PathBuf> {
    match host.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(PathBuf::from(path)),
        Some(("tcp" | "https", _)) => bail!(
            "host \"{host}\": remote daemons are not supported yet: use unix:///PATH on the \
             node itself"
        ),
        _ => bail!("invalid host \"{host}\": use unix:///PATH, such as {DEFAULT_HOST}"),
    }
}

async fn probe(path: &Path, host: &str) -> Result<()> {
    match UnixStream::connect(path).await {
        Ok(_) => Ok(()),
        // It was there, and ended just now: the call itself waits for its return.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => anyhow!(
                "swarmd is not running at {host}: start it, or name another daemon with \
                 -H or SWARM_HOST"
            ),
            io::ErrorKind::PermissionDenied => {
                anyhow!("no permission to use {host}: run this as root")
            }
            _ => anyhow!("cannot reach swarmd at {host}: {error}"),
        }),
    }
}

impl Client {
    /// Connects to `host`; says in words if no daemon answers there.
    pub async fn connect(host: &str) -> Result<Self> {
        let path = socket(host)?;
        probe(&path, host).await?;
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The address is never used: the connector knows the socket.
        let channel =
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        Ok(Client { channel, host: host.to_owned() })
    }

    /// Cluster objects, asked under one name.
    fn control(&self, request: Named) -> Control {
        ControlClient::with_interceptor(self.channel.clone(), request)
            .max_decoding_message_size(MAX_MESSAGE)
    }

    /// The node itself.
    pub fn node(&self) -> NodeControlClient<Channel> {
        NodeControlClient::new(self.channel.clone())
    }

    /// The node's images.
    pub fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// The node's volumes.
    pub fn volumes(&self) -> VolumesClient<Channel> {
        VolumesClient::new(self.channel.clone())
    }

    /// Copies of the whole state.
    pub fn snapshots(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.channel.clone())
    }

    /// Changes of cluster objects.
    pub fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Logs of tasks anywhere.
    pub fn logs(&self) -> LogsClient<Channel> {
        LogsClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// What the daemon says of itself.
    pub async fn info(&self) -> Result<InfoResponse> {
        local(self.node().info(InfoRequest {}).await)
    }

    /// Asks a manager, again while it has no leader or is being restarted. All attempts bear one
    /// name, so what it asks for is done once.
    pub async fn call<T, F, Fut>(&self, attempt: F) -> Result<T>
    where
        F: Fn(Control) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + RETRY_FOR;
        let name = Named::new();
        loop {
            let answer = match timeout(ATTEMPT, attempt(self.control(name.clone()))).await {
                Ok(answer) => answer,
                Err(_) => Err(Status::unavailable("no answer in time")),
            };
            let status = match answer {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            if !is_passing(&status) {
                return Err(self.explain(status).await);
            }
            let lost = match self.info().await {
                Ok(info) => not_a_manager(&info).map_or(Ok(false), |why| Err(anyhow!(why)))?,
                // It may be on its way up again.
                Err(_) => true,
            };
            if Instant::now() >= deadline {
                return Err(if lost { self.lost() } else { no_quorum(&status) });
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// An error if the daemon cannot serve cluster objects at all, however long one waits.
    async fn must_be_manager(&self) -> Result<()> {
        let info = self.info().await.map_err(|_| self.lost())?;
        match not_a_manager(&info) {
            Some(reason) => Err(anyhow!(reason)),
            None => Ok(()),
        }
    }

    fn lost(&self) -> Error {
        anyhow!("lost the connection to swarmd at {}: is it still running?", self.host)
    }

    /// An error of a call in words; a wrong kind of node explains more than the answer does.
    pub async fn explain(&self, status: Status) -> Error {
        let about_the_node =
            matches!(status.code(), Code::Unimplemented | Code::FailedPrecondition)
                || is_passing(&status);
        if about_the_node && let Err(error) = self.must_be_manager().await {
            return error;
        }
        match is_passing(&status) {
            true => no_quorum(&status),
            false => Refused::from(status).into(),
        }
    }
}

/// Whether another attempt may succeed.
fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
        // A daemon's own word has no cause on this side; a connection that broke has.
        || std::error::Error::source(status).is_some()
}

/// How managers begin when they say why there is no leader.
const NO_LEADER: &str = "the swarm does not have a leader: ";

fn no_quorum(status: &Status) -> Error {
    // The daemon's own words, unless they say the same.
    let last = match status.message() {
        message if message.starts_with(NO_LEADER) => format!(" ({})", &message[NO_LEADER.len()..]),
        message if message.is_empty() || message.contains("leader") => String::new(),
        message => format!(" ({message})"),
    };
    anyhow!(
        "the cluster has no leader{last}: more than half of its managers must run and reach each \
         other; 'swarmctl info' lists them"
    )
}

/// Why this node cannot answer for the cluster, if it is none of its managers.
fn not_a_manager(info: &InfoResponse) -> Option<String> {
    let why = match info.error.as_str() {
        "" => String::new(),
        error => format!(": {error}"),
    };
    match info.state() {
        LocalState::Inactive => Some(
            "this node is not in a cluster: make one with 'swarmctl init', or join one with \
             'swarmctl join --token TOKEN ADDR'"
                .into(),
        ),
        LocalState::Joining if info.role() == NodeRole::Worker => {
            Some(format!("this node is still joining its cluster{why}"))
        }
        LocalState::Locked => Some(info.error.clone()),
        LocalState::Error => Some(format!("this node cannot take part in its cluster{why}")),
        LocalState::InCluster if info.role() == NodeRole::Worker => Some(format!(
            "this node is a worker: run this on a manager, or make it one there with 'swarmctl \
             node promote {}'",
            info.hostname
        )),
        LocalState::Joining | LocalState::InCluster => None,
    }
}

/// Whether nobody listens on the socket.
fn is_gone(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return matches!(io.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
        }
        cause = error.source();
    }
    false
}

/// The answer of a call that only this node answers.
pub fn local<T>(answer: Result<Response<T>, Status>) -> Result<T> {
    match answer {
        Ok(response) => Ok(response.into_inner()),
        // It ended between the look for it and the call.
        Err(status) if is_gone(&status) => Err(anyhow!(
            "swarmd is not running any more: start it, or name another daemon with -H or SWARM_HOST"
        )),
        Err(status) if is_passing(&status) => {
            Err(Refused::from(status)).context("swarmd did not answer")
        }
        Err(status) => Err(Refused::from(status).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unix_sockets_are_hosts() {
        assert_eq!(socket("unix:///run/x.sock").unwrap(), PathBuf::from("/run/x.sock"));
        let remote = socket("tcp://10.0.0.1:2377").unwrap_err().to_string();
        assert!(remote.contains("not supported yet"), "{remote}");
        for bad in ["", "/run/x.sock", "unix://run/x", "http://x"] {
            assert!(socket(bad).unwrap_err().to_string().starts_with("invalid host"), "{bad}");
        }
    }

    #[test]
    fn a_node_that_is_no_manager_says_what_to_do() {
        let mut info = InfoResponse { hostname: "w1".into(), ..InfoResponse::default() };
        assert!(not_a_manager(&info).unwrap().contains("swarmctl init"));
        info.state = LocalState::InCluster.into();
        assert!(not_a_manager(&info).unwrap().contains("node promote w1"));
        info.role = NodeRole::Manager.into();
        assert_eq!(not_a_manager(&info), None);
    }

    #[test]
    fn a_broken_connection_is_tried_again_and_a_refusal_is_not() {
        let broken = Status::from_error(Box::new(io::Error::from(io::ErrorKind::BrokenPipe)));
        assert!(is_passing(&broken), "{broken:?}");
        assert!(is_passing(&Status::unavailable("no leader")));
        for refusal in [Status::internal("x"), Status::unknown("x"), Status::aborted("x")] {
            assert!(!is_passing(&refusal), "{refusal:?}");
        }
    }

    #[test]
    fn why_there_is_no_leader_is_passed_on() {
        let why = Status::unavailable(format!("{NO_LEADER}m2 does not answer"));
        let said = no_quorum(&why).to_string();
        assert!(said.starts_with("the cluster has no leader (m2 does not answer): "), "{said}");
        let said = no_quorum(&Status::unavailable("the leader changed")).to_string();
        assert!(said.starts_with("the cluster has no leader: "), "{said}");
    }

    #[tokio::test]
    async fn a_missing_daemon_is_said_in_one_line() {
        let error = Client::connect("unix:///nonexistent/x.sock").await.err().unwrap();
        assert!(error.to_string().starts_with("swarmd is not running at unix:///nonexistent"));
    }
}
