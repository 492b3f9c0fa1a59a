//! Debian's packages start the services they bring. Tests start their own, on ports of their own; so
//! while we install, the machine's policy is to start none, and none of ours is left to start at boot.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// Asked by Debian's maintainer scripts before they start anything; 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Tells our policy from another's, should we be killed before it is gone.
const MARK: &str = "# cargo xtask setup: starts nothing while it installs packages.";

/// The policy is in force as long as this lives.
pub struct Kept {
    ours: bool,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

/// A policy that the machine has already is left as it is.
pub fn keep_services_stopped() -> Result<Kept> {
    let path = Path::new(POLICY);
    if path.exists() && !fs::read_to_string(path).is_ok_and(|text| text.contains(MARK)) {
        return Ok(Kept { ours: false });
    }
    fs::write(path, text(std::process::id())).with_context(|| format!("write {POLICY}"))?;
    let kept = Kept { ours: true };
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, executable).with_context(|| format!("make {POLICY} executable"))?;
    Ok(kept)
}

/// Says no only while the process that wrote it lives.
fn text(pid: u32) -> String {
    format!("#!/bin/sh\n{MARK}\n[ -d /proc/{pid} ] && exit 101\nexit 0\n")
}

/// Takes newly installed services out of the boot; those that bring none are none the worse.
pub fn keep_services_stopped_at_boot(packages: &[&str]) {
    if !process::is_installed("systemctl") {
        return;
    }
    for package in packages {
        let unit = format!("{package}.service");
        let known = ["/lib/systemd/system", "/usr/lib/systemd/system"];
        if known.iter().any(|folder| Path::new(folder).join(&unit).exists()) {
            let disabled = process::succeeds(Command::new("systemctl").args(["disable", &unit]));
            let outcome = if disabled { "does not start at boot" } else { "may start at boot" };
            println!("setup: {unit} {outcome}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(pid: u32) -> Option<i32> {
        Command::new("sh").args(["-c", &text(pid)]).status().unwrap().code()
    }

    #[test]
    fn the_policy_ends_with_the_process_that_made_it() {
        assert_eq!(code(std::process::id()), Some(101));
        assert_eq!(code(u32::MAX), Some(0));
    }
}
