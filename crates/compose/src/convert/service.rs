//! Services: the spec around the container.

use std::sync::LazyLock;

use swarm_api::{
    Annotations, EndpointMode, EndpointSpec, LogDriver, PublishMode, ServiceSpec, TaskSpec, name,
};

use super::Converter;
use crate::node::{Entry, Node, Value};
use crate::problem::Position;
use crate::stack::{IMAGE_LABEL, NAMESPACE_LABEL, StackService};
use crate::view::View;

/// Stands for a section that a service lacks: nothing is read from it, and no problem found in it.
static NOTHING: LazyLock<Node> =
    LazyLock::new(|| Node::new(Value::Null, &Position { file: "".into(), line: 1, column: 1 }));

impl<'a> Converter<'a> {
    /// Sorted by key.
    pub fn services(&mut self) -> Vec<StackService> {
        let mut services: Vec<StackService> = Vec::new();
        for (entry, view) in self.report.map(&self.root.clone(), "services") {
            if self.report.keep(view.entries()).is_some() {
                services.push(self.service(entry, &view));
            }
        }
        services.sort_by(|a, b| a.key.cmp(&b.key));
        services
    }

    fn service(&mut self, entry: &'a Entry, view: &View<'a>) -> StackService {
        let full = super::scoped_name(self.stack, &entry.key, None);
        if let Err(error) = name::service(&full) {
            self.wrong(entry, view, error);
        }
        if view.get("image").is_none() {
            self.wrong(entry, view, "no image specified: name one with image");
        }
        let deploy = view.get("deploy").unwrap_or_else(|| view.child("deploy", &NOTHING));
        self.report.keep(deploy.entries());
        let task = self.task(entry, view, &deploy);
        let mut labels = self.report.field(&deploy, "labels", View::pairs).unwrap_or_default();
        let image = task.container.as_ref().map(|c| c.image.clone()).unwrap_or_default();
        labels.insert(IMAGE_LABEL.to_owned(), image);
        labels.insert(NAMESPACE_LABEL.to_owned(), self.stack.to_owned());
        let spec = ServiceSpec {
            annotations: Some(Annotations { name: full, labels }),
            task: Some(task),
            mode: Some(self.mode(view, &deploy)),
            update: self.update(&deploy, "update_config"),
            rollback: self.update(&deploy, "rollback_config"),
            endpoint: Some(self.endpoint(view, &deploy)),
        };
        StackService { key: entry.key.clone(), spec }
    }

    fn task(&mut self, entry: &'a Entry, view: &View<'a>, deploy: &View<'a>) -> TaskSpec {
        TaskSpec {
            container: Some(self.container(view)),
            resources: self.resources(deploy),
            restart: self.restart(view, deploy),
            placement: self.placement(view, deploy),
            log_driver: self.logging(view),
            networks: self.attachments(entry, view),
            force_update: 0,
        }
    }

    fn endpoint(&mut self, view: &View<'a>, deploy: &View<'a>) -> EndpointSpec {
        let mode = self.endpoint_mode(deploy);
        let ports = self.ports(view);
        let ingress = ports.iter().any(|port| port.mode() == PublishMode::Ingress);
        if mode == EndpointMode::Dnsrr && ingress {
            let message = "a port published with ingress mode can't be used with dnsrr mode: \
                           publish it with mode: host";
            self.report.problems.push(deploy.problem(message));
        }
        EndpointSpec { mode: mode.into(), ports, ..EndpointSpec::default() }
    }

    fn logging(&mut self, service: &View<'a>) -> Option<LogDriver> {
        let view = service.get("logging")?;
        self.report.keep(view.entries())?;
        Some(LogDriver {
            name: self.report.field(&view, "driver", View::text).unwrap_or_default(),
            options: self.report.field(&view, "options", View::pairs).unwrap_or_default(),
        })
    }
}
