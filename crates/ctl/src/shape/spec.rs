//! A service's spec as JSON, part by part.

use serde_json::{Value, json};
use swarm_api::{
    ContainerSpec, EndpointMode, EndpointSpec, FailureAction, FileTarget, GenericResource,
    HealthConfig, LbPolicy, Mount, Placement, PortConfig, Resources, RestartCondition,
    RestartPolicy, ServiceSpec, TaskSpec, UpdateConfig, UpdateOrder, mount, service_spec,
};

use super::{Doc, list, map, nanos};

/// The whole.
pub fn service(spec: &ServiceSpec) -> Value {
    let annotations = spec.annotations.clone().unwrap_or_default();
    let mode = match &spec.mode {
        Some(service_spec::Mode::Global(_)) => json!({"Global": {}}),
        Some(service_spec::Mode::Replicated(r)) => json!({"Replicated": {"Replicas": r.replicas}}),
        None => json!({}),
    };
    Doc::default()
        .set("Name", annotations.name)
        .set("Labels", map(&annotations.labels))
        .set("TaskTemplate", spec.task.as_ref().map(task).unwrap_or_default())
        .set("Mode", mode)
        .opt("UpdateConfig", spec.update.as_ref().map(rollout))
        .opt("RollbackConfig", spec.rollback.as_ref().map(rollout))
        .opt("EndpointSpec", spec.endpoint.as_ref().map(endpoint))
        .build()
}

/// What its tasks are.
pub fn task(spec: &TaskSpec) -> Value {
    let resources = spec.resources.clone().unwrap_or_default();
    let resources = Doc::default()
        .opt("Limits", resources.limits.as_ref().map(amounts))
        .opt("Reservations", resources.reservations.as_ref().map(amounts))
        .build();
    let networks = list(&spec.networks, |n| {
        Doc::default()
            .set("Target", n.target.as_str())
            .opt("Aliases", n.aliases.clone())
            .opt("DriverOpts", map(&n.driver_opts))
            .build()
    });
    let driver = spec.log_driver.as_ref();
    Doc::default()
        .opt("ContainerSpec", spec.container.as_ref().map(container))
        .set("Resources", resources)
        .opt("RestartPolicy", spec.restart.as_ref().map(restart))
        .opt("Placement", spec.placement.as_ref().map(placement))
        .opt("Networks", networks)
        .opt("LogDriver", driver.map(|d| json!({"Name": d.name, "Options": map(&d.options)})))
        .set("ForceUpdate", spec.force_update)
        .set("Runtime", "container")
        .build()
}

fn container(c: &ContainerSpec) -> Value {
    let dns = c.dns.as_ref().map(|d| {
        Doc::default()
            .opt("Nameservers", d.nameservers.clone())
            .opt("Search", d.search.clone())
            .opt("Options", d.options.clone())
            .build()
    });
    let ulimits = list(&c.ulimits, |u| json!({"Name": u.name, "Soft": u.soft, "Hard": u.hard}));
    let doc = Doc::default()
        .set("Image", c.image.as_str())
        .opt("Labels", map(&c.labels))
        .opt("Command", c.command.clone())
        .opt("Args", c.args.clone())
        .opt("Hostname", c.hostname.as_str())
        .opt("Env", c.env.clone())
        .opt("Dir", c.dir.as_str())
        .opt("User", c.user.as_str())
        .opt("Groups", c.groups.clone());
    let doc = match c.init {
        Some(init) => doc.set("Init", init),
        None => doc,
    };
    doc.opt("TTY", c.tty)
        .opt("OpenStdin", c.open_stdin)
        .opt("ReadOnly", c.read_only)
        .opt("StopSignal", c.stop_signal.as_str())
        .opt("StopGracePeriod", nanos(c.stop_grace_period.as_ref()))
        .opt("Mounts", list(&c.mounts, mounted))
        .opt(
            "Secrets",
            list(&c.secrets, |s| file("Secret", &s.secret_id, &s.secret_name, s.file.as_ref())),
        )
        .opt(
            "Configs",
            list(&c.configs, |s| file("Config", &s.config_id, &s.config_name, s.file.as_ref())),
        )
        .opt("Hosts", c.hosts.clone())
        .opt("DNSConfig", dns)
        .opt("Healthcheck", c.healthcheck.as_ref().map(health))
        .opt("Sysctls", map(&c.sysctls))
        .opt("CapabilityAdd", c.cap_add.clone())
        .opt("CapabilityDrop", c.cap_drop.clone())
        .opt("Ulimits", ulimits)
        .opt("OomScoreAdj", c.oom_score_adj)
        .build()
}

fn file(kind: &str, id: &str, name: &str, target: Option<&FileTarget>) -> Value {
    let target = target.cloned().unwrap_or_default();
    Doc::default()
        .set(
            "File",
            json!({"Name": target.name, "UID": target.uid, "GID": target.gid, "Mode": target.mode}),
        )
        .set(&format!("{kind}ID"), id)
        .set(&format!("{kind}Name"), name)
        .build()
}

fn health(h: &HealthConfig) -> Value {
    Doc::default()
        .opt("Test", h.test.clone())
        .opt("Interval", nanos(h.interval.as_ref()))
        .opt("Timeout", nanos(h.timeout.as_ref()))
        .opt("StartPeriod", nanos(h.start_period.as_ref()))
        .opt("StartInterval", nanos(h.start_interval.as_ref()))
        .opt("Retries", h.retries)
        .build()
}

