//! `swarmctl service inspect`.

use anyhow::Result;
use clap::Args;
use swarm_api::object::Stored;
use swarm_api::{
    ContainerSpec, LbPolicy, PublishMode, Resources, Service, TaskSpec, UpdateConfig, UpdateState,
    mount,
};

use super::find;
use super::ls::mode;
use crate::client::Client;
use crate::failure::is_not_found;
use crate::inspect::Form;
use crate::shape;
use crate::shape::service::update_state;
use crate::shape::spec::{endpoint_mode, failure_action, lb_policy, order};

/// Flags of `service inspect`.
#[derive(Args, Debug)]
pub struct InspectFlags {
    #[command(flatten)]
    form: Form,
    /// Services
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
}

impl InspectFlags {
    /// Shows the services.
    pub async fn run(self, client: &Client) -> Result<()> {
        self.form.check()?;
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for reference in &self.services {
            match find(client, reference).await {
                Ok(service) => found.push(service),
                Err(error) if is_not_found(&error) => {
                    errors.push(anyhow::anyhow!("no such service: {reference}"));
                }
                Err(error) => errors.push(error),
            }
        }
        self.form.print(&found, errors, shape::service::service, pretty)
    }
}

/// Lines for people.
struct Page(Vec<String>);

impl Page {
    fn line(&mut self, label: &str, value: impl std::fmt::Display) {
        // Values stand in one column, after the longest label.
        self.0.push(format!("{:<16}{value}", format!("{label}:")));
    }

    fn opt(&mut self, label: &str, value: &str) {
        if !value.is_empty() {
            self.line(label, value);
        }
    }
}

fn pretty(service: &Service) -> String {
    let spec = service.spec.clone().unwrap_or_default();
    let mut page = Page(Vec::new());
    page.line("ID", &service.id);
    page.line("Name", service.spec_name());
    page.0.push("Labels:".into());
    for (key, value) in service.labels().into_iter().flatten() {
        page.0.push(format!(" {key}={value}"));
    }
    page.line("Service Mode", crate::tasks::capital(mode(service)));
    if let Some(swarm_api::service_spec::Mode::Replicated(replicated)) = &spec.mode {
        page.line(" Replicas", replicated.replicas);
    }
    if let Some(status) = &service.update_status
        && status.state() != UpdateState::UpdateNone
    {
        page.0.push("UpdateStatus:".into());
        page.line(" State", update_state(status.state()));
        page.opt(" Message", &status.message);
    }
    let task = spec.task.clone().unwrap_or_default();
    placement(&mut page, &task);
    rollout(&mut page, "UpdateConfig", spec.update.as_ref());
    rollout(&mut page, "RollbackConfig", spec.rollback.as_ref());
    container(&mut page, &task.container.clone().unwrap_or_default());
    let resources = task.resources.clone().unwrap_or_default();
    page.0.push("Resources:".into());
    amounts(&mut page, "Reservations", resources.reservations.as_ref());
    amounts(&mut page, "Limits", resources.limits.as_ref());
    endpoint(&mut page, service);
    page.0.join("\n") + "\n"
}

fn placement(page: &mut Page, task: &TaskSpec) {
    page.0.push("Placement:".into());
    let placement = task.placement.clone().unwrap_or_default();
    if !placement.constraints.is_empty() {
        page.line(" Constraints", placement.constraints.join(", "));
    }
    let spread: Vec<String> = placement.preferences.into_iter().map(|p| p.spread).collect();
    if !spread.is_empty() {
        page.line(" Preferences", spread.join(", "));
    }
    if placement.max_replicas > 0 {
        page.line(" Max Replicas Per Node", placement.max_replicas);
    }
}

