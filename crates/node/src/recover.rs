//! A cluster recovered on this node without a daemon: `swarmd recover`, which `swarmctl cluster
//! recover` runs, and making the only manager of the node that holds the last of the state
//! (`--force-new-cluster`). What was there is moved aside, never changed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use swarm_api::id;
use swarm_ca::{Kept, Nameplate};
use swarm_manager::recovery::{Heir, Salvage, restore};

use crate::address::{self, interfaces};
use crate::args::{Args, RecoverArgs};
use crate::place::Wish;
use crate::prompt;
use crate::state::{CLUSTER_FOLDER, Settings, StateDir};

pub mod force;
mod report;
mod source;

/// VXLAN's port, for a state that does not say.
const DATA_PATH_PORT: u16 = 4789;
/// Held by whoever uses a state folder.
const USE_FILE: &str = "daemon.lock";

/// A daemon that was just killed may have a child that holds the folder until it runs its program.
const LAST_HOLD: Duration = Duration::from_secs(3);
const HOLD_CHECK: Duration = Duration::from_millis(50);

/// Keeps every other daemon, and recovery, from `state_dir` as long as it is open. Blocking.
pub fn occupy(state_dir: &Path) -> Result<File> {
    fs::create_dir_all(state_dir)?;
    let path = state_dir.join(USE_FILE);
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    let deadline = Instant::now() + LAST_HOLD;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(HOLD_CHECK);
            }
            Err(fs::TryLockError::WouldBlock) => {
                bail!("a swarmd is running on {}: stop it first", state_dir.display())
            }
            Err(fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", path.display()));
            }
        }
    }
}

/// `swarmd recover`.
pub fn run(args: &Args, wanted: &RecoverArgs) -> Result<()> {
    let _use = occupy(&args.state_dir)?;
    let here = StateDir::new(&args.state_dir);
    let salvage = source::read(&here, wanted)?;
    let settings = settings(args, &salvage)?;
    let plate = plate_of(&here)?;
    let heir = heir(args, &salvage, plate.as_ref(), &settings)?;
    let now = SystemTime::now();
    let text = report::plan(&salvage, &heir, &here, wanted, now);
    io::stdout().write_all(text.as_bytes())?;
    if wanted.dry_run {
        return Ok(());
    }
    if !wanted.yes && !prompt::agreed("Recover the cluster on this node?")? {
        bail!("nothing was changed");
    }
    let kept = plate.filter(|plate| plate.node_id == heir.node_id);
    build(&here, &salvage, &heir, &settings, kept.is_some(), now)?;
    writeln!(io::stdout(), "\nRecovered. Start swarmd on this node: it is the only manager.")?;
    Ok(())
}

/// Opens a snapshot with the key that this node remembers, or with one that is given.
pub fn open_snapshot(here: &StateDir, file: &Path, key_file: Option<&Path>) -> Result<Salvage> {
    source::snapshot(here, file, key_file)
}

/// What a snapshot holds, in words or as JSON.
pub fn describe(salvage: &Salvage, file: &str, json: bool) -> String {
    match json {
        true => format!("{}\n", report::snapshot_json(salvage, file)),
        false => report::snapshot(salvage, file),
    }
}

/// What the certificate here says, if there is one.
fn plate_of(here: &StateDir) -> Result<Option<Nameplate>> {
    Ok(here.identity()?.map(|kept| match kept {
        Kept::Locked(plate) => plate,
        Kept::Open(identity) => Nameplate {
            node_id: identity.node_id.clone(),
            role: identity.role,
            cluster_id: identity.cluster_id.clone(),
        },
    }))
}

/// The node that it is already, so that its containers go on; else the one that the state belonged
/// to; else a new one.
fn heir(
    args: &Args,
    salvage: &Salvage,
    plate: Option<&Nameplate>,
    settings: &Settings,
) -> Result<Heir> {
    let own = plate.filter(|p| p.cluster_id == salvage.cluster_id()).map(|p| p.node_id.clone());
    let known = |id: &String| salvage.knows(id);
    let node_id = own.filter(known).or_else(|| salvage.node_id.clone().filter(known));
    let hostname = match &args.hostname {
        Some(name) => name.clone(),
        None => nix::unistd::gethostname()?.to_string_lossy().into_owned(),
    };
    let node_id = node_id.unwrap_or_else(id::random_id);
    Ok(Heir { node_id, hostname, addr: settings.advertise_addr.clone() })
}

fn settings(args: &Args, salvage: &Salvage) -> Result<Settings> {
    let interfaces = interfaces();
    let listen = address::parse(&args.listen_addr, &interfaces)?;
    let given = args.advertise_addr.as_deref();
    let given =
        given.context("--advertise-addr is needed: where the other nodes reach this one")?;
    let advertise = address::advertised(Some(given), listen, &interfaces)?;
    let data_path = match &args.data_path_addr {
        Some(text) => address::parse(text, &interfaces)?.ip(),
        None => advertise.ip(),
    };
    let port = u16::try_from(salvage.data_path_port()).ok().filter(|port| *port > 0);
    Ok(Settings {
        listen_addr: listen.to_string(),
        advertise_addr: advertise.to_string(),
        data_path_addr: data_path.to_string(),
        data_path_port: port.unwrap_or(DATA_PATH_PORT),
        managers: vec![advertise.to_string()],
        asked: Wish::of(args),
        flags: Wish::of(args),
    })
}

/// Writes the new folder beside the old one, then puts it in its place.
fn build(
    here: &StateDir,
    salvage: &Salvage,
    heir: &Heir,
    settings: &Settings,
    same_node: bool,
    now: SystemTime,
) -> Result<()> {
    let fresh = StateDir::at(beside(here.root(), "new"));
    // Of an attempt that was cut off.
    fresh.wipe()?;
    let data_keys = fresh.data_keys()?;
    let identity = restore(salvage, heir, &fresh.raft(), &data_keys, now)?;
    if same_node {
        // What runs here goes on.
        copy_tree(&here.agent(), &fresh.agent())?;
    }
    fresh.save_settings(settings)?;
    fresh.save_identity(&identity)?;
    if here.root().exists() {
        let aside = aside(here.root(), now)?;
        fs::rename(here.root(), &aside)?;
        writeln!(io::stdout(), "What was here is kept in {}.", aside.display())?;
    }
    fs::rename(fresh.root(), here.root())?;
    sync_parent(here.root())
}

fn beside(path: &Path, word: &str) -> PathBuf {
    path.with_file_name(format!("{CLUSTER_FOLDER}.{word}"))
}

/// A name beside `path` that nothing has yet.
fn aside(path: &Path, now: SystemTime) -> Result<PathBuf> {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let name = path.file_name().context("a folder with a name")?.to_string_lossy().into_owned();
    let path = path.with_file_name(format!("{name}.before-{seconds}"));
    ensure!(!path.exists(), "{} exists: try again", path.display());
    Ok(path)
}

fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().context("a folder within another")?;
    Ok(File::open(parent)?.sync_all()?)
}

/// Copies plain files and folders; nothing if `from` does not exist.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}
