//! One replica in a process: does what it is told, a line at a time.
#![expect(clippy::unwrap_used, reason = "a measurement, run by hand")]

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use swarm_api::Task;
use swarm_raft_store::{Member, Replica, ReplicaConfig};

use crate::load;
use crate::tcp::{self, Tcp};

struct Running {
    replica: Replica,
    id: u64,
    started: Instant,
}

/// `ID ADDRESS FOLDER`
#[tokio::main]
pub async fn run(words: &[String]) {
    let [id, addr, dir] = <&[String; 3]>::try_from(words).unwrap();
    let id: u64 = id.parse().unwrap();
    let started = Instant::now();
    let config = ReplicaConfig::new(Path::new(dir), format!("m{id}"), addr.clone(), [7; 32]);
    let replica = Replica::open(config, Arc::new(Tcp::default())).await.unwrap();
    let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
    tokio::spawn(tcp::serve(listener, replica.clone()));
    let (lines, mut commands) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        let read = std::io::stdin().lock().lines().map_while(Result::ok);
        read.take_while(|line| lines.blocking_send(line.clone()).is_ok()).for_each(drop);
    });
    let running = Running { replica, id, started };
    say("ready");
    while let Some(line) = commands.recv().await {
        say(&running.carry_out(&line.split(' ').collect::<Vec<_>>()).await);
    }
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

fn told<E: std::fmt::Display>(result: Result<(), E>) -> String {
    result.map_or_else(|error| format!("no: {error}"), |()| "ok".to_owned())
}

impl Running {
    async fn carry_out(&self, words: &[&str]) -> String {
        let number = |at: usize| words[at].parse::<usize>().unwrap();
        let store = self.replica.store();
        match words[0] {
            "bootstrap" => told(self.replica.bootstrap(self.id).await),
            "prepare" => told(self.replica.prepare(self.id).await),
            "add" => {
                let node_id = format!("m{}", words[1]);
                let raft_id = words[1].parse().unwrap();
                let member = Member { raft_id, node_id, addr: words[2].to_owned() };
                told(self.replica.add_member(member).await)
            }
            "leader" => {
                let leader = self.replica.leadership().borrow().leader.clone();
                leader.map_or_else(|| "none".to_owned(), |l| l.raft_id.to_string())
            }
            "load" => {
                let millis = Duration::from_millis(words[2].parse().unwrap());
                load::load(&store, number(1), millis).await
            }
            "fill" => load::fill(&store, number(1), number(2)).await,
            "write" => {
                let new = load::task(words[1].to_owned(), 1);
                told(store.transact(1, |tx| tx.create(new.clone())).await)
            }
            "opened" => self.opened().await,
            verb => format!("no: there is no verb {verb}"),
        }
    }

    /// Seconds from the start until all that was acknowledged before is there, and how many tasks
    /// that is.
    async fn opened(&self) -> String {
        let mut leadership = self.replica.leadership();
        leadership.wait_for(|l| l.is_leader).await.unwrap();
        self.replica.read_barrier().await.unwrap();
        let (took, count) = (self.started.elapsed(), self.replica.store().view().count::<Task>());
        format!("{} {count}", took.as_secs_f64())
    }
}
