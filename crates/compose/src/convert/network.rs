//! Networks, and the volumes' own section.

use swarm_api::{Annotations, IpamConfig, NetworkSpec, name};

use super::Converter;
use crate::node::Entry;
use crate::stack::StackNetwork;
use crate::view::View;

/// The network of services that name none.
pub const DEFAULT: &str = "default";

impl<'a> Converter<'a> {
    /// Those that services use, sorted by key. Call it after `services`.
    pub fn networks(&mut self) -> Vec<StackNetwork> {
        let mut networks = Vec::new();
        for (entry, view) in self.report.map(&self.root.clone(), "networks") {
            let network = self.network(entry, &view);
            if self.used.remove(&entry.key) {
                networks.push(network);
            }
        }
        if self.used.remove(DEFAULT) {
            networks.push(self.default_network());
        }
        networks.sort_by(|a, b| a.key.cmp(&b.key));
        networks
    }

    /// The name of the network `key`, if the file declares it.
    pub fn network_name(&mut self, key: &str) -> Option<String> {
        let Some(view) = self.top("networks", key) else {
            return (key == DEFAULT).then(|| super::scoped_name(self.stack, key, None));
        };
        // Its problems are noted once, by `networks`.
        let own = view.get("name").and_then(|name| name.text().ok());
        let external = view.get("external").is_some_and(|external| external.boolean() == Ok(true));
        match external {
            true => Some(own.unwrap_or_else(|| key.to_owned())),
            false => Some(super::scoped_name(self.stack, key, own.as_deref())),
        }
    }

    fn network(&mut self, entry: &'a Entry, view: &View<'a>) -> StackNetwork {
        let exclusive =
            ["driver", "driver_opts", "ipam", "internal", "attachable", "enable_ipv6", "labels"];
        let named = self.named(entry, view, &exclusive);
        self.check_name(entry, view, &named, name::local);
        if !named.external && name::is_node_network(&named.name) {
            let name = &named.name;
            let message = format!("the network \"{name}\" exists already: say external: true");
            self.wrong(entry, view, message);
        }
        let report = &mut *self.report;
        let driver = report.field(view, "driver", |v| v.choice(&[("overlay", "overlay")]));
        let spec = NetworkSpec {
            annotations: Some(named.annotations()),
            driver: driver.unwrap_or("overlay").to_owned(),
            driver_opts: report.field(view, "driver_opts", View::pairs).unwrap_or_default(),
            internal: report.field(view, "internal", View::boolean).unwrap_or(false),
            attachable: report.field(view, "attachable", View::boolean).unwrap_or(false),
            ingress: false,
            ipv6: report.field(view, "enable_ipv6", View::boolean).unwrap_or(false),
            ipam: self.ipam(view),
        };
        let spec = match named.external {
            true => {
                NetworkSpec { annotations: Some(named.annotations()), ..NetworkSpec::default() }
            }
            false => spec,
        };
        StackNetwork { key: entry.key.clone(), name: named.name, external: named.external, spec }
    }

    fn ipam(&mut self, network: &View<'a>) -> Vec<IpamConfig> {
        let Some(view) = network.get("ipam") else { return Vec::new() };
        self.report.keep(view.entries());
        self.report.field(&view, "driver", |v| v.choice(&[("default", ())]));
        let mut configs = Vec::new();
        for item in self.report.list(&view, "config") {
            self.report.keep(item.entries());
            let mut text = |key| self.report.field(&item, key, View::text).unwrap_or_default();
            configs.push(IpamConfig {
                subnet: text("subnet"),
                ip_range: text("ip_range"),
                gateway: text("gateway"),
                reserved: self
                    .report
                    .field(&item, "aux_addresses", View::pairs)
                    .unwrap_or_default(),
            });
        }
        configs
    }

    fn default_network(&self) -> StackNetwork {
        let labels = [(crate::NAMESPACE_LABEL.to_owned(), self.stack.to_owned())].into();
        let name = super::scoped_name(self.stack, DEFAULT, None);
        let spec = NetworkSpec {
            annotations: Some(Annotations { name: name.clone(), labels }),
            driver: "overlay".into(),
            ..NetworkSpec::default()
        };
        StackNetwork { key: DEFAULT.into(), name, external: false, spec }
    }

    /// Checks the volumes' section; a volume itself is made by the node that first mounts it.
    pub fn volumes(&mut self) {
        for (entry, view) in self.report.map(&self.root.clone(), "volumes") {
            let named = self.named(entry, &view, &["driver", "labels"]);
            self.check_name(entry, &view, &named, name::local);
            self.report.field(&view, "driver", |v| v.choice(&[("local", ())]));
        }
    }
}
