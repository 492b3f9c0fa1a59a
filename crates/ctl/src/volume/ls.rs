//! `swarmctl volume ls`.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use swarm_api::ListVolumesRequest;

use crate::client::{Client, local};
use crate::filter::FilterSet;
use crate::labels;
use crate::listing::{Column, ListFlags, Listing};
use crate::order::natural;

const COLUMNS: &[Column] = &[("DRIVER", "Driver"), ("VOLUME NAME", "Name")];

/// Flags of `volume ls`.
#[derive(Args, Debug)]
pub struct LsFlags {
    /// Only volumes with KEY=VALUE: name, driver, label
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    list: ListFlags,
}

impl LsFlags {
    /// Lists the node's volumes.
    pub async fn run(self, client: &Client) -> Result<()> {
        let filters = FilterSet::parse(&self.filter, &["name", "driver", "label"])?;
        let answer = local(client.volumes().list_volumes(ListVolumesRequest {}).await)?;
        let mut volumes = answer.volumes;
        volumes.retain(|v| {
            filters.allows("name", |name| v.name.contains(name))
                && filters.allows("driver", |driver| v.driver == driver)
                && filters.labels_match("label", Some(&v.labels))
        });
        volumes.sort_by(|a, b| natural(&a.name, &b.name));
        let row = |v: &swarm_api::Volume| {
            json!({
                "Driver": v.driver,
                "Name": v.name,
                "Labels": labels::joined(Some(&v.labels)),
                "Mountpoint": v.mountpoint,
                "Scope": "local",
            })
        };
        let rows = volumes.iter().map(row).collect();
        Listing { columns: COLUMNS, rows, key: "Name" }.print(&self.list)
    }
}
