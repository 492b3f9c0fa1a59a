//! `swarmctl network prune`.

use std::time::SystemTime;

use anyhow::Result;
use clap::Args;
use swarm_api::object::Stored;
use swarm_api::time::to_nanos;
use swarm_api::{ListNetworksRequest, Network, RemoveNetworkRequest};

use super::users;
use crate::age::parse_since;
use crate::client::{Client, ask};
use crate::failure::join;
use crate::filter::FilterSet;
use crate::order::natural;
use crate::{input, output};

/// Flags of `network prune`.
#[derive(Args, Debug)]
pub struct PruneFlags {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only networks with KEY=VALUE: until, label, label!
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

impl PruneFlags {
    /// Removes the networks that nobody uses.
    pub async fn run(self, client: &Client) -> Result<()> {
        let filters = FilterSet::parse(&self.filter, &["until", "label", "label!"])?;
        let until = match filters.values("until").first() {
            Some(text) => Some(to_nanos(&parse_since(text, SystemTime::now())?)),
            None => None,
        };
        let question = "WARNING! This will remove all networks not used by at least one service";
        if !self.force && !input::confirmed(question).await? {
            return Ok(());
        }
        let mut networks = ask!(client, list_networks, ListNetworksRequest::default())?.networks;
        let used = users::used(client).await?;
        networks.retain(|n| !used.contains(&n.id) && goes(n, &filters, until));
        networks.sort_by(|a, b| natural(a.name(), b.name()));
        let (mut removed, mut errors) = (Vec::new(), Vec::new());
        for network in networks {
            let request = RemoveNetworkRequest { network: network.id.clone() };
            match ask!(client, remove_network, request) {
                Ok(_) => removed.push(network.name().to_owned()),
                Err(error) => errors.push(error),
            }
        }
        if !removed.is_empty() {
            output::line(format_args!("Deleted Networks:\n{}", removed.join("\n")))?;
        }
        join(errors)
    }
}

fn goes(network: &Network, filters: &FilterSet, until: Option<i64>) -> bool {
    let made = network.meta.as_ref().and_then(|m| m.created_at.as_ref()).map(to_nanos);
    let ingress = network.spec.as_ref().is_some_and(|s| s.ingress);
    let kept =
        !filters.values("label!").is_empty() && filters.labels_match("label!", network.labels());
    let old = until.is_none_or(|until| made.is_some_and(|made| made < until));
    !ingress && !kept && old && filters.labels_match("label", network.labels())
}

#[cfg(test)]
mod tests {
    use swarm_api::{Annotations, Meta, NetworkSpec};

    use super::*;

    fn network(label: &str, ingress: bool) -> Network {
        let labels = [(label.to_owned(), "1".to_owned())].into();
        let annotations = Some(Annotations { name: "n".into(), labels });
        let spec = NetworkSpec { annotations, ingress, ..NetworkSpec::default() };
        let created_at = Some(swarm_api::time::from_nanos(1000));
        let meta = Some(Meta { created_at, ..Meta::default() });
        Network { spec: Some(spec), meta, ..Network::default() }
    }

    #[test]
    fn the_ingress_network_and_what_is_filtered_stay() {
        let filters = |flags: &[&str]| {
            let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
            FilterSet::parse(&flags, &["label", "label!"]).unwrap()
        };
        assert!(goes(&network("a", false), &filters(&[]), None));
        assert!(!goes(&network("a", true), &filters(&[]), None));
        assert!(!goes(&network("a", false), &filters(&["label!=a"]), None));
        assert!(goes(&network("a", false), &filters(&["label!=b", "label=a=1"]), None));
        assert!(!goes(&network("a", false), &filters(&["label=b"]), None));
        assert!(!goes(&network("a", false), &filters(&[]), Some(1000)));
        assert!(goes(&network("a", false), &filters(&[]), Some(1001)));
    }
}
