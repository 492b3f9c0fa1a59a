//! `swarmctl service update`.

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::constraint::Constraint;
use swarm_api::{
    ContainerSpec, DnsConfig, GetNetworkRequest, Mount, Placement, ServiceSpec, TaskSpec,
};

use super::create::check_files;
use super::flags::{SharedFlags, container_of, lists, task_of};
use super::image::{self, image_of};
use super::{Edited, edit, rollback, say_warnings};
use crate::client::{Client, ask};
use crate::output;
use crate::progress::{self, Goal, WaitOptions};

/// Flags of `service update`. All `--X-add` and `--X-rm` are repeatable.
#[derive(Args, Debug, Default)]
pub struct UpdateFlags {
    /// New image
    #[arg(long)]
    image: Option<String>,
    /// New arguments, with shell quoting
    #[arg(long, allow_hyphen_values = true)]
    args: Option<String>,
    /// Replace all tasks even if nothing changed
    #[arg(long)]
    force: bool,
    /// Go back to the spec before the last update
    #[arg(long)]
    rollback: bool,
    #[command(flatten)]
    lists: ListFlags,
    #[command(flatten)]
    more: MoreListFlags,
    #[command(flatten)]
    shared: SharedFlags,
    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,
}

/// Lists that people change often.
#[derive(Args, Debug, Default, PartialEq)]
struct ListFlags {
    /// Add or change a label of the service
    #[arg(long, value_name = "KEY=VALUE")]
    label_add: Vec<String>,
    /// Remove a label of the service
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    /// Add or change a label of the containers
    #[arg(long, value_name = "KEY=VALUE")]
    container_label_add: Vec<String>,
    /// Remove a label of the containers
    #[arg(long, value_name = "KEY")]
    container_label_rm: Vec<String>,
    /// Add or change an environment variable
    #[arg(long, value_name = "KEY[=VALUE]")]
    env_add: Vec<String>,
    /// Remove an environment variable
    #[arg(long, value_name = "KEY")]
    env_rm: Vec<String>,
    /// Add or change a mount
    #[arg(long, value_name = "MOUNT", value_parser = swarm_api::mount::parse_csv)]
    mount_add: Vec<Mount>,
    /// Remove the mount at a target
    #[arg(long, value_name = "TARGET")]
    mount_rm: Vec<String>,
    /// Attach to a network
    #[arg(long, value_name = "NETWORK")]
    network_add: Vec<String>,
    /// Detach from a network
    #[arg(long, value_name = "NETWORK")]
    network_rm: Vec<String>,
    /// Publish a port
    #[arg(long, value_name = "PORT")]
    publish_add: Vec<String>,
    /// Publish a target port no more
    #[arg(long, value_name = "TARGET[/PROTOCOL]")]
    publish_rm: Vec<String>,
    /// Add a secret
    #[arg(long, value_name = "SECRET")]
    secret_add: Vec<String>,
    /// Remove a secret
    #[arg(long, value_name = "SECRET")]
    secret_rm: Vec<String>,
    /// Add a config
    #[arg(long, value_name = "CONFIG")]
    config_add: Vec<String>,
    /// Remove a config
    #[arg(long, value_name = "CONFIG")]
    config_rm: Vec<String>,
    /// Add a constraint
    #[arg(long, value_name = "CONSTRAINT")]
    constraint_add: Vec<String>,
    /// Remove a constraint
    #[arg(long, value_name = "CONSTRAINT")]
    constraint_rm: Vec<String>,
}

/// Lists that people change rarely.
#[derive(Args, Debug, Default, PartialEq)]
struct MoreListFlags {
    /// Add a placement preference
    #[arg(long, value_name = "PREFERENCE")]
    placement_pref_add: Vec<String>,
    /// Remove a placement preference
    #[arg(long, value_name = "PREFERENCE")]
    placement_pref_rm: Vec<String>,
    /// Reserve a countable resource
    #[arg(long, value_name = "KIND=N")]
    generic_resource_add: Vec<String>,
    /// Reserve a countable resource no more
    #[arg(long, value_name = "KIND")]
    generic_resource_rm: Vec<String>,
    /// Add a group
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Remove a group
    #[arg(long, value_name = "GROUP")]
    group_rm: Vec<String>,
    /// Add a DNS server
    #[arg(long, value_name = "IP")]
    dns_add: Vec<String>,
    /// Remove a DNS server
    #[arg(long, value_name = "IP")]
    dns_rm: Vec<String>,
    /// Add a DNS option
    #[arg(long, value_name = "OPTION")]
    dns_option_add: Vec<String>,
    /// Remove a DNS option
    #[arg(long, value_name = "OPTION")]
    dns_option_rm: Vec<String>,
    /// Add a DNS search domain
    #[arg(long, value_name = "DOMAIN")]
    dns_search_add: Vec<String>,
    /// Remove a DNS search domain
    #[arg(long, value_name = "DOMAIN")]
    dns_search_rm: Vec<String>,
    /// Add a line of /etc/hosts
    #[arg(long, value_name = "NAME:IP")]
    host_add: Vec<String>,
    /// Remove lines of /etc/hosts
    #[arg(long, value_name = "NAME[:IP]")]
    host_rm: Vec<String>,
    /// Add or change a kernel setting
    #[arg(long, value_name = "KEY=VALUE")]
    sysctl_add: Vec<String>,
    /// Remove a kernel setting
    #[arg(long, value_name = "KEY")]
    sysctl_rm: Vec<String>,
    /// Add or change a limit of the process
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit_add: Vec<String>,
    /// Remove a limit of the process
    #[arg(long, value_name = "NAME")]
    ulimit_rm: Vec<String>,
}

