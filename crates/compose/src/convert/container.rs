//! The container of a service's tasks.

use std::collections::BTreeSet;
use std::net::IpAddr;

use swarm_api::image::ImageRef;
use swarm_api::template::{self, Context};
use swarm_api::{ContainerSpec, DnsConfig, Ulimit};

use super::Converter;
use crate::node::Value;
use crate::problem::Problem;
use crate::stack::NAMESPACE_LABEL;
use crate::view::View;

impl<'a> Converter<'a> {
    /// The container, without what connects it.
    pub fn container(&mut self, service: &View<'a>) -> ContainerSpec {
        let mut labels = self.container_labels(service);
        labels.insert(NAMESPACE_LABEL.to_owned(), self.stack.to_owned());
        let (cap_add, cap_drop) = self.capabilities(service);
        let mut container = ContainerSpec {
            labels,
            env: self.environment(service),
            mounts: self.mounts(service),
            secrets: self.secret_references(service),
            configs: self.config_references(service),
            healthcheck: self.healthcheck(service),
            ulimits: self.ulimits(service),
            dns: self.dns(service),
            cap_add,
            cap_drop,
            ..ContainerSpec::default()
        };
        self.process(service, &mut container);
        container
    }

    /// What the process is and how it runs.
    fn process(&mut self, service: &View<'a>, container: &mut ContainerSpec) {
        let report = &mut *self.report;
        let mut text = |key| report.field(service, key, View::text).unwrap_or_default();
        container.dir = text("working_dir");
        container.user = text("user");
        container.stop_signal = text("stop_signal");
        let mut flag = |key| report.field(service, key, View::boolean);
        container.init = flag("init");
        container.read_only = flag("read_only").unwrap_or(false);
        container.image = report.field(service, "image", image).unwrap_or_default();
        container.hostname = report.field(service, "hostname", templated).unwrap_or_default();
        container.command = report.field(service, "entrypoint", words).unwrap_or_default();
        container.args = report.field(service, "command", words).unwrap_or_default();
        container.groups = report.field(service, "group_add", View::texts).unwrap_or_default();
        container.sysctls = report.field(service, "sysctls", View::pairs).unwrap_or_default();
        container.stop_grace_period = report.field(service, "stop_grace_period", View::duration);
        container.oom_score_adj =
            report.field(service, "oom_score_adj", View::number).unwrap_or_default();
        let hosts = report.list(service, "extra_hosts");
        container.hosts = hosts.iter().filter_map(|item| report.keep(host(item))).collect();
    }

    fn capabilities(&mut self, service: &View<'a>) -> (Vec<String>, Vec<String>) {
        let mut names = |key| self.report.field(service, key, View::texts).unwrap_or_default();
        effective_capabilities(&names("cap_add"), &names("cap_drop"))
    }

    fn dns(&mut self, service: &View<'a>) -> Option<DnsConfig> {
        let servers = self.report.list(service, "dns");
        let report = &mut *self.report;
        let dns = DnsConfig {
            nameservers: servers.iter().filter_map(|item| report.keep(address(item))).collect(),
            search: report.field(service, "dns_search", View::texts).unwrap_or_default(),
            options: report.field(service, "dns_opt", View::texts).unwrap_or_default(),
        };
        (dns != DnsConfig::default()).then_some(dns)
    }

    fn ulimits(&mut self, service: &View<'a>) -> Vec<Ulimit> {
        let entries = self.report.map(service, "ulimits");
        let limits = entries.iter().map(|(entry, view)| ulimit(&entry.key, view));
        let mut limits: Vec<Ulimit> = limits.filter_map(|limit| self.report.keep(limit)).collect();
        limits.sort_by(|a, b| a.name.cmp(&b.name));
        limits
    }
}

/// What adding and dropping come to: upper case with `CAP_`, sorted; `ALL` covers the others,
/// adding wins over dropping.
pub fn effective_capabilities(add: &[String], drop: &[String]) -> (Vec<String>, Vec<String>) {
    let normal = |names: &[String]| -> BTreeSet<String> {
        let names: BTreeSet<String> = names.iter().map(|name| capability(name)).collect();
        match names.contains("ALL") {
            true => ["ALL".to_owned()].into(),
            false => names,
        }
    };
    let (add, drop) = (normal(add), normal(drop));
    let drop = drop.difference(&add).cloned().collect();
    (add.into_iter().collect(), drop)
}

fn capability(name: &str) -> String {
    let name = name.trim().to_ascii_uppercase();
    match name == "ALL" || name == "RESET" || name.starts_with("CAP_") {
        true => name,
        false => format!("CAP_{name}"),
    }
}

fn image(view: &View<'_>) -> Result<String, Problem> {
    view.parsed(ImageRef::parse)?;
    view.text()
}

fn templated(view: &View<'_>) -> Result<String, Problem> {
    view.parsed(|text| template::expand(text, &Context::default()))?;
    view.text()
}

fn words(view: &View<'_>) -> Result<Vec<String>, Problem> {
    let words = view.texts()?;
    match words.is_empty() {
        true => Err(view.problem("what the image says cannot be cleared: remove the key")),
        false => Ok(words),
    }
}

fn address(view: &View<'_>) -> Result<String, Problem> {
    let text = view.str()?;
    match text.parse::<IpAddr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(view.problem(format!("invalid address \"{text}\""))),
    }
}

/// `name:address` or `name=address` as a line of a hosts file.
fn host(view: &View<'_>) -> Result<String, Problem> {
    let text = view.str()?;
    let wrong = |why: &str| view.problem(format!("invalid host \"{text}\": {why}"));
    let (name, address) = text.split_once(['=', ':']).ok_or_else(|| wrong("want name=address"))?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(address).trim();
    if address == "host-gateway" {
        return Err(wrong("host-gateway is not supported: want an address"));
    }
    match address.parse::<IpAddr>() {
        Ok(_) if !name.trim().is_empty() => Ok(format!("{address} {}", name.trim())),
        _ => Err(wrong("want name=address")),
    }
}

fn ulimit(name: &str, view: &View<'_>) -> Result<Ulimit, Problem> {
    let name = name.to_owned();
    if let Value::Scalar(_) = view.node.value {
        let both = view.number()?;
        return Ok(Ulimit { name, soft: both, hard: both });
    }
    view.entries()?;
    let limit = |key: &str| {
        let view = view.get(key).ok_or_else(|| view.problem("soft and hard are required"))?;
        view.number::<i64>()
    };
    Ok(Ulimit { name, soft: limit("soft")?, hard: limit("hard")? })
}
