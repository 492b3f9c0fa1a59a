//! A service's health check.

use swarm_api::HealthConfig;

use super::Converter;
use crate::problem::Problem;
use crate::view::View;

impl<'a> Converter<'a> {
    pub fn healthcheck(&mut self, service: &View<'a>) -> Option<HealthConfig> {
        let view = service.get("healthcheck")?;
        self.report.keep(view.entries())?;
        let report = &mut *self.report;
        let test = report.field(&view, "test", test);
        let disable = report.field(&view, "disable", View::boolean).unwrap_or(false);
        let mut health = HealthConfig {
            test: test.unwrap_or_default(),
            interval: report.field(&view, "interval", View::duration),
            timeout: report.field(&view, "timeout", View::duration),
            start_period: report.field(&view, "start_period", View::duration),
            start_interval: report.field(&view, "start_interval", View::duration),
            retries: report.field(&view, "retries", View::number).unwrap_or_default(),
        };
        if disable {
            let none = health.test.is_empty() || health.test == ["NONE"];
            if !none {
                report
                    .problems
                    .push(view.problem("test and disable can't be set at the same time"));
            }
            health = HealthConfig { test: vec!["NONE".into()], ..HealthConfig::default() };
        }
        Some(health)
    }
}

fn test(view: &View<'_>) -> Result<Vec<String>, Problem> {
    let words = view.texts()?;
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] | ["NONE"] | ["CMD", _, ..] | ["CMD-SHELL", _] => Ok(words),
        _ => Err(view.problem(
            "want a text for the shell, or a list that is [NONE], [CMD, program, argument…] or \
             [CMD-SHELL, text]",
        )),
    }
}
