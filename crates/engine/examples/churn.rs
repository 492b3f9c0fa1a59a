//! Measures what containers cost: CPU and wall time of create, start, wait and remove, one after
//! another and many at once, and the memory of an idle container's shim. Run as root:
//! `cargo run --release -p swarm-engine --example churn -- target/release/swarmd-shim`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use swarm_engine::{ContainerSpec, Engine, EngineConfig, EngineError, RemoveVolumes, Rootfs};

const SERIAL: u32 = 50;
const PARALLEL: usize = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shim: PathBuf = std::env::args().nth(1).ok_or("usage: churn SHIM")?.into();
    let dir = tempfile::tempdir()?;
    let layer = dir.path().join("layer");
    std::fs::create_dir_all(layer.join("bin"))?;
    std::fs::copy("/bin/busybox", layer.join("bin/busybox"))?;
    let config = EngineConfig {
        root: dir.path().join("root"),
        run: dir.path().join("run"),
        shim: shim.canonicalize()?,
        cgroup_parent: "swarm-engine-churn".to_owned(),
    };
    let engine = Engine::open(config.clone()).await?;
    let _cleanup = Cleanup(config.cgroup_parent.clone());
    let rootfs = Rootfs { id: "busybox".to_owned(), layers: vec![layer], ..Rootfs::default() };
    cycle(&engine, &rootfs).await?;

    let (begin, cpu) = (Instant::now(), cpu_time());
    for _ in 0..SERIAL {
        cycle(&engine, &rootfs).await?;
    }
    let wall = begin.elapsed() / SERIAL;
    println!("one after another: {wall:?} wall, {:?} CPU each", (cpu_time() - cpu) / SERIAL);

    let (begin, cpu) = (Instant::now(), cpu_time());
    let starts = (0..PARALLEL).map(|_| start(&engine, &rootfs, &["sleep", "1000"]));
    let ids = futures::future::try_join_all(starts).await?;
    println!("{PARALLEL} at once: {:?} until all run", begin.elapsed());
    let mut shims = Vec::new();
    for state in engine.list() {
        shims.extend(state.pid.and_then(parent).and_then(pss));
    }
    let mean = shims.iter().sum::<u64>() / shims.len().max(1) as u64;
    println!("idle shim: {mean} KiB PSS (mean of {})", shims.len());
    let begin = Instant::now();
    let ends = ids.iter().map(|id| end(&engine, id));
    futures::future::try_join_all(ends).await?;
    println!("{PARALLEL} at once: {:?} until all are removed", begin.elapsed());
    println!("{PARALLEL} at once: {:?} CPU each", (cpu_time() - cpu) / PARALLEL as u32);
    let single = start(&engine, &rootfs, &["sleep", "1000"]).await?;
    let alone = engine.inspect(&single)?.pid.and_then(parent).and_then(pss);
    println!("idle shim alone: {} KiB PSS", alone.unwrap_or(0));
    end(&engine, &single).await?;
    Ok(())
}

/// Ends what is left when the measurement fails half way.
struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        for dir in swarm_engine::cgroup::directories(&self.0) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let name = entry.file_name();
                swarm_engine::cgroup::kill(&format!("{}/{}", self.0, name.to_string_lossy()));
            }
        }
        let _ = swarm_engine::cgroup::remove(&self.0);
    }
}

async fn cycle(engine: &Engine, rootfs: &Rootfs) -> Result<(), EngineError> {
    let id = start(engine, rootfs, &["true"]).await?;
    engine.wait(&id).await?;
    engine.remove(&id, RemoveVolumes::Anonymous).await
}

async fn start(engine: &Engine, rootfs: &Rootfs, args: &[&str]) -> Result<String, EngineError> {
    let cmd = std::iter::once("/bin/busybox").chain(args.iter().copied());
    let cmd = cmd.map(str::to_owned).collect();
    let spec = ContainerSpec { cmd, ..ContainerSpec::default() };
    let container = engine.create_on(spec, rootfs.clone()).await?;
    engine.start(&container.id).await?;
    Ok(container.id)
}

async fn end(engine: &Engine, id: &str) -> Result<(), EngineError> {
    engine.stop(id, None, Some(Duration::ZERO)).await?;
    engine.remove(id, RemoveVolumes::Anonymous).await
}

/// CPU time of this process and of everything it started and awaited.
fn cpu_time() -> Duration {
    let of = |who| {
        // SAFETY: zero is a valid rusage, which the call fills.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live rusage.
        unsafe { libc::getrusage(who, &mut usage) };
        let time = |t: libc::timeval| {
            Duration::from_secs(t.tv_sec as u64) + Duration::from_micros(t.tv_usec as u64)
        };
        time(usage.ru_utime) + time(usage.ru_stime)
    };
    of(libc::RUSAGE_SELF) + of(libc::RUSAGE_CHILDREN)
}

fn parent(pid: i32) -> Option<i32> {
    field(Path::new(&format!("/proc/{pid}/status")), "PPid:").map(|pid| pid as i32)
}

/// Proportional set size in KiB.
fn pss(pid: i32) -> Option<u64> {
    field(Path::new(&format!("/proc/{pid}/smaps_rollup")), "Pss:")
}

fn field(path: &Path, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
