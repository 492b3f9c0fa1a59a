//! `swarmctl service scale`.

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::{Service, service_spec};

use super::{edit, say_warnings};
use crate::client::Client;
use crate::failure::join;
use crate::output;
use crate::progress::{self, Goal, WaitOptions};

/// Flags of `service scale`.
#[derive(Args, Debug)]
pub struct ScaleFlags {
    /// Do not wait until the tasks run
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    detach: Option<bool>,
    /// Services and how many tasks each is to have
    #[arg(value_name = "SERVICE=N", required = true, value_parser = parse)]
    services: Vec<(String, u64)>,
}

fn parse(text: &str) -> std::result::Result<(String, u64), String> {
    let parsed = text.split_once('=').and_then(|(name, n)| Some((name, n.parse().ok()?)));
    match parsed {
        Some((name, replicas)) if !name.is_empty() => Ok((name.to_owned(), replicas)),
        _ => Err("use SERVICE=NUMBER".into()),
    }
}

impl ScaleFlags {
    /// Scales the services and waits for all of them.
    pub async fn run(self, client: &Client) -> Result<()> {
        let (mut goals, mut errors) = (Vec::new(), Vec::new());
        for (reference, replicas) in &self.services {
            match scale(client, reference, *replicas).await {
                Ok(service) => {
                    output::line(format_args!("{reference} scaled to {replicas}"))?;
                    goals.push(Goal::converge(&service.id, service.spec_name()));
                }
                Err(error) => errors.push(error.context(reference.clone())),
            }
        }
        if !self.detach.unwrap_or(false)
            && !goals.is_empty()
            && let Err(error) = progress::wait(client, goals, WaitOptions::default()).await
        {
            errors.push(error);
        }
        match errors.len() {
            // Keeps an exit code of its own.
            1 => errors.pop().map_or(Ok(()), Err),
            _ => join(errors),
        }
    }
}

async fn scale(client: &Client, reference: &str, replicas: u64) -> Result<Service> {
    let edited = edit(client, reference, |spec| match &mut spec.mode {
        Some(service_spec::Mode::Replicated(mode)) => {
            mode.replicas = replicas;
            Ok(())
        }
        _ => bail!("scale can only be used with replicated mode"),
    })
    .await?;
    say_warnings(&edited.warnings);
    Ok(edited.service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_a_name_and_a_number() {
        assert_eq!(parse("web=3"), Ok(("web".into(), 3)));
        for bad in ["web", "web=", "=3", "web=-1", "web=x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