impl ListFlags {
    fn apply(&self, spec: &mut ServiceSpec) -> Result<()> {
        let own = &mut spec.annotations.get_or_insert_default().labels;
        lists::change_map(own, &self.label_add, &self.label_rm)?;
        if !self.publish_add.is_empty() || !self.publish_rm.is_empty() {
            let ports = &mut spec.endpoint.get_or_insert_default().ports;
            lists::change_ports(ports, &self.publish_add, &self.publish_rm)?;
        }
        let task = task_of(spec);
        if !self.constraint_add.is_empty() || !self.constraint_rm.is_empty() {
            for constraint in &self.constraint_add {
                Constraint::parse(constraint)?;
            }
            let placement: &mut Placement = task.placement.get_or_insert_default();
            lists::change(&mut placement.constraints, &self.constraint_add, &self.constraint_rm);
        }
        self.container(container_of(task))
    }

    fn container(&self, container: &mut ContainerSpec) -> Result<()> {
        let labels = &mut container.labels;
        lists::change_map(labels, &self.container_label_add, &self.container_label_rm)?;
        lists::remove_environment(&mut container.env, &self.env_rm);
        let own = |name: &str| std::env::var(name).ok();
        let added = lists::environment(&self.env_add, own)?;
        lists::add_environment(&mut container.env, added);
        container.mounts.retain(|m| {
            !self.mount_rm.contains(&m.target)
                && !self.mount_add.iter().any(|new| new.target == m.target)
        });
        container.mounts.extend(self.mount_add.iter().cloned());
        let gone = |name: &str, id: &str, rm: &[String]| rm.iter().any(|r| r == name || r == id);
        container.secrets.retain(|s| !gone(&s.secret_name, &s.secret_id, &self.secret_rm));
        container.secrets.extend(lists::each(&self.secret_add, lists::secret)?);
        container.configs.retain(|c| !gone(&c.config_name, &c.config_id, &self.config_rm));
        container.configs.extend(lists::each(&self.config_add, lists::config)?);
        check_files(container)
    }
}

impl MoreListFlags {
    fn apply(&self, task: &mut TaskSpec) -> Result<()> {
        if !self.placement_pref_add.is_empty() || !self.placement_pref_rm.is_empty() {
            let placement = task.placement.get_or_insert_default();
            let added = lists::each(&self.placement_pref_add, lists::preference)?;
            let removed = lists::each(&self.placement_pref_rm, lists::preference)?;
            lists::change(&mut placement.preferences, &added, &removed);
        }
        self.generic(task)?;
        let container = container_of(task);
        lists::change(&mut container.groups, &self.group_add, &self.group_rm);
        lists::remove_hosts(&mut container.hosts, &self.host_rm);
        lists::change(&mut container.hosts, &lists::each(&self.host_add, lists::host)?, &[]);
        lists::change_map(&mut container.sysctls, &self.sysctl_add, &self.sysctl_rm)?;
        let ulimits = lists::each(&self.ulimit_add, lists::ulimit)?;
        lists::change_ulimits(&mut container.ulimits, ulimits, &self.ulimit_rm);
        let mut dns: DnsConfig = container.dns.take().unwrap_or_default();
        lists::change(&mut dns.nameservers, &self.dns_add, &self.dns_rm);
        lists::change(&mut dns.options, &self.dns_option_add, &self.dns_option_rm);
        lists::change(&mut dns.search, &self.dns_search_add, &self.dns_search_rm);
        container.dns = (dns != DnsConfig::default()).then_some(dns);
        Ok(())
    }

