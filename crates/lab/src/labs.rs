//! All labs of this machine: one folder each under one root. Called by `swarmctl lab` and tests.

use std::fs;
use std::path::{Path, PathBuf};

use crate::daemon;
use crate::error::LabError;
use crate::lab::Lab;
use crate::layout::Layout;
use crate::lock::{self, Held};
use crate::network;
use crate::progress::{Progress, Step};
use crate::record::{FILE, Record, check_name};
use crate::removal;
use crate::subnet;

/// The environment variable that names another folder for labs.
pub const ROOT_VARIABLE: &str = "SWARM_LAB_ROOT";

/// Where labs are kept otherwise.
const DEFAULT_ROOT: &str = "/var/lib/swarm-lab";

/// Locked while a lab chooses its addresses: they are the machine's, not the root's. A folder that
/// is always there, so the lock leaves no file behind.
const ADDRESS_LOCK: &str = "/run";

/// What a lab is to be.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// 1 to 32 lower-case letters, digits and dashes.
    pub name: String,
    /// Hosts `m1`, `m2`, … (at most 90).
    pub managers: u8,
    /// Hosts `w1`, `w2`, … (at most 153).
    pub workers: u8,
    /// Absolute path of the daemon every host runs.
    pub swarmd: PathBuf,
    /// Arguments of the daemon after those the lab gives.
    pub arguments: Vec<String>,
}

/// The folder of all labs.
#[derive(Debug, Clone)]
pub struct Labs {
    root: PathBuf,
}

impl Default for Labs {
    /// The folder named by [`ROOT_VARIABLE`], or `/var/lib/swarm-lab`.
    fn default() -> Self {
        let root = std::env::var_os(ROOT_VARIABLE).map_or(DEFAULT_ROOT.into(), PathBuf::from);
        Self { root }
    }
}

impl Labs {
    /// Labs in a folder of the caller's.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Makes a lab, or completes and grows the one of that name: afterwards every host is up and
    /// runs `swarmd`. Safe to repeat and to call from several processes at once. If it fails, what
    /// was made stays for the next attempt or [`Labs::remove`].
    pub fn create(&self, options: &LabOptions, progress: Progress<'_>) -> Result<Lab, LabError> {
        check_name(&options.name)?;
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        fs::create_dir_all(&self.root).map_err(LabError::on_path("create", &self.root))?;
        let layout = self.layout(&options.name)?;
        if layout.folder.starts_with("/run") || layout.folder.starts_with("/var/run") {
            return Err(LabError::Invalid(format!(
                "labs cannot be kept in {}: every host has a /run of its own",
                self.root.display()
            )));
        }
        let held = loop {
            // Another command may remove the folder between these two.
            fs::create_dir_all(&layout.folder)
                .map_err(LabError::on_path("create", &layout.folder))?;
            if let Some(held) = hold(&layout, &options.name, progress)? {
                break held;
            }
        };
        let lab = Lab::new(layout.clone(), self.record(&layout, options)?);
        lab.raise_held(progress)?;
        drop(held);
        Ok(lab)
    }

    /// The record of a new lab, or of an existing one with the hosts it lacks. Written before
    /// anything is made. The lab's lock must be held.
    fn record(&self, layout: &Layout, options: &LabOptions) -> Result<Record, LabError> {
        let exists = layout.folder.join(FILE).exists();
        let mut record = if exists {
            Record::load(&layout.folder)?
        } else {
            let any = std::net::Ipv4Addr::UNSPECIFIED.into();
            Record::new(&options.name, any, &options.swarmd, &options.arguments)
        };
        record.swarmd.clone_from(&options.swarmd);
        record.arguments.clone_from(&options.arguments);
        if exists {
            record.grow(options.managers, options.workers)?;
            daemon::check(&record, layout)?;
            record.save(&layout.folder)?;
            return Ok(record);
        }
        let refused = record.grow(options.managers, options.workers);
        if let Err(error) = refused.and_then(|()| daemon::check(&record, layout)) {
            // Nothing is made of a lab that cannot be; the folder holds nothing yet.
            let _ = fs::remove_dir(&layout.folder);
            return Err(error);
        }
        record.hosts.clear();
        let _held = lock::hold(Path::new(ADDRESS_LOCK), || ())?;
        record.subnet = self.free_subnet(layout)?;
        record.grow(options.managers, options.workers)?;
        record.save(&layout.folder)?;
        // While the address lock is held: from now on the machine's routes show the subnet.
        crate::lab::raise_network(layout, &record)?;
        Ok(record)
    }

    fn free_subnet(&self, layout: &Layout) -> Result<ipnet::Ipv4Net, LabError> {
        let mut taken = network::routes()?;
        // Labs that are down, after a reboot, want their addresses again.
        taken.extend(self.records()?.into_iter().map(|record| record.subnet));
        subnet::choose(layout.seed(), &taken).ok_or_else(|| {
            LabError::Invalid("every subnet of 198.18.0.0/15 is in use: take a lab down".into())
        })
    }

    /// An existing lab, in whatever state it is.
    pub fn open(&self, name: &str) -> Result<Lab, LabError> {
        check_name(name)?;
        let missing = || LabError::NoSuchLab(name.to_owned());
        let layout = self.layout(name).map_err(|_| missing())?;
        if !layout.folder.join(FILE).exists() {
            return Err(missing());
        }
        let record = Record::load(&layout.folder)?;
        Ok(Lab::new(layout, record))
    }

    /// Names of all labs, also of those that are half made.
    pub fn list(&self) -> Result<Vec<String>, LabError> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LabError::on_path("read", &self.root)(error)),
        };
        let folders = entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut names: Vec<String> = folders
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| check_name(name).is_ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Removes whatever there is of a lab: processes, links, namespaces, mounts, cgroups, files.
    /// Needs no readable record. Fails with [`LabError::NoSuchLab`] if there is nothing.
    pub fn remove(&self, name: &str, progress: Progress<'_>) -> Result<(), LabError> {
        check_name(name)?;
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        let missing = || LabError::NoSuchLab(name.to_owned());
        let layout = self.layout(name).map_err(|_| missing())?;
        let _held = hold(&layout, name, progress)?.ok_or_else(missing)?;
        removal::remove(&layout, name, progress)?;
        // The root goes with the last lab; any other lab keeps it.
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }

    fn records(&self) -> Result<Vec<Record>, LabError> {
        let names = self.list()?;
        // A lab without a readable record has no addresses to respect.
        Ok(names.iter().filter_map(|name| Record::load(&self.root.join(name)).ok()).collect())
    }

    fn layout(&self, name: &str) -> Result<Layout, LabError> {
        let root = self.root.canonicalize().map_err(LabError::on_path("find", &self.root))?;
        let default = root == Path::new(DEFAULT_ROOT);
        Ok(Layout::new(&root, name, default))
    }
}

/// The lock of one lab: its folder.
pub(crate) fn hold(
    layout: &Layout,
    name: &str,
    progress: Progress<'_>,
) -> Result<Option<Held>, LabError> {
    lock::hold(&layout.folder, || progress(Step::Waiting { lab: name.to_owned() }))
}
