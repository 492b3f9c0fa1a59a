//! `cargo xtask quickstart`: from a clean clone to a real stack on three nodes of this machine. Safe to
//! run again: what is there already is left as it is.

mod page;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::lab::{Host, Lab};
use crate::process;
use crate::{setup, workspace};

const MANAGERS: &str = "3";
const STACK: &str = "demo";
const COMPOSE: &str = "deploy/demo/compose.yaml";
/// What answers on the published port, and the port.
const FRONT: (&str, u16) = ("demo_nginx", 8080);
const IMAGES: [&str; 3] = ["nginx", "redis", "web"];
/// As `swarmctl` calls its lab where nobody says otherwise.
const LAB: &str = "lab";

/// Everything, in order; each step says what it runs.
pub fn run() -> Result<()> {
    if !setup::is_root()? {
        bail!("quickstart makes network namespaces and mounts: run it as root");
    }
    setup::run()?;
    let target = workspace::metadata()?.target;
    workspace::build_programs()?;
    let programs = target.join("release");
    let name = std::env::var("SWARM_LAB").unwrap_or_else(|_| LAB.into());
    let lab = Lab::new(&programs, &name);
    process::run(&mut lab.lab(&["up", "--managers", MANAGERS]))?;
    load_images(&lab, &target.join("demo"), &programs)?;
    process::run(&mut lab.on("m1", &["stack", "deploy", "-c", COMPOSE, STACK])?)?;
    let (host, url, page) = visit(&lab)?;
    println!();
    process::run(&mut lab.on("m1", &["stack", "ps", "--filter", RUNNING, STACK])?)?;
    println!("\n{url} on {}, which runs no task of {}, answers:\n", host.name, FRONT.0);
    for line in page.lines() {
        println!("    {line}");
    }
    say_how_to_go_on(&programs, &name, &url);
    Ok(())
}

const RUNNING: &str = "desired-state=running";

/// On the first node only: the others fetch from it what they need.
fn load_images(lab: &Lab, folder: &Path, programs: &Path) -> Result<()> {
    let mut make = Command::new("deploy/demo/images.sh");
    make.current_dir(workspace::root()).arg(folder).arg(programs.join("demo-web"));
    process::run(&mut make)?;
    for image in IMAGES {
        let archive = folder.join(format!("{image}.tar"));
        let archive = archive.to_str().context("the target folder's path is not UTF-8")?;
        process::run(&mut lab.on("m1", &["image", "load", "-i", archive])?)?;
    }
    Ok(())
}

/// The page, through a node that runs nothing of what serves it.
fn visit(lab: &Lab) -> Result<(Host, String, String)> {
    let (service, port) = FRONT;
    let words = ["service", "ps", "--filter", RUNNING, "--format", "{{.Node}}", service];
    let text = process::capture(&mut lab.on("m1", &words)?)?;
    let busy: Vec<&str> = text.lines().map(str::trim).collect();
    let mut hosts = lab.hosts()?.into_iter();
    let host = hosts.find(|host| !busy.contains(&host.name.as_str()));
    let host = host.with_context(|| format!("every node runs a task of {service}"))?;
    let url = format!("http://{}:{port}/", host.address);
    let page = page::fetch(&host.address, port).with_context(|| format!("fetch {url}"))?;
    Ok((host, url, page))
}

fn say_how_to_go_on(programs: &Path, lab: &str, url: &str) {
    let export = if lab == LAB { String::new() } else { format!("\n  export SWARM_LAB={lab}") };
    println!(
        "
Go on:
  export PATH=\"{}:$PATH\"{export}
  eval \"$(swarmctl lab env m1)\"         # talk to m1; m2 and m3 do as well
  curl {url}       # again: another task answers
  swarmctl service scale demo_web=5
  swarmctl service logs demo_web
  swarmctl lab kill m3                  # its containers go on; bring it back: lab start m3

Take it down, with all that it made:
  swarmctl lab down",
        programs.display()
    );
}
