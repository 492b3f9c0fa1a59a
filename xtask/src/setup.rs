//! `cargo xtask setup`: installs through apt what this machine lacks, and nothing else. Called by people
//! and by the verbs that need it. Where all is there it changes nothing and needs no root.
//!
//! - [`apt`]: the package manager.
//! - [`policy`]: keeps packages from starting services.

mod apt;
mod policy;

use anyhow::{Context, Result, bail};

use crate::process;

/// How to see that a package is not needed: it may have come another way than by apt.
#[derive(Debug, Clone, Copy)]
enum Sign {
    Program(&'static str),
    /// As pkg-config names it.
    Library(&'static str),
    File(&'static str),
}

/// Something that must be there.
#[derive(Debug, Clone, Copy)]
struct Need {
    package: &'static str,
    sign: Sign,
    reason: &'static str,
}

const fn need(package: &'static str, sign: Sign, reason: &'static str) -> Need {
    Need { package, sign, reason }
}

/// Protocol files are compiled by a Rust crate, and aws-lc builds without cmake.
const NEEDS: &[Need] = &[
    need("gcc", Sign::Program("cc"), "build: links, and compiles the C of aws-lc and zstd"),
    need("libc6-dev", Sign::File("/usr/include/stdlib.h"), "build: the same"),
    need("pkg-config", Sign::Program("pkg-config"), "build: finds libseccomp"),
    need("libseccomp-dev", Sign::Library("libseccomp"), "build: system call filters"),
    need("git", Sign::Program("git"), "tidy: lists the files of the repository"),
    need("iproute2", Sign::Program("ip"), "lab: links and namespaces"),
    need("nftables", Sign::Program("nft"), "lab: cuts and partitions; tests look at rules"),
    need("util-linux", Sign::Program("nsenter"), "lab: enters namespaces"),
    need("procps", Sign::Program("ps"), "tests: look at processes"),
    need("busybox-static", Sign::File("/bin/busybox"), "demo and tests: the smallest image"),
    need(
        "docker-registry",
        Sign::Program("docker-registry"),
        "tests: a real registry to pull from",
    ),
];

/// Installs what is missing; says what and why.
pub fn run() -> Result<()> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !is_there(need.sign)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("setup: this machine lacks");
    for need in &missing {
        println!("  {:16} {}", need.package, need.reason);
    }
    install(&missing.iter().map(|need| need.package).collect::<Vec<_>>())?;
    let still: Vec<&str> =
        missing.iter().filter(|need| !is_there(need.sign)).map(|need| need.package).collect();
    if !still.is_empty() {
        bail!("installed {}, but what they should bring is not there", still.join(", "));
    }
    Ok(())
}

/// Installs these packages without starting what they bring.
pub fn install(packages: &[&str]) -> Result<()> {
    if !process::is_installed("apt-get") {
        bail!("there is no apt-get: install by hand what matches {}", packages.join(", "));
    }
    if !is_root()? {
        bail!("installing needs root: run  apt-get install {}", packages.join(" "));
    }
    let _kept = policy::keep_services_stopped()?;
    apt::install(packages)?;
    policy::keep_services_stopped_at_boot(packages);
    Ok(())
}

/// Whether this process may do what root may.
pub fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = std::fs::metadata("/proc/self").context("look at /proc/self")?;
    Ok(ours.uid() == 0)
}

fn is_there(sign: Sign) -> bool {
    match sign {
        Sign::Program(name) => process::is_installed(name),
        Sign::Library(name) => {
            process::succeeds(std::process::Command::new("pkg-config").args(["--exists", name]))
        }
        Sign::File(path) => std::path::Path::new(path).exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_without_the_package_manager() {
        assert!(is_there(Sign::Program("sh")));
        assert!(!is_there(Sign::Program("no-such-program")));
        assert!(is_there(Sign::File("/proc/self")));
        assert!(!is_there(Sign::Library("no-such-library")));
    }
}
