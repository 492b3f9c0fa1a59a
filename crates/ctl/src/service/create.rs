//! `swarmctl service create`.

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use swarm_api::constraint::Constraint;
use swarm_api::{
    Annotations, ContainerSpec, CreateServiceRequest, DnsConfig, GlobalMode, Mount, Placement,
    ReplicatedMode, ServiceSpec, TaskSpec, service_spec,
};

use super::flags::{SharedFlags, lists};
use super::{image, say_warnings};
use crate::client::{Client, ask};
use crate::failure::refuse;
use crate::progress::{self, Goal, WaitOptions};
use crate::{labels, output};

#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq)]
enum Mode {
    #[default]
    Replicated,
    Global,
    #[value(hide = true)]
    ReplicatedJob,
    #[value(hide = true)]
    GlobalJob,
}

/// Flags of `service create`.
#[derive(Args, Debug, Default)]
pub struct CreateFlags {
    /// Name; a random one if none is given
    #[arg(long)]
    name: Option<String>,
    /// A number of tasks, or one on every node
    #[arg(long, value_enum, default_value = "replicated")]
    mode: Mode,
    /// Label of the service; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Label of the containers; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    container_label: Vec<String>,
    /// Environment variable; repeatable
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// File with environment variables; repeatable
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Mount, as type=volume|bind|tmpfs,source=…,target=…; repeatable
    #[arg(long, value_name = "MOUNT", value_parser = swarm_api::mount::parse_csv)]
    mount: Vec<Mount>,
    /// Network, as NAME or name=…,alias=…; repeatable
    #[arg(long, value_name = "NETWORK")]
    network: Vec<String>,
    /// Port, as [[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL] or published=…,target=…,protocol=…,
    /// mode=ingress|host|local,host_ip=…; repeatable
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// Secret, as NAME or source=…,target=…,uid=…,gid=…,mode=…; repeatable
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,
    /// Config, as NAME or source=…,target=…,uid=…,gid=…,mode=…; repeatable
    #[arg(long, value_name = "CONFIG")]
    config: Vec<String>,
    /// What nodes must be, as node.role==manager; repeatable
    #[arg(long, value_name = "CONSTRAINT")]
    constraint: Vec<String>,
    /// How to spread tasks, as spread=node.labels.KEY; repeatable
    #[arg(long, value_name = "PREFERENCE")]
    placement_pref: Vec<String>,
    /// Countable resource that a node must have left, as KIND=N; repeatable
    #[arg(long, value_name = "KIND=N")]
    generic_resource: Vec<String>,
    /// Further group of the process; repeatable
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// DNS server; repeatable
    #[arg(long, value_name = "IP")]
    dns: Vec<String>,
    /// DNS option; repeatable
    #[arg(long, value_name = "OPTION")]
    dns_option: Vec<String>,
    /// DNS search domain; repeatable
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Line of /etc/hosts; repeatable
    #[arg(long, value_name = "NAME:IP")]
    host: Vec<String>,
    /// Kernel setting; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    sysctl: Vec<String>,
    /// Limit of the process; repeatable
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
    #[command(flatten)]
    shared: SharedFlags,
    /// Image, and what it runs in place of its own command
    #[arg(
        value_name = "IMAGE [COMMAND] [ARG]",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,
}

