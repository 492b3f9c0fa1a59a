//! `swarmctl cluster snapshot ls`.

use std::time::SystemTime;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use swarm_api::{ListSnapshotsRequest, SnapshotFile};

use crate::age::{ago, rfc3339};
use crate::client::{Client, local};
use crate::listing::{Column, ListFlags, Listing};

const COLUMNS: &[Column] =
    &[("SAVED", "SavedSince"), ("INDEX", "Index"), ("SIZE", "Size"), ("FILE", "File")];

/// Flags of `cluster snapshot ls`.
#[derive(Args, Debug)]
pub struct LsFlags {
    #[command(flatten)]
    list: ListFlags,
}

impl LsFlags {
    /// Lists this manager's snapshots, newest first.
    pub async fn run(self, client: &Client) -> Result<()> {
        let files = local(client.node().list_snapshots(ListSnapshotsRequest {}).await)?.snapshots;
        let now = SystemTime::now();
        let rows = files.iter().map(|file| row(file, now)).collect();
        Listing { columns: COLUMNS, rows, key: "File" }.print(&self.list)
    }
}

fn row(file: &SnapshotFile, now: SystemTime) -> Value {
    json!({
        "File": file.path,
        "Index": file.index,
        "SavedSince": ago(file.saved_at.as_ref(), now),
        "SavedAt": rfc3339(file.saved_at.as_ref()),
        "Size": swarm_api::size::format_decimal(file.bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_how_old_and_how_large_a_snapshot_is() {
        let file = SnapshotFile { path: "/x".into(), index: 7, bytes: 1500, saved_at: None };
        let row = row(&file, SystemTime::UNIX_EPOCH);
        assert_eq!((row["File"].as_str(), row["Size"].as_str()), (Some("/x"), Some("1.5kB")));
    }
}