    fn generic(&self, task: &mut TaskSpec) -> Result<()> {
        if self.generic_resource_add.is_empty() && self.generic_resource_rm.is_empty() {
            return Ok(());
        }
        let kept = task.resources.get_or_insert_default().reservations.get_or_insert_default();
        for flag in &self.generic_resource_add {
            let new = swarm_api::resource::parse_generic(flag)?;
            kept.generic.retain(|old| old.kind != new.kind);
            kept.generic.push(new);
        }
        kept.generic.retain(|old| !self.generic_resource_rm.contains(&old.kind));
        Ok(())
    }
}

impl UpdateFlags {
    /// Writes all flags but the networks, whose names the manager must resolve first, into `spec`.
    pub fn apply(&self, spec: &mut ServiceSpec) -> Result<()> {
        self.lists.apply(spec)?;
        let task = task_of(spec);
        self.more.apply(task)?;
        if self.force {
            task.force_update += 1;
        }
        if let Some(args) = &self.args {
            container_of(task).args = super::words("--args", args)?;
        }
        if let Some(image) = &self.image {
            swarm_api::image::ImageRef::parse(image)?;
            image_of(spec).clone_from(image);
        }
        self.shared.apply(spec)
    }

    /// Whether `--rollback` has no other flags beside it.
    pub fn is_only_rollback(&self) -> bool {
        self.lists == ListFlags::default()
            && self.more == MoreListFlags::default()
            && self.shared.is_only_about_waiting()
            && self.image.is_none()
            && self.args.is_none()
            && !self.force
    }

    /// Changes the service and waits until it runs as asked.
    pub async fn run(self, client: &Client) -> Result<()> {
        let options = WaitOptions { quiet: self.shared.quiet, ..WaitOptions::default() };
        if self.rollback {
            if !self.is_only_rollback() {
                bail!("other flags may not be combined with --rollback");
            }
            let detached = self.shared.is_detached();
            return rollback::roll_back(client, &self.service, detached, options).await;
        }
        let networks = Networks::resolve(client, &self.lists).await?;
        let pinned = match &self.image {
            Some(image) if !self.shared.no_resolve_image => image::look_up(client, image).await,
            _ => None,
        };
        let Edited { service, warnings } = edit(client, &self.service, |spec| {
            self.apply(spec)?;
            match &pinned {
                Some(pinned) => pinned.write(spec),
                None if self.image.is_some() => image::tag(spec),
                None => {}
            }
            networks.apply(task_of(spec))
        })
        .await?;
        // Not earlier: a refused update has nothing to warn about.
        if let (Some(image), None, false) = (&self.image, &pinned, self.shared.no_resolve_image) {
            image::warn(image);
        }
        say_warnings(&warnings);
        output::line(&self.service)?;
        if self.shared.is_detached() {
            return Ok(());
        }
        let goal = Goal::converge(&service.id, service.spec_name());
        progress::wait(client, vec![goal], options).await
    }
}

/// Networks of the flags, by id.
struct Networks {
    added: Vec<swarm_api::NetworkAttachmentConfig>,
    removed: Vec<String>,
}

impl Networks {
    async fn resolve(client: &Client, flags: &ListFlags) -> Result<Self> {
        let mut added = lists::each(&flags.network_add, lists::network)?;
        for network in &mut added {
            network.target = id_of(client, &network.target).await?;
        }
        let mut removed = Vec::new();
        for name in &flags.network_rm {
            removed.push(id_of(client, name).await?);
        }
        Ok(Networks { added, removed })
    }

    fn apply(&self, task: &mut TaskSpec) -> Result<()> {
        task.networks.retain(|n| !self.removed.contains(&n.target));
        for network in &self.added {
            if task.networks.iter().any(|n| n.target == network.target) {
                bail!("service is already attached to network {}", network.target);
            }
            task.networks.push(network.clone());
        }
        Ok(())
    }
}

/// What stands for the network in a spec. Networks that every node has are not the manager's: their name is all there is.
async fn id_of(client: &Client, network: &str) -> Result<String> {
    if swarm_api::name::is_node_network(network) {
        return Ok(network.to_owned());
    }
    let request = GetNetworkRequest { network: network.to_owned() };
    Ok(ask!(client, get_network, request)?.network.unwrap_or_default().id)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A file that is gone with its test.
    struct Temporary(std::path::PathBuf);

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[tokio::test]
    async fn a_network_that_every_node_has_is_not_looked_up() {
        let socket = Temporary(std::env::temp_dir().join(swarm_api::id::random_id()));
        // Nobody answers there.
        let _listener = tokio::net::UnixListener::bind(&socket.0).unwrap();
        let client = Client::connect(&format!("unix://{}", socket.0.display())).await.unwrap();
        for name in ["host", "bridge", "none"] {
            let found = tokio::time::timeout(Duration::from_secs(10), id_of(&client, name));
            assert_eq!(found.await.expect("it asks nobody").unwrap(), name);
        }
    }
}
