//! `swarmctl cluster recover`: runs the daemon's own program, for no daemon and no manager is needed.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Error, Result, anyhow};
use clap::Args;

/// The daemon's program beside this one.
const DAEMON: &str = "swarmd";

/// Flags of `cluster recover`.
#[derive(Args, Debug)]
pub struct RecoverFlags {
    /// A snapshot, or the state folder of a manager that does not run
    #[arg(long, value_name = "FILE|STATE_DIR")]
    from: PathBuf,
    /// Where the other nodes reach this one, as IP|INTERFACE[:PORT]
    #[arg(long, value_name = "ADDR")]
    advertise_addr: String,
    /// Address to listen on, as IP[:PORT] (0.0.0.0:2377)
    #[arg(long, value_name = "ADDR")]
    listen_addr: Option<String>,
    /// Address for traffic between containers (that of --advertise-addr)
    #[arg(long, value_name = "ADDR")]
    data_path_addr: Option<String>,
    /// Folder of this node's daemon, which must not run
    #[arg(long, value_name = "DIR", default_value = "/var/lib/swarmd")]
    state_dir: PathBuf,
    /// File with the recovery key or the unlock key; asked for when needed
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Name of this node (the kernel's)
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Only show what would be recovered, and what is known to be lost
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl RecoverFlags {
    /// Becomes the daemon's program.
    pub fn run(self) -> Result<()> {
        let mut words = vec![
            ("--state-dir", self.state_dir.into_os_string()),
            ("--advertise-addr", self.advertise_addr.into()),
        ];
        let optional = [
            ("--listen-addr", self.listen_addr),
            ("--data-path-addr", self.data_path_addr),
            ("--hostname", self.hostname),
        ];
        words.extend(optional.into_iter().filter_map(|(flag, v)| Some((flag, v?.into()))));
        let mut line: Vec<OsString> =
            words.into_iter().flat_map(|(flag, value)| [flag.into(), value]).collect();
        line.extend(["recover".into(), "--from".into(), self.from.into_os_string()]);
        if let Some(file) = self.key_file {
            line.extend(["--key-file".into(), file.into_os_string()]);
        }
        let given = [("--dry-run", self.dry_run), ("--yes", self.yes)];
        line.extend(given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag.into()));
        Err(become_daemon(&line))
    }
}

/// Runs the daemon's program in place of this one; returns only with the reason why it does not.
pub fn become_daemon(arguments: &[OsString]) -> Error {
    let beside = std::env::current_exe().map(|own| own.with_file_name(DAEMON));
    let program = match beside {
        Ok(path) if path.exists() => path,
        _ => PathBuf::from(DAEMON),
    };
    let error = Command::new(&program).args(arguments).exec();
    anyhow!("cannot run {}: {error}", program.display())
}
