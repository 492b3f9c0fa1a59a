//! `swarmctl ca`: shows the cluster's root, or replaces it.

mod progress;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use swarm_api::{ListNodesRequest, RotateRootCaRequest};

use super::join_token::cluster;
use super::update;
use crate::client::{Client, ask};
use crate::failure::{interrupted, refuse};
use crate::output;
use progress::{Progress, Screen};

/// Between two looks: far below what a rotation takes.
const LOOK: Duration = Duration::from_millis(250);
/// A certificate and a key are far smaller; anything else is a mistaken name.
const FILE_MAX: u64 = 1 << 20;

/// Flags of `ca`.
#[derive(Args)]
pub struct CaFlags {
    /// Replace the cluster's root; nodes renew their certificates while everything runs
    #[arg(long)]
    rotate: bool,
    /// Certificate of the new root, PEM (default: a new one is made)
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// Key of the new root, PEM
    #[arg(long, value_name = "FILE")]
    ca_key: Option<PathBuf>,
    /// How long a node's certificate lasts from now on
    #[arg(long, value_name = "DURATION", value_parser = swarm_api::duration::parse)]
    cert_expiry: Option<Duration>,
    #[arg(long, hide = true)]
    external_ca: Vec<String>,
    /// Do not wait until all nodes have taken the new root
    #[arg(short, long)]
    detach: bool,
    /// Wait, and show nothing
    #[arg(short, long)]
    quiet: bool,
}

impl std::fmt::Debug for CaFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaFlags").field("rotate", &self.rotate).finish_non_exhaustive()
    }
}

impl CaFlags {
    /// Shows the root, or replaces it and waits until that is done.
    pub async fn run(self, client: &Client) -> Result<()> {
        self.check()?;
        if !self.rotate {
            return show(client).await;
        }
        let request = self.request()?;
        if let Some(expiry) = self.cert_expiry {
            update::SpecFlags::of_expiry(expiry).apply(client).await?;
        }
        let version = cluster(client).await?.meta.and_then(|m| m.version);
        let request = RotateRootCaRequest { version, ..request };
        ask!(client, rotate_root_ca, request)?;
        if self.detach {
            return Ok(());
        }
        tokio::select! {
            done = follow(client, self.quiet) => done?,
            _ = tokio::signal::ctrl_c() => {
                output::note("Operation continuing in background.");
                return Err(interrupted());
            }
        }
        if self.quiet { Ok(()) } else { show(client).await }
    }

    fn check(&self) -> Result<()> {
        let given = [
            ("ca-cert", self.ca_cert.is_some()),
            ("ca-key", self.ca_key.is_some()),
            ("cert-expiry", self.cert_expiry.is_some()),
            ("external-ca", !self.external_ca.is_empty()),
            ("detach", self.detach),
            ("quiet", self.quiet),
        ];
        if !self.rotate
            && let Some((flag, _)) = given.iter().find(|(_, given)| *given)
        {
            bail!("`--{flag}` flag requires the `--rotate` flag to update the CA");
        }
        refuse("--external-ca", !self.external_ca.is_empty())?;
        if let Some(expiry) = self.cert_expiry {
            update::check_expiry(expiry)?;
        }
        match (&self.ca_cert, &self.ca_key) {
            (Some(_), None) => {
                bail!("the --ca-cert flag requires that a --ca-key flag be provided as well")
            }
            (None, Some(_)) => {
                bail!("the --ca-key flag requires that a --ca-cert flag be provided as well")
            }
            _ => Ok(()),
        }
    }

    fn request(&self) -> Result<RotateRootCaRequest> {
        let (Some(certificate), Some(key)) = (&self.ca_cert, &self.ca_key) else {
            return Ok(RotateRootCaRequest::default());
        };
        Ok(RotateRootCaRequest {
            certificate_pem: read("--ca-cert", certificate)?,
            key_pem: read("--ca-key", key)?,
            ..RotateRootCaRequest::default()
        })
    }
}

/// A file that must hold something.
fn read(flag: &str, path: &Path) -> Result<String> {
    let name = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("{flag} {name}"))?.len();
    if size > FILE_MAX {
        bail!("{flag} {name}: {size} bytes are too many, want at most {FILE_MAX}");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{flag} {name}"))?;
    if text.trim().is_empty() {
        bail!("{flag} {name}: the file is empty");
    }
    Ok(text)
}

async fn show(client: &Client) -> Result<()> {
    let root = cluster(client).await?.root_ca.context("the manager sent no root")?;
    Ok(output::line(root.certificate_pem.trim_end())?)
}

/// Shows how far the nodes are until all of them have taken the new root.
async fn follow(client: &Client, quiet: bool) -> Result<()> {
    let mut screen = Screen::new(quiet);
    loop {
        let cluster = cluster(client).await?;
        let nodes = ask!(client, list_nodes, ListNodesRequest::default())?.nodes;
        let root = cluster.root_ca.context("the manager sent no root")?;
        let progress = Progress::of(&root, &nodes);
        screen.show(&progress)?;
        if progress.is_done() {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> CaFlags {
        CaFlags {
            rotate: true,
            ca_cert: None,
            ca_key: None,
            cert_expiry: None,
            external_ca: Vec::new(),
            detach: false,
            quiet: false,
        }
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused_in_the_words_of_the_incumbent() {
        let file = || Some(PathBuf::from("x"));
        let said = |flags: CaFlags| flags.check().unwrap_err().to_string();
        assert_eq!(
            said(CaFlags { rotate: false, ca_cert: file(), ..flags() }),
            "`--ca-cert` flag requires the `--rotate` flag to update the CA"
        );
        assert!(said(CaFlags { ca_cert: file(), ..flags() }).contains("requires that a --ca-key"));
        assert!(said(CaFlags { ca_key: file(), ..flags() }).contains("requires that a --ca-cert"));
        assert_eq!(
            said(CaFlags { external_ca: vec!["x".into()], ..flags() }),
            "--external-ca is not supported yet"
        );
        let short = Some(Duration::from_secs(60));
        assert!(said(CaFlags { cert_expiry: short, ..flags() }).contains("1h0m0s"));
        assert!(flags().check().is_ok());
    }

    #[test]
    fn a_file_that_is_missing_or_empty_is_named() {
        let missing = read("--ca-key", Path::new("/nonexistent/key")).unwrap_err();
        assert!(format!("{missing:#}").starts_with("--ca-key /nonexistent/key: "), "{missing:#}");
        let empty = read("--ca-cert", Path::new("/dev/null")).unwrap_err().to_string();
        assert_eq!(empty, "--ca-cert /dev/null: the file is empty");
    }
}
