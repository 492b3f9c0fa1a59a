//! `swarmctl node update`.

use anyhow::{Result, bail};
use clap::Args;
use swarm_api::{NodeAvailability, NodeRole, NodeSpec};

use super::edit;
use crate::client::Client;
use crate::cluster::{Availability, Role};
use crate::{labels, output};

/// Flags of `node update`.
#[derive(Args, Debug, Default)]
pub struct UpdateFlags {
    /// What the node is to be
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// Whether the node takes tasks
    #[arg(long, value_enum)]
    availability: Option<Availability>,
    /// Add or change a label; repeatable
    #[arg(long, value_name = "KEY[=VALUE]")]
    label_add: Vec<String>,
    /// Remove a label; repeatable
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    /// Node
    #[arg(value_name = "NODE")]
    node: String,
}

impl UpdateFlags {
    /// Changes the node.
    pub async fn run(self, client: &Client) -> Result<()> {
        let nothing = self.role.is_none()
            && self.availability.is_none()
            && self.label_add.is_empty()
            && self.label_rm.is_empty();
        if nothing {
            bail!("nothing to update: give at least one flag (see 'swarmctl node update --help')");
        }
        edit(client, &self.node, |spec| self.change(spec)).await?;
        Ok(output::line(self.node)?)
    }

    fn change(&self, spec: &mut NodeSpec) -> Result<()> {
        if let Some(role) = self.role {
            spec.desired_role = NodeRole::from(role).into();
        }
        if let Some(availability) = self.availability {
            spec.availability = NodeAvailability::from(availability).into();
        }
        let own = &mut spec.annotations.get_or_insert_default().labels;
        for key in &self.label_rm {
            if own.remove(key).is_none() {
                bail!("key {key} doesn't exist in node's labels");
            }
        }
        own.extend(labels::parse(&self.label_add)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_added_and_removed() {
        let mut spec = NodeSpec::default();
        let add = UpdateFlags { label_add: vec!["disk=ssd".into()], ..UpdateFlags::default() };
        add.change(&mut spec).unwrap();
        assert_eq!(spec.annotations.as_ref().unwrap().labels["disk"], "ssd");
        let remove = UpdateFlags { label_rm: vec!["disk".into()], ..UpdateFlags::default() };
        remove.change(&mut spec).unwrap();
        let again = remove.change(&mut spec).unwrap_err().to_string();
        assert_eq!(again, "key disk doesn't exist in node's labels");
    }
}
