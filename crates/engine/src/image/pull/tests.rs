//! Pulls from a real registry (Debian's docker-registry) on loopback, and from things that are
//! none. Skipped, with the reason printed, where the registry is not installed.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::{Client, RegistryOperation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::image::ImageError;
use crate::image::digest::of_bytes;
use crate::image::manifest::{
    DOCKER_MANIFEST, Index, LAYER, LAYER_GZIP, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST,
};
use crate::image::tests::fixture::{RawTar, store};

/// The line of htpasswd for user "user" with password "pass".
const HTPASSWD: &str = "user:$2y$05$tZGoHlaHBFyyAqQn7X97GujvGhxPKfpKEOAPaN72rBNhovkAuNxIW\n";

/// A running registry, stopped with the guard.
struct RegistryProcess {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl RegistryProcess {
    /// `None` where the program is missing; the test then says so and ends.
    async fn start(with_password: bool) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        // The port may be taken between the two steps; the program then ends, and another is tried.
        for _ in 0..5 {
            let port = free_port();
            let mut child = match spawn(dir.path(), port, with_password) {
                Ok(child) => child,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    println!("skipped: docker-registry is not installed");
                    return None;
                }
                Err(e) => panic!("docker-registry: {e}"),
            };
            let deadline = Instant::now() + Duration::from_secs(20);
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
                    return Some(Self { child, port, _dir: dir });
                }
                assert!(Instant::now() < deadline, "docker-registry does not listen");
                tokio::task::yield_now().await;
            }
        }
        panic!("docker-registry ends at once");
    }

    fn name(&self, rest: &str) -> String {
        format!("127.0.0.1:{}/{rest}", self.port)
    }
}

impl Drop for RegistryProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn spawn(dir: &Path, port: u16, with_password: bool) -> std::io::Result<Child> {
    let data = dir.join("data");
    let passwords = dir.join("htpasswd");
    std::fs::write(&passwords, HTPASSWD)?;
    let mut config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
         http:\n  addr: 127.0.0.1:{port}\n",
        data.display()
    );
    if with_password {
        let path = passwords.display();
        config.push_str(&format!("auth:\n  htpasswd:\n    realm: test\n    path: {path}\n"));
    }
    std::fs::write(dir.join("config.yml"), config)?;
    Command::new("docker-registry")
        .arg("serve")
        .arg(dir.join("config.yml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// What the tests put into a registry.
struct Pushed {
    manifest: Vec<u8>,
    digest: String,
    layer: Vec<u8>,
}

/// Pushes an image of one layer, whose file holds `content`.
async fn push(name: &str, architecture: &str, content: &[u8], gzip: bool) -> Pushed {
    let tar = RawTar::default().file("content", content).finish();
    let layer = match gzip {
        true => {
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut gz, &tar).unwrap();
            gz.finish().unwrap()
        }
        false => tar.clone(),
    };
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": { "Cmd": [architecture] },
        "rootfs": { "type": "layers", "diff_ids": [of_bytes(&tar)] },
    })
    .to_string()
    .into_bytes();
    let kind = if gzip { LAYER_GZIP } else { LAYER };
    let config_entry = Descriptor::new(OCI_CONFIG, of_bytes(&config), config.len() as u64);
    let layer_entry = Descriptor::new(kind, of_bytes(&layer), layer.len() as u64);
    let mut manifest = Manifest::oci(config_entry, vec![layer_entry]);
    if gzip {
        manifest.media_type = Some(DOCKER_MANIFEST.to_owned());
    }
    let (client, target) = pusher(name).await;
    for blob in [&config, &layer] {
        client.push_blob(&target, blob.clone(), &of_bytes(blob)).await.unwrap();
    }
    let manifest_bytes = serde_json::to_vec(&manifest).unwrap();
    push_manifest(name, &manifest_bytes, manifest.media_type.as_deref().unwrap()).await;
    Pushed { digest: of_bytes(&manifest_bytes), manifest: manifest_bytes, layer }
}

async fn push_manifest(name: &str, bytes: &[u8], media_type: &str) {
    let (client, target) = pusher(name).await;
    let media_type = media_type.parse().unwrap();
    client.push_manifest_raw(&target, bytes.to_vec(), media_type).await.unwrap();
}

