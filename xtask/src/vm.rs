//! `cargo xtask vm`: the daemon and the engine on a machine with nothing but cgroup version 2, which
//! developers' machines and containers often are not. Boots a Debian kernel under emulation (a few
//! minutes, no KVM) with a file system packed from this machine by `tests/vm/pack.sh`, and judges
//! what its scripts print. Needs root for the packages only. Not part of `test`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{self, cargo};
use crate::{setup, workspace};

const EMULATOR: &str = "qemu-system-x86_64";
const EMULATOR_PACKAGE: &str = "qemu-system-x86";
/// Its dependency is the newest kernel that Debian has.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
const PACKAGES: [&str; 3] = ["swarm-node", "swarm-ctl", "swarm-engine"];
/// Measured: six minutes on a machine that builds at the same time.
const DEADLINE: Duration = Duration::from_secs(20 * 60);

/// Builds, packs, boots and judges.
pub fn run() -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("vm emulates a machine like this one, and knows x86_64 only");
    }
    setup::run()?;
    if !process::is_installed(EMULATOR) {
        setup::install(&[EMULATOR_PACKAGE])?;
    }
    let target = workspace::metadata()?.target;
    let packages = PACKAGES.iter().flat_map(|package| ["--package", *package]);
    process::run(cargo().args(["build", "--locked", "--bins"]).args(packages))?;
    let tests = engine_tests()?;
    let folder = target.join("vm");
    let kernel = kernel(&folder)?;
    let mut pack = Command::new("sh");
    pack.current_dir(workspace::root()).arg("tests/vm/pack.sh");
    process::run(pack.arg(target.join("debug")).arg(tests).arg(kernel).arg(&folder))?;
    let failed = watch(boot(&folder)?)?;
    match failed {
        0 => Ok(()),
        count => bail!("{count} checks failed"),
    }
}

/// The engine's test program, built.
fn engine_tests() -> Result<String> {
    let words = ["test", "--locked", "--package", "swarm-engine", "--test", "engine", "--no-run"];
    let text = process::capture(cargo().args(words).args(["--message-format", "json"]))?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let programs = messages.filter(|message| message["target"]["name"] == "engine");
    let mut paths = programs.filter_map(|m| m["executable"].as_str().map(str::to_owned));
    paths.next().context("cargo built no test program of the engine")
}

/// The kernel package, unpacked and not installed: this machine's boot is not to change.
fn kernel(folder: &Path) -> Result<PathBuf> {
    let words = ["depends", "--important", KERNEL_PACKAGE];
    let text = process::capture(Command::new("apt-cache").args(words))?;
    let package = kernel_name(&text).context("Debian's lists name no kernel: apt-get update?")?;
    let unpacked = folder.join(package);
    if unpacked.is_dir() {
        return Ok(unpacked);
    }
    let partial = folder.join("partial");
    let _ = std::fs::remove_dir_all(&partial);
    std::fs::create_dir_all(&partial).with_context(|| format!("make {}", partial.display()))?;
    let mut download = Command::new("apt-get");
    // apt would drop to a user who cannot write here; it checks what it downloads.
    download.current_dir(&partial).args(["-q", "-o", "APT::Sandbox::User=root"]);
    process::run(download.args(["download", package]))?;
    let files = std::fs::read_dir(&partial).context("list the download")?;
    let archive = files.flatten().next().context("apt-get download left no file")?.path();
    let root = partial.join("root");
    process::run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&root))?;
    std::fs::rename(&root, &unpacked).context("keep the kernel")?;
    std::fs::remove_dir_all(&partial).context("remove the download")?;
    Ok(unpacked)
}

fn kernel_name(depends: &str) -> Option<&str> {
    let mut packages = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    packages.find(|package| package.starts_with("linux-image-"))
}

fn boot(folder: &Path) -> Result<Child> {
    let mut command = Command::new(EMULATOR);
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072"]);
    command.args(["-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio"]);
    command.arg("-no-reboot").arg("-kernel").arg(folder.join("vmlinuz"));
    command.arg("-initrd").arg(folder.join("initramfs"));
    command.args(["-append", "console=ttyS0 panic=-1 quiet"]);
    println!("$ {}", process::line(&command));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().context("start the emulator")
}

/// Shows what the machine says until it has ended; how many checks failed.
fn watch(mut machine: Child) -> Result<usize> {
    let output = machine.stdout.take().context("the emulator's output is not piped")?;
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
        for line in lines {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    let end = Instant::now() + DEADLINE;
    let mut tally = Tally::default();
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        println!("{line}");
        tally.count(&line);
    }
    // Ended already, or over its time; either way there is nothing to lose.
    let _ = machine.kill();
    machine.wait().context("wait for the emulator")?;
    let _ = reader.join();
    println!("\nvm: {} checks passed, {} failed", tally.passed, tally.failed);
    if !tally.done {
        bail!("the machine did not come to its end within {} s", DEADLINE.as_secs());
    }
    if tally.passed == 0 {
        bail!("the machine made no checks");
    }
    Ok(tally.failed)
}

#[derive(Debug, Default, PartialEq)]
struct Tally {
    passed: usize,
    failed: usize,
    done: bool,
}

impl Tally {
    fn count(&mut self, line: &str) {
        match line.split_once(' ').map_or(line, |(word, _)| word) {
            "PASS" => self.passed += 1,
            "FAIL" => self.failed += 1,
            "DONE" => self.done = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_what_the_package_without_a_version_depends_on() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-49-cloud-amd64\n";
        assert_eq!(kernel_name(text), Some("linux-image-6.1.0-49-cloud-amd64"));
        assert_eq!(kernel_name("linux-image-cloud-amd64\n  Depends: linux-base\n"), None);
    }

    #[test]
    fn checks_are_told_from_what_else_is_said() {
        let mut tally = Tally::default();
        for line in ["PASS a", "FAIL b: c", "[ 1.0] PASSED", "PASS d", "DONE"] {
            tally.count(line);
        }
        assert_eq!(tally, Tally { passed: 2, failed: 1, done: true });
    }
}
