//! Debian's docker-registry within a host of a lab, and pushing a docker archive to it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::command::Outcome;
use crate::wait::eventually;

/// Where it listens: loopback of the host, so that images are pulled without TLS.
pub const REGISTRY: &str = "127.0.0.1:5000";
const TIMEOUT: Duration = Duration::from_secs(10);

/// A registry that runs as long as this value.
pub struct Registry<'a> {
    cluster: &'a Cluster,
    node: String,
    child: Child,
    _storage: tempfile::TempDir,
}

impl<'a> Registry<'a> {
    /// Starts it on `node`; `None`, with the reason printed, where it is not installed.
    pub fn start(cluster: &'a Cluster, node: &str) -> Option<Self> {
        let found = Command::new("sh").args(["-c", "command -v docker-registry"]).output();
        if !found.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: docker-registry is not installed (cargo xtask setup)");
            return None;
        }
        let storage = tempfile::tempdir().expect("a folder");
        let config = storage.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nhttp: {{addr: \
             \"{REGISTRY}\"}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n",
            storage.path().join("data").display()
        );
        fs::write(&config, text).expect("writable");
        let mut command = cluster.lab().command(node, "docker-registry").expect("the host is up");
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().expect("docker-registry starts");
        let registry = Self { cluster, node: node.to_owned(), child, _storage: storage };
        eventually("the registry answers", || registry.ask("GET", "/v2/", "", &[]).map(drop));
        Some(registry)
    }

    /// Pushes the one image of a docker archive as `name:tag`; gives the reference to pull it by.
    pub fn push(&self, archive: &Path, name: &str, tag: &str) -> String {
        let dir = tempfile::tempdir().expect("a folder");
        Outcome::of(Command::new("tar").arg("-C").arg(dir.path()).arg("-xf").arg(archive)).ok();
        let manifest = fs::read(dir.path().join("manifest.json")).expect("a docker archive");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("json");
        let blob = |file: &serde_json::Value, kind: &str| {
            let file = file.as_str().expect("a file name");
            let data = fs::read(dir.path().join(file)).expect("the archive holds it");
            // The archive's files are named after their digests.
            let digest = format!("sha256:{}", file.split('.').next().unwrap_or_default());
            self.upload(name, &digest, &data);
            serde_json::json!({ "mediaType": kind, "size": data.len(), "digest": digest })
        };
        let config = blob(&manifest[0]["Config"], "application/vnd.docker.container.image.v1+json");
        let layer = blob(&manifest[0]["Layers"][0], "application/vnd.oci.image.layer.v1.tar");
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let body = serde_json::json!({
            "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer],
        });
        let path = format!("/v2/{name}/manifests/{tag}");
        self.ask("PUT", &path, kind, body.to_string().as_bytes()).expect("the manifest is taken");
        format!("{REGISTRY}/{name}:{tag}")
    }

    fn upload(&self, name: &str, digest: &str, data: &[u8]) {
        let start = self.ask("POST", &format!("/v2/{name}/blobs/uploads/"), "", &[]);
        let head = start.expect("an upload starts");
        let header = |line: &&str| line.to_ascii_lowercase().starts_with("location:");
        let location = head.lines().find(header).expect("where to put it");
        let location = location.split_once(": ").expect("a header").1;
        let path = location.trim_start_matches(&format!("http://{REGISTRY}"));
        let path = format!("{path}&digest={digest}");
        self.ask("PUT", &path, "application/octet-stream", data).expect("the blob is taken");
    }

    /// The head of the answer to a request, if it is one of success.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<String, String> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {REGISTRY}\r\nConnection: close\r\nContent-Type: \
             {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let exchange = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(REGISTRY)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.write_all(head.as_bytes())?;
            stream.write_all(body)?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = self.cluster.lab().in_network(&self.node, exchange).expect("the host is up");
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        if status.starts_with('2') { Ok(answer) } else { Err(answer) }
    }
}

impl Drop for Registry<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
