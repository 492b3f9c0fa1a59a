//! Logs tell much and no secret.

use std::path::Path;
use std::process::Command;

use support::{Cluster, Outcome};

const SECRET: &str = "plain-horse-battery-staple-0815";

/// The ways in which a secret may have been written.
fn forms(secret: &[u8]) -> Vec<String> {
    let numbers: Vec<String> = secret.iter().take(12).map(u8::to_string).collect();
    let hex: Vec<String> = secret.iter().take(12).map(|b| format!("{b:02x}")).collect();
    let mut forms = vec![numbers.join(", "), numbers.join(","), hex.concat()];
    if let Ok(text) = std::str::from_utf8(secret) {
        forms.push(text.to_owned());
        let mut encode = Command::new("sh");
        encode.args(["-c", "printf %s \"$0\" | base64 -w0", text]);
        // The last characters depend on what follows.
        let encoded = Outcome::of(&mut encode).ok();
        forms.push(encoded[..encoded.len() / 4 * 4 - 4].to_owned());
    }
    forms
}

/// The lines of a key file that are the key.
fn key_lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("readable");
    let (_, after) = text.split_once("PRIVATE KEY-----\n").expect("a key");
    let body = after.lines().take_while(|line| !line.starts_with("-----"));
    body.map(str::to_owned).collect()
}

#[test]
fn no_secret_is_in_any_log_however_much_is_logged() {
    let cluster = Cluster::logging(2, 1, "trace");
    cluster.load_busybox("m1");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), SECRET).expect("writable");
    let path = file.path().display().to_string();
    cluster.ctl("m1", &["secret", "create", "key", &path]).ok();
    let mut secrets: Vec<Vec<u8>> = vec![SECRET.into()];
    let mut take_tokens = |cluster: &Cluster| {
        for role in ["worker", "manager"] {
            let token = cluster.ctl("m2", &["join-token", "-q", role]).ok();
            let (_, secret) = token.rsplit_once('-').expect("a token");
            secrets.push(secret.into());
        }
    };
    take_tokens(&cluster);
    let run = ["--name", "s", "--mode", "global", "--secret", "key", "busybox", "sleep", "1000"];
    cluster.create("m1", &run);
    cluster.wait_running("m1", "s", 3);
    let own = swarm_ca::Root::generate("mine", std::time::SystemTime::now()).expect("a root");
    let (dir, certificate, key) = super::files(&own);
    cluster.ctl("m2", &["ca", "--rotate", "-q", "--ca-cert", &certificate, "--ca-key", &key]).ok();
    cluster.ctl("m1", &["join-token", "--rotate", "worker"]).ok();
    take_tokens(&cluster);
    let mut keys = key_lines(&dir.path().join("ca.key"));
    for node in ["m1", "m2", "w1"] {
        let state = cluster.state_dir(node).join("cluster");
        keys.extend(key_lines(&state.join("certificates/swarm-node.pem")));
        if let Ok(store) = std::fs::read(state.join("store.key")) {
            secrets.push(store);
        }
    }
    secrets.extend(keys.into_iter().map(String::into_bytes));
    let logs: Vec<String> = ["m1", "m2", "w1"]
        .map(|node| std::fs::read(cluster.lab().log(node).expect("a log")).expect("readable"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .into();
    assert!(logs.iter().all(|log| log.contains("TRACE")), "as much as can be is logged");
    for form in secrets.iter().flat_map(|secret| forms(secret)) {
        for log in &logs {
            let line = log.lines().find(|line| line.contains(&form));
            assert_eq!(line, None, "{form}");
        }
    }
}
