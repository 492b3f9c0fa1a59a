//! `swarmctl lab cut`, `heal` and `partition`.

use anyhow::Result;
use clap::Args;

use super::NameFlag;

/// Flags of `lab cut`.
#[derive(Args, Debug)]
pub struct CutFlags {
    #[command(flatten)]
    lab: NameFlag,
    /// Hosts
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

impl CutFlags {
    /// Pulls the cables.
    pub async fn run(self) -> Result<()> {
        let nodes = self.nodes;
        self.lab.with(move |lab| Ok(nodes.iter().try_for_each(|node| lab.cut(node))?)).await
    }
}

/// Flags of `lab heal`.
#[derive(Args, Debug)]
pub struct HealFlags {
    #[command(flatten)]
    lab: NameFlag,
    /// Hosts; all, and the end of a partition, if none is given
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

impl HealFlags {
    /// Puts the cables back.
    pub async fn run(self) -> Result<()> {
        let nodes = self.nodes;
        self.lab
            .with(move |lab| match nodes.is_empty() {
                true => Ok(lab.heal_all()?),
                false => Ok(nodes.iter().try_for_each(|node| lab.heal(node))?),
            })
            .await
    }
}

/// Flags of `lab partition`.
#[derive(Args, Debug)]
pub struct PartitionFlags {
    #[command(flatten)]
    lab: NameFlag,
    /// Hosts of one group, as m1,m2; hosts in no group form a further one
    #[arg(value_name = "NODE,NODE", required = true)]
    groups: Vec<String>,
}

impl PartitionFlags {
    /// Splits the network.
    pub async fn run(self) -> Result<()> {
        let groups: Vec<Vec<String>> = self.groups.iter().map(|group| names(group)).collect();
        self.lab.with(move |lab| Ok(lab.partition(&groups)?)).await
    }
}

fn names(group: &str) -> Vec<String> {
    group.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_list_of_hosts() {
        assert_eq!(names("m1, m2,"), ["m1", "m2"]);
    }
}
