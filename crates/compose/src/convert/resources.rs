//! `deploy.resources`.

use swarm_api::{GenericResource, ResourceRequirements, Resources, resource};

use super::Converter;
use crate::problem::Problem;
use crate::view::View;

impl<'a> Converter<'a> {
    pub fn resources(&mut self, deploy: &View<'a>) -> Option<ResourceRequirements> {
        let view = deploy.get("resources")?;
        self.report.keep(view.entries())?;
        let limits = self.amounts(&view, "limits");
        let mut reservations = self.amounts(&view, "reservations");
        if let (Some(amounts), Some(view)) = (&mut reservations, view.get("reservations")) {
            amounts.generic = self.generic(&view);
        }
        Some(ResourceRequirements { limits, reservations })
    }

    fn amounts(&mut self, resources: &View<'a>, key: &str) -> Option<Resources> {
        let view = resources.get(key)?;
        self.report.keep(view.entries())?;
        let report = &mut *self.report;
        Some(Resources {
            nano_cpus: report
                .field(&view, "cpus", |v| v.parsed(resource::parse_cpus))
                .unwrap_or_default(),
            memory_bytes: report.field(&view, "memory", View::size).unwrap_or_default(),
            pids: report.field(&view, "pids", View::number).unwrap_or_default(),
            generic: Vec::new(),
        })
    }

    fn generic(&mut self, reservations: &View<'a>) -> Vec<GenericResource> {
        let items = self.report.list(reservations, "generic_resources");
        items.iter().filter_map(|item| self.report.keep(discrete(item))).collect()
    }
}

fn discrete(item: &View<'_>) -> Result<GenericResource, Problem> {
    let wanted = || item.problem("discrete_resource_spec with kind and value is required");
    let spec = item.get("discrete_resource_spec").ok_or_else(wanted)?;
    let kind = spec.get("kind").ok_or_else(wanted)?;
    let value = spec.get("value").ok_or_else(wanted)?;
    let text = format!("{}={}", kind.str()?, value.str()?);
    resource::parse_generic(&text).map_err(|error| spec.problem(error))
}
