//! Roots that are replaced, certificates that expire, secrets that are in no log.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use support::{Cluster, eventually};
use swarm_api::NodeRole;
use swarm_ca::{Identity, Root, new_csr};

mod leaks;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The root that nodes are told of.
fn shown(cluster: &Cluster, node: &str) -> Root {
    Root::from_pem(&cluster.ctl(node, &["ca"]).ok(), None).expect("a certificate")
}

fn statuses(cluster: &Cluster, node: &str) -> Vec<String> {
    let listed = cluster.ctl(node, &["node", "ls", "--format", "{{.Hostname}} {{.Status}}"]);
    listed.stdout.lines().map(str::to_owned).collect()
}

fn wait_status(cluster: &Cluster, node: &str, wanted: &str) {
    eventually(&format!("{node}: {wanted}"), || {
        let seen = statuses(cluster, node);
        if seen.iter().any(|s| s == wanted) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

/// What a node has on disk.
fn identity(cluster: &Cluster, node: &str) -> Identity {
    let folder = cluster.state_dir(node).join("cluster/certificates");
    Identity::load(&folder).expect("readable").expect("there is one")
}

/// A root of the test's own as files: (certificate, key).
fn files(root: &Root) -> (tempfile::TempDir, String, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path.display().to_string()
    };
    let certificate = write("ca.crt", root.certificate_pem());
    let key = write("ca.key", root.key_pem().expect("generated with its key"));
    (dir, certificate, key)
}

/// A command whose lines are watched while it runs; killed when the test fails.
struct Watched {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Watched {
    fn start(cluster: &Cluster, node: &str, args: &[&str]) -> Self {
        let mut command = cluster.ctl_command(node, args);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        Self { child, lines, said: Vec::new() }
    }

    fn wait_said(&mut self, text: &str) {
        eventually(&format!("{text:?} is said"), || {
            self.said.extend(self.lines.try_iter());
            let found = self.said.iter().any(|line| line.contains(text));
            if found { Ok(()) } else { Err(self.said.join("\n")) }
        });
    }

    fn wait_done(&mut self) {
        eventually("it ends well", || match self.child.try_wait() {
            Ok(Some(status)) if status.success() => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_root_is_replaced_while_everything_runs_and_the_tokens_change_with_it() {
    let cluster = Cluster::apart(5);
    cluster.ctl("m1", &["init"]).ok();
    let token = |role: &str| cluster.ctl("m1", &["join-token", "-q", role]).ok();
    let join = |host: &str, token: &str| {
        cluster.ctl(host, &["join", "--token", token, &cluster.address("m1")])
    };
    for (host, role) in [("m2", "manager"), ("m3", "manager"), ("m4", "worker")] {
        join(host, &token(role)).ok();
    }
    for host in ["m1", "m4"] {
        cluster.load_busybox(host);
    }
    cluster.create("m1", &["--name", "s", "--mode", "global", "busybox", "sleep", "1000"]);
    cluster.wait_running("m1", "s", 4);
    let containers = cluster.containers();
    let (old, old_token) = (shown(&cluster, "m1"), token("worker"));

    let said = cluster.ctl("m2", &["ca", "--rotate"]).ok();
    let new = shown(&cluster, "m3");
    assert_ne!(new.digest(), old.digest());
    for line in [
        format!("desired root digest: {}", new.digest()).as_str(),
        "  rotated TLS certificates:  4/4 nodes",
        "  rotated CA certificates:   4/4 nodes",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(said.ends_with(new.certificate_pem().trim_end()), "{said}");
    for host in ["m1", "m2", "m3", "m4"] {
        let identity = identity(&cluster, host);
        assert_eq!(identity.issuer(), new.digest(), "{host}");
        assert_eq!(identity.tls_info().trust_roots, [new.digest()], "{host}");
        wait_status(&cluster, "m1", &format!("{host} Ready"));
    }
    assert_eq!(cluster.containers(), containers, "no container was touched");

    let refused = join("m5", &old_token).refused();
    assert!(refused.contains("does not match the join token"), "{refused}");
    join("m5", &token("worker")).ok();
    wait_status(&cluster, "m1", "m5 Ready");
    cluster.wait_running("m1", "s", 5);
    assert!(cluster.containers().is_superset(&containers));
}

#[test]
fn a_rotation_names_the_node_that_it_waits_for_and_goes_on_when_that_is_back_or_gone() {
    let cluster = Cluster::new(1, 2);
    let old = shown(&cluster, "m1");
    cluster.lab().kill("w1").expect("kill");
    wait_status(&cluster, "m1", "w1 Down");
    let mut rotation = Watched::start(&cluster, "m1", &["ca", "--rotate"]);
    rotation.wait_said("rotated TLS certificates:  2/3 nodes");
    rotation.wait_said("waiting for: w1 (down)");
    assert_eq!(shown(&cluster, "m1").digest(), old.digest(), "until then the root stays");
    cluster.lab().start("w1").expect("start");
    rotation.wait_done();
    let second = shown(&cluster, "m1");
    assert_ne!(second.digest(), old.digest());

    cluster.lab().kill("w2").expect("kill");
    wait_status(&cluster, "m1", "w2 Down");
    assert_eq!(cluster.ctl("m1", &["ca", "--rotate", "--detach"]).ok(), "");
    // Another one on top, then one to a root of our own: the last one counts.
    assert_eq!(cluster.ctl("m1", &["ca", "--rotate", "-d"]).ok(), "");
    let own = Root::generate("mine", SystemTime::now()).expect("a root");
    let (_dir, certificate, key) = files(&own);
    let to_own = ["ca", "--rotate", "--ca-cert", &certificate, "--ca-key", &key];
    assert_eq!(cluster.ctl("m1", &[&to_own[..], &["-d"]].concat()).ok(), "");
    assert_eq!(shown(&cluster, "m1").digest(), second.digest());
    cluster.ctl("m1", &["node", "rm", "w2"]).ok();
    eventually("the last rotation is finished", || {
        let digest = shown(&cluster, "m1").digest();
        if digest == own.digest() { Ok(()) } else { Err(digest) }
    });
    let refused = cluster.ctl("m1", &to_own).refused();
    assert!(refused.contains("rotating to it would change nothing"), "{refused}");
    cluster.lab().start("w2").expect("start");
    // It neither believes the managers of today nor is it believed.
    eventually("w2 says that nobody knows it", || {
        let info = cluster.ctl("w2", &["info"]);
        match info.stdout.contains("no manager has answered yet") {
            true => Ok(()),
            false => Err(format!("{info:?}")),
        }
    });
    assert!(!statuses(&cluster, "m1").iter().any(|s| s.starts_with("w2")));
}

#[test]
fn nodes_whose_certificates_have_expired_come_back_by_their_keys() {
    let cluster = Cluster::with_busybox(1, 1);
    cluster.create("m1", &["--name", "s", "--mode", "global", "busybox", "sleep", "1000"]);
    cluster.wait_running("m1", "s", 2);
    let containers = cluster.containers();
    // A root of our own lets us say when a certificate was issued.
    let own = Root::generate("mine", SystemTime::now() - DAY * 200).expect("a root");
    let (_dir, certificate, key) = files(&own);
    let rotate = ["ca", "--rotate", "-q", "--ca-cert", &certificate, "--ca-key", &key];
    assert_eq!(cluster.ctl("m1", &rotate).ok(), "");
    for (host, role) in [("w1", NodeRole::Worker), ("m1", NodeRole::Manager)] {
        cluster.lab().kill(host).expect("kill");
        let valid = identity(&cluster, host);
        let (key, csr) = new_csr().expect("a key");
        let then = SystemTime::now() - DAY * 100;
        let pem = own.issue(&csr, &valid.node_id, role, &valid.cluster_id, DAY * 90, then);
        let expired = Identity::new(pem.expect("issued"), key, valid.root_pem.clone());
        let expired = expired.expect("an identity");
        assert!(expired.is_expired(SystemTime::now()));
        let folder = cluster.state_dir(host).join("cluster/certificates");
        expired.save(&folder).expect("saved");
        // Written when it was issued.
        let file = std::fs::File::open(folder.join("swarm-node.pem")).expect("there");
        file.set_modified(then).expect("set");
        cluster.lab().start(host).expect("start");
        eventually(&format!("{host} has a valid certificate"), || {
            let now = identity(&cluster, host);
            let valid = !now.is_expired(SystemTime::now());
            if valid { Ok(()) } else { Err(format!("{now:?}")) }
        });
        wait_status(&cluster, "m1", &format!("{host} Ready"));
    }
    assert_eq!(cluster.containers(), containers, "no container was touched");
}

#[test]
fn a_ca_that_cannot_be_used_is_refused_in_one_line() {
    let cluster = Cluster::new(1, 0);
    let (own, other) =
        [(); 2].map(|()| Root::generate("mine", SystemTime::now()).expect("a root")).into();
    let (_own, certificate, key) = files(&own);
    let (_other, _, foreign) = files(&other);
    let old = Root::generate("mine", SystemTime::now() - DAY * 365 * 21).expect("a root");
    let (_old, expired, expired_key) = files(&old);
    for (args, words) in [
        (vec!["--ca-cert", &certificate], "requires that a --ca-key flag be provided as well"),
        (vec!["--ca-key", &key], "requires that a --ca-cert flag be provided as well"),
        (
            vec!["--ca-cert", &certificate, "--ca-key", &foreign],
            "not the key of the CA certificate",
        ),
        (vec!["--ca-cert", &key, "--ca-key", &key], "there is no certificate in it"),
        (vec!["--ca-cert", &certificate, "--ca-key", &certificate], "want a private key in PEM"),
        (vec!["--ca-cert", &expired, "--ca-key", &expired_key], "it expired on"),
        (vec!["--ca-cert", "/none", "--ca-key", &key], "--ca-cert /none"),
        (vec!["--external-ca", "protocol=cfssl,url=x"], "--external-ca is not supported yet"),
        (vec!["--cert-expiry", "59m"], "minimum certificate expiry time is: 1h0m0s"),
    ] {
        let refused = cluster.ctl("m1", &[&["ca", "--rotate"], &args[..]].concat()).refused();
        assert!(refused.contains(words), "{args:?}: {refused}");
        assert!(!refused.contains("PRIVATE"), "{refused}");
    }
    let refused = cluster.ctl("m1", &["ca", "--quiet"]).refused();
    assert!(refused.contains("`--quiet` flag requires the `--rotate` flag"), "{refused}");
    let before = shown(&cluster, "m1").digest();
    assert_eq!(shown(&cluster, "m1").digest(), before, "nothing has begun");
    for (expiry, words) in [("59m", "1h0m0s"), ("90000h", "maximum: 87600h0m0s")] {
        let refused = cluster.ctl("m1", &["update", "--cert-expiry", expiry]).refused();
        assert!(refused.contains(words), "{refused}");
    }
    cluster.ctl("m1", &["update", "--cert-expiry", "1h"]).ok();
}