impl CreateFlags {
    /// The spec that the flags describe; its image is not yet looked up.
    pub fn spec(&self) -> Result<ServiceSpec> {
        refuse("--mode replicated-job", self.mode == Mode::ReplicatedJob)?;
        refuse("--mode global-job", self.mode == Mode::GlobalJob)?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => super::name::random(),
        };
        swarm_api::name::service(&name)?;
        let mode = match self.mode {
            Mode::Global => service_spec::Mode::Global(GlobalMode {}),
            _ => service_spec::Mode::Replicated(ReplicatedMode { replicas: 1 }),
        };
        let mut spec = ServiceSpec {
            annotations: Some(Annotations { name, labels: labels::parse(&self.label)? }),
            task: Some(self.task()?),
            mode: Some(mode),
            ..ServiceSpec::default()
        };
        let ports = lists::ports(&self.publish)?;
        if !ports.is_empty() {
            spec.endpoint.get_or_insert_default().ports = ports;
        }
        self.shared.apply(&mut spec)?;
        Ok(spec)
    }

    fn task(&self) -> Result<TaskSpec> {
        for constraint in &self.constraint {
            Constraint::parse(constraint)?;
        }
        let placement = Placement {
            constraints: self.constraint.clone(),
            preferences: lists::each(&self.placement_pref, lists::preference)?,
            ..Placement::default()
        };
        let mut task = TaskSpec {
            container: Some(self.container()?),
            placement: (placement != Placement::default()).then_some(placement),
            networks: lists::each(&self.network, lists::network)?,
            ..TaskSpec::default()
        };
        for flag in &self.generic_resource {
            let kept = task.resources.get_or_insert_default().reservations.get_or_insert_default();
            kept.generic.push(swarm_api::resource::parse_generic(flag)?);
        }
        Ok(task)
    }

    fn container(&self) -> Result<ContainerSpec> {
        let (image, args) = self.command.split_first().context("an image is required")?;
        if image.starts_with('-') {
            bail!("unknown flag: {image} (see 'swarmctl service create --help')");
        }
        swarm_api::image::ImageRef::parse(image)?;
        let mut env = Vec::new();
        for file in &self.env_file {
            lists::add_environment(&mut env, lists::environment_file(file)?);
        }
        let own = |name: &str| std::env::var(name).ok();
        lists::add_environment(&mut env, lists::environment(&self.env, own)?);
        let dns = DnsConfig {
            nameservers: self.dns.clone(),
            search: self.dns_search.clone(),
            options: self.dns_option.clone(),
        };
        let container = ContainerSpec {
            image: image.clone(),
            args: args.to_vec(),
            labels: labels::parse(&self.container_label)?,
            env,
            groups: self.group.clone(),
            mounts: self.mount.clone(),
            secrets: lists::each(&self.secret, lists::secret)?,
            configs: lists::each(&self.config, lists::config)?,
            hosts: lists::each(&self.host, lists::host)?,
            dns: (dns != DnsConfig::default()).then_some(dns),
            sysctls: labels::parse(&self.sysctl)?,
            ulimits: lists::each(&self.ulimit, lists::ulimit)?,
            ..ContainerSpec::default()
        };
        check_files(&container)?;
        Ok(container)
    }

    /// Makes the service, shows its id and waits until it runs.
    pub async fn run(self, client: &Client) -> Result<()> {
        let mut spec = self.spec()?;
        let image = image::image_of(&mut spec).clone();
        let pinned = self.shared.no_resolve_image || image::pin(client, &mut spec).await;
        let name = spec.annotations.clone().unwrap_or_default().name;
        let request =
            CreateServiceRequest { spec: Some(spec), request_id: swarm_api::id::random_id() };
        let made = ask!(client, create_service, request)?;
        // Only now: a service that was refused needs no warning about its image.
        if !pinned {
            image::warn(&image);
        }
        say_warnings(&made.warnings);
        let service = made.service.unwrap_or_default();
        output::line(&service.id)?;
        if self.shared.is_detached() {
            return Ok(());
        }
        let options = WaitOptions { quiet: self.shared.quiet, ..WaitOptions::default() };
        progress::wait(client, vec![Goal::converge(&service.id, &name)], options).await
    }
}

/// Refuses two secrets, configs or mounts at one place.
pub fn check_files(container: &ContainerSpec) -> Result<()> {
    let secrets = container.secrets.iter().map(|s| (s.secret_name.as_str(), s.file.as_ref()));
    lists::unique_targets("secret", secrets)?;
    let configs = container.configs.iter().map(|c| (c.config_name.as_str(), c.file.as_ref()));
    lists::unique_targets("config", configs)?;
    let mut seen = std::collections::BTreeSet::new();
    match container.mounts.iter().find(|mount| !seen.insert(&mount.target)) {
        Some(mount) => bail!("duplicate mount target: {}", mount.target),
        None => Ok(()),
    }
}