async fn pusher(name: &str) -> (Client, oci_client::Reference) {
    let target: oci_client::Reference = name.parse().unwrap();
    let protocol = ClientProtocol::Http;
    let client = Client::new(ClientConfig { protocol, ..ClientConfig::default() });
    let auth = oci_client::secrets::RegistryAuth::Anonymous;
    client.auth(&target, &auth, RegistryOperation::Push).await.unwrap();
    (client, target)
}

async fn pull(store: &ImageStore, name: &str) -> crate::image::Result<Image> {
    store.pull(name, PullOptions::default(), |_| ()).await
}

/// Bytes that do not compress, the same every time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn an_image_is_pulled_by_tag_and_by_digest_and_runs_from_its_layers() {
    let Some(registry) = RegistryProcess::start(false).await else { return };
    let name = registry.name("team/app:1");
    let pushed = push(&name, "amd64", b"hello", true).await;
    let (_dir, images) = store().await;
    let steps = Mutex::new(Vec::new());
    let note = |progress: PullProgress| steps.lock().unwrap().push(progress.step);
    let image = images.pull(&name, PullOptions::default(), note).await.unwrap();
    assert_eq!((&image.digest, &image.repo_tags), (&pushed.digest, &vec![name.clone()]));
    assert_eq!(steps.lock().unwrap().last(), Some(&PullStep::Unpacking));
    let dirs = images.unpacked(&image).await.unwrap();
    assert_eq!(std::fs::read(dirs[0].join("content")).unwrap(), b"hello");

    let (_dir, by_digest) = store().await;
    let pinned = format!("{}@{}", registry.name("team/app:other"), pushed.digest);
    assert_eq!(pull(&by_digest, &pinned).await.unwrap().digest, pushed.digest);
    assert_eq!(by_digest.get(&pinned).await.unwrap().id, image.id);
}

#[tokio::test]
async fn an_index_leads_to_the_image_for_the_platform() {
    let Some(registry) = RegistryProcess::start(false).await else { return };
    let mut manifests = Vec::new();
    for architecture in ["riscv64", "amd64", "arm64"] {
        let name = registry.name(&format!("multi:{architecture}"));
        let pushed = push(&name, architecture, architecture.as_bytes(), false).await;
        let size = pushed.manifest.len() as u64;
        let mut entry = Descriptor::new(OCI_MANIFEST, pushed.digest, size);
        let (os, architecture) = ("linux".to_owned(), architecture.to_owned());
        entry.platform = Some(Platform { os, architecture, variant: None });
        manifests.push(entry);
    }
    let index = Index { schema_version: 2, media_type: Some(OCI_INDEX.to_owned()), manifests };
    let bytes = serde_json::to_vec(&index).unwrap();
    let name = registry.name("multi:all");
    push_manifest(&name, &bytes, OCI_INDEX).await;

    let (_dir, images) = store().await;
    let image = pull(&images, &name).await.unwrap();
    assert_eq!(image.config.cmd, [Platform::host().architecture]);
    let pinned = format!("{name}@{}", of_bytes(&bytes));
    assert_eq!(images.get(&pinned).await.unwrap().id, image.id);
    assert_eq!(images.commit(&pinned, &of_bytes(&bytes)).await.unwrap().id, image.id);

    let sparc = Platform { os: "linux".into(), architecture: "sparc64".into(), variant: None };
    let options = PullOptions { platform: Some(sparc), ..PullOptions::default() };
    let error = images.pull(&name, options, |_| ()).await.unwrap_err().to_string();
    let reason = "has no image for platform linux/sparc64; it has linux/riscv64, linux/amd64";
    assert!(error.contains(reason), "{error}");
}

