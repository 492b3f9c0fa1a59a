//! Replicas as processes of this program, told what to do over their standard input.
#![expect(clippy::unwrap_used, reason = "a measurement, run by hand")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// A leader must be found, and a write accepted, within this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// One process; killed and reaped when dropped.
pub struct Member {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pub id: u64,
}

impl Member {
    fn start(dir: &Path, id: u64, addr: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["member", &id.to_string(), addr])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut member = Self { process, stdin, stdout, id };
        assert_eq!(member.answer(), "ready");
        member
    }

    /// One command and its answer.
    pub fn ask(&mut self, command: &str) -> String {
        writeln!(self.stdin, "{command}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "member {} has died", self.id);
        line.trim_end().to_owned()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// All replicas of a group.
pub struct Group {
    dir: PathBuf,
    addrs: Vec<String>,
    members: Vec<Member>,
}

/// Addresses that were free a moment ago.
fn free_addrs(count: usize) -> Vec<String> {
    let bind = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners: Vec<_> = (0..count).map(bind).collect();
    listeners.iter().map(|l| l.local_addr().unwrap().to_string()).collect()
}

impl Group {
    /// So many members, the first of which leads.
    pub fn start(dir: &Path, count: usize) -> Self {
        let addrs = free_addrs(count);
        let mut group = Self { dir: dir.to_owned(), addrs, members: Vec::new() };
        for id in 1..=count as u64 {
            group.restart(id);
            if id == 1 {
                assert_eq!(group.members[0].ask("bootstrap"), "ok");
                continue;
            }
            let addr = group.addrs[id as usize - 1].clone();
            assert_eq!(group.members[id as usize - 1].ask("prepare"), "ok");
            assert_eq!(group.members[0].ask(&format!("add {id} {addr}")), "ok");
        }
        group
    }

    pub fn leader(&mut self) -> &mut Member {
        let id = self.settle();
        self.members.iter_mut().find(|member| member.id == id).unwrap()
    }

    /// Waits until all agree on who leads.
    pub fn settle(&mut self) -> u64 {
        let start = Instant::now();
        loop {
            let leaders: Vec<String> = self.members.iter_mut().map(|m| m.ask("leader")).collect();
            if leaders.iter().all(|leader| *leader == leaders[0])
                && let Ok(id) = leaders[0].parse()
            {
                return id;
            }
            assert!(start.elapsed() < PATIENCE, "no leader: {leaders:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the process as a power cut would, as far as a process can tell.
    pub fn kill(&mut self, id: u64) {
        self.members.retain(|member| member.id != id);
    }

    pub fn restart(&mut self, id: u64) {
        let addr = &self.addrs[id as usize - 1];
        self.members.push(Member::start(&self.dir.join(format!("m{id}")), id, addr));
        self.members.sort_by_key(|member| member.id);
    }

    /// How long after the kill one of the others has acknowledged a write.
    pub fn kill_and_write(&mut self, leader: u64, round: u64) -> Duration {
        let at = self.members.iter().position(|member| member.id == leader).unwrap();
        let mut dead = self.members.remove(at);
        let start = Instant::now();
        dead.process.kill().unwrap();
        for attempt in 0.. {
            for member in &mut self.members {
                if member.ask(&format!("write f{round}-{attempt}-{}", member.id)) == "ok" {
                    return start.elapsed();
                }
            }
            assert!(start.elapsed() < PATIENCE, "no write was accepted");
            std::thread::sleep(Duration::from_millis(5));
        }
        unreachable!("attempts do not end")
    }
}