fn mounted(m: &Mount) -> Value {
    let kind = match m.r#type() {
        mount::Type::Volume => "volume",
        mount::Type::Bind => "bind",
        mount::Type::Tmpfs => "tmpfs",
    };
    let bind = Doc::default()
        .opt("Propagation", m.bind_propagation.as_str())
        .opt("NonRecursive", m.bind_nonrecursive)
        .build();
    let driver = Doc::default()
        .opt("Name", m.volume_driver.as_str())
        .opt("Options", map(&m.volume_driver_opts))
        .build();
    let volume = Doc::default()
        .opt("NoCopy", m.volume_nocopy)
        .opt("Labels", map(&m.volume_labels))
        .opt("DriverConfig", driver)
        .build();
    let tmpfs =
        Doc::default().opt("SizeBytes", m.tmpfs_size_bytes).opt("Mode", m.tmpfs_mode).build();
    Doc::default()
        .set("Type", kind)
        .opt("Source", m.source.as_str())
        .set("Target", m.target.as_str())
        .opt("ReadOnly", m.read_only)
        .opt("BindOptions", bind)
        .opt("VolumeOptions", volume)
        .opt("TmpfsOptions", tmpfs)
        .build()
}

/// A countable resource.
pub fn generic(g: &GenericResource) -> Value {
    match g.names.is_empty() {
        true => json!({"DiscreteResourceSpec": {"Kind": g.kind, "Value": g.count}}),
        false => json!({"NamedResourceSpec": {"Kind": g.kind, "Values": g.names}}),
    }
}

fn amounts(r: &Resources) -> Value {
    Doc::default()
        .opt("NanoCPUs", r.nano_cpus)
        .opt("MemoryBytes", r.memory_bytes)
        .opt("Pids", r.pids)
        .opt("GenericResources", list(&r.generic, generic))
        .build()
}

/// `any`, `on-failure` or `none`.
pub fn condition(condition: RestartCondition) -> &'static str {
    match condition {
        RestartCondition::Any => "any",
        RestartCondition::OnFailure => "on-failure",
        RestartCondition::None => "none",
    }
}

fn restart(r: &RestartPolicy) -> Value {
    Doc::default()
        .set("Condition", condition(r.condition()))
        .opt("Delay", nanos(r.delay.as_ref()))
        .set("MaxAttempts", r.max_attempts)
        .opt("Window", nanos(r.window.as_ref()))
        .build()
}

fn placement(p: &Placement) -> Value {
    Doc::default()
        .opt("Constraints", p.constraints.clone())
        .opt(
            "Preferences",
            list(&p.preferences, |s| json!({"Spread": {"SpreadDescriptor": s.spread}})),
        )
        .opt("MaxReplicas", p.max_replicas)
        .opt(
            "Platforms",
            list(&p.platforms, |s| json!({"Architecture": s.architecture, "OS": s.os})),
        )
        .build()
}

/// `pause`, `continue` or `rollback`.
pub fn failure_action(action: FailureAction) -> &'static str {
    match action {
        FailureAction::FailurePause => "pause",
        FailureAction::FailureContinue => "continue",
        FailureAction::FailureRollback => "rollback",
    }
}

/// `stop-first` or `start-first`.
pub fn order(order: UpdateOrder) -> &'static str {
    match order {
        UpdateOrder::StopFirst => "stop-first",
        UpdateOrder::StartFirst => "start-first",
    }
}

fn rollout(u: &UpdateConfig) -> Value {
    Doc::default()
        .set("Parallelism", u.parallelism)
        .opt("Delay", nanos(u.delay.as_ref()))
        .set("FailureAction", failure_action(u.failure_action()))
        .opt("Monitor", nanos(u.monitor.as_ref()))
        .set("MaxFailureRatio", f64::from(u.max_failure_ratio))
        .set("Order", order(u.order()))
        .build()
}

/// `vip` or `dnsrr`.
pub fn endpoint_mode(mode: EndpointMode) -> &'static str {
    match mode {
        EndpointMode::Vip => "vip",
        EndpointMode::Dnsrr => "dnsrr",
    }
}

/// How it is reached.
pub fn endpoint(e: &EndpointSpec) -> Value {
    let policy = (e.lb_policy() != LbPolicy::RoundRobin).then(|| lb_policy(e.lb_policy()));
    Doc::default()
        .set("Mode", endpoint_mode(e.mode()))
        .opt("Ports", list(&e.ports, port))
        .opt("LBPolicy", policy)
        .opt("IdleTimeout", nanos(e.idle_timeout.as_ref()))
        .build()
}

/// Who gets the next connection.
pub fn lb_policy(policy: LbPolicy) -> &'static str {
    match policy {
        LbPolicy::RoundRobin => "round-robin",
        LbPolicy::Random => "random",
        LbPolicy::SourceHash => "source-hash",
    }
}

/// One published port.
pub fn port(p: &PortConfig) -> Value {
    Doc::default()
        .opt("Name", p.name.as_str())
        .set("Protocol", swarm_api::port::protocol_name(p.protocol()))
        .set("TargetPort", p.target)
        .opt("PublishedPort", p.published)
        .set("PublishMode", swarm_api::port::mode_name(p))
        .opt("HostIP", p.host_ip.as_str())
        .build()
}
