//! `swarmctl lab ls`.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use swarm_lab::{HostState, HostStatus, Labs, Role};

use super::blocking;
use crate::listing::{Column, ListFlags, Listing};
use crate::output;

const COLUMNS: &[Column] = &[
    ("LAB", "Lab"),
    ("NODE", "Node"),
    ("ROLE", "Role"),
    ("ADDRESS", "Address"),
    ("SWARMD", "State"),
    ("NETWORK", "Network"),
];

/// Flags of `lab ls`.
#[derive(Args, Debug)]
pub struct LsFlags {
    /// Only the lab of this name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    list: ListFlags,
}

impl LsFlags {
    /// Lists the hosts of all labs, or of one.
    pub async fn run(self) -> Result<()> {
        let one = self.name;
        let rows = blocking(move || {
            let labs = Labs::default();
            let names = match one {
                Some(name) => vec![name],
                None => labs.list()?,
            };
            let several = names.len() > 1;
            let mut rows = Vec::new();
            for name in names {
                match labs.open(&name).and_then(|lab| lab.status()) {
                    Ok(hosts) => rows.extend(hosts.iter().map(|host| row(&name, host))),
                    // One broken lab does not hide the others.
                    Err(error) if several => output::note(format_args!("{name}: {error}")),
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(rows)
        })
        .await?;
        Listing { columns: COLUMNS, rows, key: "Node" }.print(&self.list)
    }
}

fn row(lab: &str, status: &HostStatus) -> Value {
    let state = match status.state {
        HostState::Running(pid) => format!("running (pid {pid})"),
        HostState::Stopped => "stopped".to_owned(),
        HostState::Down => "host is down".to_owned(),
    };
    let role = match status.host.role {
        Role::Manager => "manager",
        Role::Worker => "worker",
    };
    json!({
        "Lab": lab,
        "Node": status.host.name,
        "Role": role,
        "Address": status.host.address.to_string(),
        "State": state,
        "Network": if status.cut { "cut" } else { "connected" },
    })
}
