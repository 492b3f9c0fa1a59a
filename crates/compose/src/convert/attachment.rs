//! What connects a service: its networks and its ports.

use swarm_api::{NetworkAttachmentConfig, PortConfig, name, port};

use super::Converter;
use super::network::DEFAULT;
use crate::node::Entry;
use crate::problem::Problem;
use crate::view::View;

impl<'a> Converter<'a> {
    /// Sorted by name; the default network where the file names none.
    pub fn attachments(
        &mut self,
        entry: &Entry,
        service: &View<'a>,
    ) -> Vec<NetworkAttachmentConfig> {
        let networks = self.report.map(service, "networks");
        let mut attachments = Vec::new();
        if networks.is_empty() {
            attachments.extend(self.attachment(entry, DEFAULT, service, None));
        }
        for (network, view) in networks {
            attachments.extend(self.attachment(entry, &network.key, &view, Some(&view)));
        }
        attachments.sort_by(|a, b| a.target.cmp(&b.target));
        attachments
    }

    fn attachment(
        &mut self,
        service: &Entry,
        key: &str,
        at: &View<'a>,
        options: Option<&View<'a>>,
    ) -> Option<NetworkAttachmentConfig> {
        let Some(target) = self.network_name(key) else {
            let message =
                format!("undefined network \"{key}\": declare it under networks at the top");
            self.report.problems.push(at.problem(message));
            return None;
        };
        self.used.insert(key.to_owned());
        let mut attachment = NetworkAttachmentConfig { target, ..Default::default() };
        if !name::is_node_network(&attachment.target) {
            attachment.aliases.push(service.key.clone());
        }
        if let Some(view) = options {
            self.report.keep(view.entries());
            let report = &mut *self.report;
            let aliases = report.field(view, "aliases", View::texts).unwrap_or_default();
            attachment.aliases.extend(aliases.into_iter().filter(|alias| *alias != service.key));
        }
        Some(attachment)
    }

    /// Sorted, so that their order in the file means nothing.
    pub fn ports(&mut self, service: &View<'a>) -> Vec<PortConfig> {
        let mut ports = Vec::new();
        for item in self.report.list(service, "ports") {
            ports.extend(self.report.keep(port(&item)));
        }
        ports.sort_by_key(|port| (port.target, port.published, port.protocol, port.mode));
        ports
    }
}

fn port(item: &View<'_>) -> Result<PortConfig, Problem> {
    item.entries()?;
    let mut fields = Vec::new();
    for key in ["target", "published", "protocol", "mode", "host_ip"] {
        let Some(view) = item.get(key) else { continue };
        let value = view.str()?;
        // The cluster chooses a port that is 0.
        if key == "published" && value == "0" {
            continue;
        }
        if value.contains(',') {
            return Err(view.problem(format!("invalid value \"{value}\"")));
        }
        fields.push(format!("{key}={value}"));
    }
    if item.get("target").is_none() {
        return Err(item.problem("target is required"));
    }
    let mut port = port::parse_long(&fields.join(",")).map_err(|error| item.problem(error))?;
    port.name = item.get("name").map(|name| name.text()).transpose()?.unwrap_or_default();
    Ok(port)
}
