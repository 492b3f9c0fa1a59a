//! The production [`Controller`]: one task's image, namespace and container, through engine and data plane.
//!
//! Everything is found again by the container's name (`service.slot.taskid`), so each method may be repeated after a restart.

mod spec;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use swarm_api::{ContainerStatus, NodeDescription, PortConfig, PublishMode, Task};
use swarm_engine::spec::{NetworkMode, RemoveVolumes};
use swarm_engine::{ContainerState, Engine, EngineError, HealthState, Phase};
use swarm_overlay_net::HostPort;
use tokio::sync::watch;

use crate::assignment::Assignments;
use crate::controller::{Controller, Executor, Exit, StepError};
use crate::describe::NodeFacts;
use crate::drain::Drain;
use crate::fetch::Fetcher;
use crate::networks::{Networks, SandboxWish};
use crate::plan;

pub use spec::SpecError;

/// What all controllers of a node share.
pub struct NodeExecutor {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    networks: Networks,
    fetcher: Fetcher,
    facts: NodeFacts,
    node_id: String,
    assignments: watch::Receiver<Option<Arc<Assignments>>>,
    drain: Drain,
}

impl NodeExecutor {
    /// An executor on `engine` and `networks`.
    pub fn new(
        engine: Engine,
        networks: Networks,
        fetcher: Fetcher,
        facts: NodeFacts,
        node_id: String,
        assignments: watch::Receiver<Option<Arc<Assignments>>>,
        drain: Drain,
    ) -> Self {
        let shared = Shared { engine, networks, fetcher, facts, node_id, assignments, drain };
        Self { shared: Arc::new(shared) }
    }
}

#[tonic::async_trait]
impl Executor for NodeExecutor {
    async fn describe(&self) -> NodeDescription {
        let data_path_mtu = self.shared.networks.underlay_mtu().await;
        NodeDescription { data_path_mtu, ..self.shared.facts.describe() }
    }

    fn controller(&self, task: &Task) -> Arc<dyn Controller> {
        Arc::new(ContainerController {
            node: self.shared.clone(),
            task: task.clone(),
            making: Arc::default(),
            host_ports: Mutex::new(
                task.status.as_ref().map(|s| s.host_ports.clone()).unwrap_or_default(),
            ),
        })
    }
}

struct ContainerController {
    node: Arc<Shared>,
    task: Task,
    // Held while a container is being made: that is not given up half-way.
    making: Arc<tokio::sync::Mutex<()>>,
    // As bound; a std mutex, as nothing awaits while it is held.
    host_ports: Mutex<Vec<PortConfig>>,
}