#[tokio::test]
async fn what_a_registry_lacks_is_not_found_and_named() {
    let Some(registry) = RegistryProcess::start(false).await else { return };
    let there = registry.name("app:1");
    push(&there, "amd64", b"x", false).await;
    let (_dir, images) = store().await;
    let wrong = format!("{}@{}", registry.name("app"), of_bytes(b"wrong"));
    for name in [registry.name("nobody/nothing:1"), registry.name("app:2"), wrong] {
        let error = pull(&images, &name).await.unwrap_err();
        assert!(matches!(error, ImageError::NotInRegistry { .. }), "{error}");
        let start = format!("image not found: {name}: registry 127.0.0.1:{}", registry.port);
        assert!(error.to_string().starts_with(&start), "{error}");
    }
    for name in ["UPPER/case", "a b", ""] {
        let error = pull(&images, name).await.unwrap_err();
        assert!(matches!(error, ImageError::InvalidReference { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_registry_with_passwords_refuses_wrong_ones_and_takes_right_ones() {
    let Some(registry) = RegistryProcess::start(true).await else { return };
    let (_dir, images) = store().await;
    let name = registry.name("app:1");
    let with = |password: &str| {
        let (user, password) = ("user".to_owned(), password.to_owned());
        let auth = Some(RegistryAuth::Basic { user, password });
        PullOptions { auth, ..PullOptions::default() }
    };
    for options in [PullOptions::default(), with("wrong")] {
        let error = images.pull(&name, options, |_| ()).await.unwrap_err();
        assert!(matches!(error, ImageError::Unauthorized { .. }), "{error}");
        assert!(error.to_string().contains(&name), "{error}");
    }
    let error = images.pull(&name, with("pass"), |_| ()).await.unwrap_err();
    assert!(matches!(error, ImageError::NotInRegistry { .. }), "{error}");
    assert!(!format!("{:?}", with("hidden")).contains("hidden"));
}

#[tokio::test]
async fn a_dead_and_a_hung_registry_are_told_apart() {
    let (_dir, images) = store().await;
    let name = format!("127.0.0.1:{}/app:1", free_port());
    let error = pull(&images, &name).await.unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("onnection refused"), "{error}");

    let hung = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let name = format!("{}/app:1", hung.local_addr().unwrap());
    let answer_timeout = Some(Duration::from_millis(200));
    let options = PullOptions { answer_timeout, ..PullOptions::default() };
    let error = images.pull(&name, options, |_| ()).await.unwrap_err();
    assert!(matches!(error, ImageError::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn a_layer_goes_on_where_an_earlier_pull_stopped() {
    let Some(registry) = RegistryProcess::start(false).await else { return };
    let name = registry.name("big:1");
    let pushed = push(&name, "amd64", &noise(3 << 20), false).await;
    let half = pushed.layer.len() / 2;
    let mut spoilt = pushed.layer[..half].to_vec();
    spoilt[7] ^= 1;
    for (part, resumes) in [(&pushed.layer[..half], true), (&spoilt, false)] {
        let (dir, images) = store().await;
        let partial = dir.path().join("images/partial");
        std::fs::create_dir_all(&partial).unwrap();
        std::fs::write(partial.join(&of_bytes(&pushed.layer)[7..]), part).unwrap();
        let starts = Mutex::new(Vec::new());
        let note = |p: PullProgress| {
            if p.step == PullStep::Downloading && p.total == pushed.layer.len() as u64 {
                starts.lock().unwrap().push(p.current);
            }
        };
        images.pull(&name, PullOptions::default(), note).await.unwrap();
        assert_eq!(starts.lock().unwrap()[0], half as u64);
        assert_eq!(!starts.lock().unwrap().contains(&0), resumes);
        assert_eq!(std::fs::read_dir(&partial).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn connections_that_break_cost_no_more_than_the_rest_of_the_layer() {
    let Some(registry) = RegistryProcess::start(false).await else { return };
    push(&registry.name("big:1"), "amd64", &noise(4 << 20), false).await;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let name = format!("{}/big:1", listener.local_addr().unwrap());
    let cuts = std::sync::Arc::new(AtomicUsize::new(0));
    let proxy = tokio::spawn(cutting_proxy(listener, registry.port, cuts.clone()));
    let (_dir, images) = store().await;
    let image = pull(&images, &name).await;
    proxy.abort();
    image.unwrap();
    assert!(cuts.load(Ordering::SeqCst) >= 2, "the proxy has cut nothing");
}

/// Passes connections on and cuts each after a bit more than a megabyte.
async fn cutting_proxy(
    listener: tokio::net::TcpListener,
    to: u16,
    cuts: std::sync::Arc<AtomicUsize>,
) {
    const LENGTH: u64 = 1_200_000;
    while let Ok((client, _)) = listener.accept().await {
        let cuts = cuts.clone();
        tokio::spawn(async move {
            let server = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (from_server, mut to_server) = server.into_split();
            let up = tokio::spawn(async move {
                let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
            });
            let mut limited = from_server.take(LENGTH);
            let _ = tokio::io::copy(&mut limited, &mut to_client).await;
            let _ = to_client.shutdown().await;
            up.abort();
            cuts.fetch_add(usize::from(limited.limit() == 0), Ordering::SeqCst);
        });
    }
}