fn rollout(page: &mut Page, title: &str, config: Option<&UpdateConfig>) {
    let Some(config) = config else { return };
    let time = |d: Option<&prost_types::Duration>| {
        swarm_api::duration::format(d.map(swarm_api::time::to_std).unwrap_or_default())
    };
    page.0.push(format!("{title}:"));
    page.line(" Parallelism", config.parallelism);
    page.line(" Delay", time(config.delay.as_ref()));
    page.line(" On failure", failure_action(config.failure_action()));
    if config.monitor.is_some() {
        page.line(" Monitoring Period", format!(" {}", time(config.monitor.as_ref())));
    }
    page.line(" Max failure ratio", format!(" {}", config.max_failure_ratio));
    page.line(" Order", order(config.order()));
}

fn container(page: &mut Page, c: &ContainerSpec) {
    page.0.push("ContainerSpec:".into());
    page.line(" Image", &c.image);
    page.opt(" Command", &c.command.join(" "));
    page.opt(" Args", &c.args.join(" "));
    page.opt(" Env", &c.env.join(" "));
    page.opt(" Dir", &c.dir);
    page.opt(" User", &c.user);
    if !c.mounts.is_empty() {
        page.0.push("Mounts:".into());
    }
    for m in &c.mounts {
        let kind = match m.r#type() {
            mount::Type::Volume => "volume",
            mount::Type::Bind => "bind",
            mount::Type::Tmpfs => "tmpfs",
        };
        let access = if m.read_only { " (read-only)" } else { "" };
        page.0.push(format!(" {} -> {} ({kind}){access}", m.source, m.target));
    }
    for (title, names) in [
        ("Secrets", c.secrets.iter().map(|s| (&s.secret_name, &s.file)).collect::<Vec<_>>()),
        ("Configs", c.configs.iter().map(|s| (&s.config_name, &s.file)).collect()),
    ] {
        if !names.is_empty() {
            page.0.push(format!("{title}:"));
        }
        for (name, file) in names {
            let target = file.as_ref().map_or("", |f| f.name.as_str());
            page.0.push(format!(" Target: {target}  Source: {name}"));
        }
    }
}

fn amounts(page: &mut Page, title: &str, resources: Option<&Resources>) {
    let Some(r) = resources else { return };
    page.0.push(format!(" {title}:"));
    if r.nano_cpus > 0 {
        page.line("  CPU", r.nano_cpus as f64 / 1e9);
    }
    if let Ok(bytes @ 1..) = u64::try_from(r.memory_bytes) {
        page.line("  Memory", swarm_api::size::format_binary(bytes));
    }
    if r.pids > 0 {
        page.line("  PIDs", r.pids);
    }
}

fn endpoint(page: &mut Page, service: &Service) {
    let endpoint = service.endpoint.clone().unwrap_or_default();
    let own = service.spec.as_ref().and_then(|s| s.endpoint.as_ref());
    page.line("Endpoint Mode", own.map_or("vip", |e| endpoint_mode(e.mode())));
    if let Some(own) = own.filter(|e| e.lb_policy() != LbPolicy::RoundRobin) {
        page.line("LB Policy", lb_policy(own.lb_policy()));
    }
    if let Some(idle) = own.and_then(|e| e.idle_timeout.as_ref()) {
        page.line("Idle Timeout", format!("{}s", idle.seconds));
    }
    // Host-mode ports are in the spec only: nodes bind them.
    let in_host_mode = own.into_iter().flat_map(|e| &e.ports);
    let in_host_mode = in_host_mode.filter(|p| p.mode() == PublishMode::Host);
    let allocated = endpoint.ports.iter().filter(|p| p.mode() == PublishMode::Ingress);
    let ports: Vec<_> = allocated.chain(in_host_mode).collect();
    if !ports.is_empty() {
        page.0.push("Ports:".into());
    }
    for p in ports {
        let protocol = swarm_api::port::protocol_name(p.protocol());
        let mode = swarm_api::port::mode_name(p);
        let at = if p.host_ip.is_empty() { String::new() } else { format!("{}:", p.host_ip) };
        page.0.push(format!(" {at}{} -> {}/{protocol} ({mode})", p.published, p.target));
    }
}