#[tonic::async_trait]
impl Controller for ContainerController {
    async fn prepare(&self) -> Result<(), StepError> {
        let container = self.container_spec()?;
        self.node.fetcher.ensure(&container.image).await.map_err(fatal)?;
        let network = self.network().await?;
        let set = self.node.assignments.borrow().clone().unwrap_or_default();
        let context = self.node.facts.context(&self.task, &self.node.node_id);
        let mut spec = spec::container(&self.task, &set, &context).map_err(fatal)?;
        spec.network = network;
        spec.address = self.task.networks.first().and_then(|n| n.address.parse().ok());
        let (engine, making) = (self.node.engine.clone(), self.making.clone().lock_owned().await);
        let made = tokio::spawn(async move {
            let made = engine.create(spec).await;
            drop(making);
            made
        });
        match made.await.map_err(fatal)? {
            Ok(_) | Err(EngineError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(fatal(error)),
        }
    }

    async fn resume(&self) -> Result<(), StepError> {
        if self.own_namespace() {
            self.sandbox(true).await?;
        }
        Ok(())
    }

    async fn release(&self) -> Result<(), StepError> {
        self.node.networks.release(&self.task.id).await.map_err(fatal)
    }

    async fn start(&self) -> Result<(), StepError> {
        let engine = &self.node.engine;
        let found = self.find().ok_or_else(|| fatal("its container is gone"))?;
        if found.phase == Phase::Created {
            engine.start(&found.id).await.map_err(fatal)?;
        }
        let mut health = engine.health(&found.id).map_err(fatal)?;
        let settled = async {
            health.wait_for(|h| *h != HealthState::Starting).await.map(|state| *state).ok()
        };
        tokio::select! {
            // Its end first: with it the health is gone too.
            biased;
            // A task that ends at once has run all the same; one that fails has not.
            exit = engine.wait(&found.id) => match exit.map_err(fatal)? {
                exit if exit.code == 0 => Ok(()),
                exit => Err(fatal(exit_text(&exit))),
            },
            state = settled => match state {
                Some(HealthState::Unhealthy) => Err(fatal("unhealthy container")),
                _ => Ok(()),
            },
        }
    }

    async fn wait(&self) -> Result<Exit, StepError> {
        let engine = &self.node.engine;
        let found = self.find().ok_or_else(|| fatal("its container is gone"))?;
        let mut health = engine.health(&found.id).map_err(fatal)?;
        let unhealthy = async {
            // A sender that is gone says nothing about health.
            if health.wait_for(|h| *h == HealthState::Unhealthy).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            exit = engine.wait(&found.id) => Some(exit.map_err(fatal)?),
            () = unhealthy => None,
        };
        let exit = match ended {
            Some(exit) => exit,
            None => {
                self.stop(&found).await?;
                let mut exit = engine.wait(&found.id).await.map_err(fatal)?;
                exit.error = Some("unhealthy container".into());
                exit
            }
        };
        let detail = match (&exit.error, exit.oom_killed) {
            (Some(error), _) => Some(error.clone()),
            (None, true) => Some("out of memory".into()),
            (None, false) => None,
        };
        Ok(Exit { code: exit.code, detail })
    }

    async fn shutdown(&self) -> Result<(), StepError> {
        drop(self.making.lock().await);
        let Some(found) = self.find() else { return Ok(()) };
        if found.phase != Phase::Running {
            return Ok(());
        }
        if !self.task.networks.is_empty() {
            self.node.drain.wait(&self.task).await;
        }
        self.stop(&found).await
    }

    async fn remove(&self) -> Result<(), StepError> {
        drop(self.making.lock().await);
        if let Some(found) = self.find() {
            let removed = self.node.engine.remove(&found.id, RemoveVolumes::Anonymous).await;
            match removed {
                Ok(()) | Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(fatal(error)),
            }
        }
        self.node.networks.release(&self.task.id).await.map_err(fatal)
    }

    async fn status(&self) -> Option<ContainerStatus> {
        let found = self.find()?;
        Some(ContainerStatus {
            pid: found.pid.unwrap_or_default().into(),
            exit_code: match &found.phase {
                Phase::Exited(exit) => exit.code,
                _ => 0,
            },
            container_id: found.id,
        })
    }

    async fn host_ports(&self) -> Vec<PortConfig> {
        self.host_ports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ContainerController {
    fn container_spec(&self) -> Result<&swarm_api::ContainerSpec, StepError> {
        let spec = self.task.spec.as_ref().and_then(|s| s.container.as_ref());
        spec.ok_or_else(|| fatal("the task has no container"))
    }

    fn find(&self) -> Option<ContainerState> {
        self.node.engine.inspect(&self.task.full_name()).ok()
    }

    /// Signal and grace period are the container's own.
    async fn stop(&self, found: &ContainerState) -> Result<(), StepError> {
        self.node.engine.stop(&found.id, None, None).await.map(drop).map_err(fatal)
    }

    /// The namespace of the task's attachments, or the host's own where it asks for that.
    async fn network(&self) -> Result<NetworkMode, StepError> {
        match self.first_target() {
            "host" => Ok(NetworkMode::Host),
            "none" => Ok(NetworkMode::None),
            _ => Ok(NetworkMode::Namespace(self.sandbox(false).await?)),
        }
    }

    fn own_namespace(&self) -> bool {
        !matches!(self.first_target(), "host" | "none")
    }

    fn first_target(&self) -> &str {
        let targets = self.task.spec.as_ref().map(|s| s.networks.as_slice()).unwrap_or_default();
        targets.first().map_or("", |t| t.target.as_str())
    }

    async fn sandbox(&self, resumed: bool) -> Result<PathBuf, StepError> {
        let wish = SandboxWish {
            attachments: self.attachments()?,
            needs_local: self.needs_local(),
            ports: self.wanted_ports(),
            naming: spec::naming(self.container_spec()?).map_err(fatal)?,
            resumed,
        };
        let sandbox = self.node.networks.sandbox(&self.task.id, wish).await.map_err(fatal)?;
        let bound = sandbox.host_ports.iter().map(bound_port).collect();
        *self.host_ports.lock().unwrap_or_else(PoisonError::into_inner) = bound;
        Ok(sandbox.netns)
    }

    fn attachments(&self) -> Result<Vec<(String, Ipv4Addr)>, StepError> {
        self.task
            .networks
            .iter()
            .map(|n| match n.address.parse() {
                Ok(address) => Ok((n.network_id.clone(), address)),
                Err(_) => Err(fatal(format!("invalid address \"{}\"", n.address))),
            })
            .collect()
    }

    /// Whether no network would be attached.
    fn needs_local(&self) -> bool {
        self.task.networks.is_empty()
    }

    fn wanted_ports(&self) -> Vec<HostPort> {
        let ports = self.task.endpoint.as_ref().map(|e| e.ports.as_slice()).unwrap_or_default();
        ports
            .iter()
            .filter(|p| p.mode() == PublishMode::Host)
            .filter_map(|p| {
                Some(HostPort {
                    host_ip: p.host_ip.parse::<IpAddr>().ok(),
                    published: u16::try_from(p.published).ok()?,
                    target: u16::try_from(p.target).ok()?,
                    protocol: plan::protocol(p.protocol()),
                })
            })
            .collect()
    }
}

fn bound_port(port: &HostPort) -> PortConfig {
    use swarm_overlay_net::Protocol as Net;
    PortConfig {
        name: String::new(),
        protocol: match port.protocol {
            Net::Tcp => swarm_api::Protocol::Tcp,
            Net::Udp => swarm_api::Protocol::Udp,
            Net::Sctp => swarm_api::Protocol::Sctp,
        }
        .into(),
        target: port.target.into(),
        published: port.published.into(),
        mode: PublishMode::Host.into(),
        host_ip: port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        local: false,
    }
}

fn exit_text(exit: &swarm_engine::ExitStatus) -> String {
    let detail = match exit.oom_killed {
        true => ": out of memory",
        false => "",
    };
    format!("task: non-zero exit ({}){detail}", exit.code)
}

fn fatal(error: impl ToString) -> StepError {
    StepError::Fatal(error.to_string())
}
