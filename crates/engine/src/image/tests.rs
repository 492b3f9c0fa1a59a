//! The store as its callers see it. Unpacking and pulling have tests of their own.

pub(super) mod fixture;

use std::collections::HashSet;
use std::io::{Cursor, Write};

use tokio::io::AsyncReadExt;

use self::fixture::{RawTar, count, docker_archive, load, store};
use super::*;

fn layer(content: &str) -> Vec<u8> {
    RawTar::default().dir("etc/").file("etc/name", content.as_bytes()).finish()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test]
async fn a_docker_archive_has_the_same_digest_on_every_node() {
    let (_a, one) = store().await;
    let (_b, two) = store().await;
    let first = load(&one, "web:1", &layer("x")).await;
    let second = load(&two, "web:1", &layer("x")).await;
    assert_eq!(first, second);
    assert_eq!(first.reference.as_deref(), Some("web:1"));
    for name in ["web:1", "docker.io/library/web:1", &format!("web:1@{}", first.digest)] {
        let image = one.get(name).await.unwrap();
        assert_eq!((&image.digest, &image.id), (&first.digest, &first.id), "{name}");
        assert_eq!(image.config.cmd, ["sh"]);
    }
}

#[tokio::test]
async fn compressed_layers_and_archives_are_loaded_and_unpacked() {
    let (_dir, store) = store().await;
    let (low, high) = (layer("low"), RawTar::default().file("etc/.wh.name", b"").finish());
    let high_zstd = zstd::encode_all(&high[..], 0).unwrap();
    let archive = docker_archive("two:1", &[(low.clone(), gzip(&low)), (high, high_zstd)]);
    store.load(Cursor::new(gzip(&archive))).await.unwrap();
    let image = store.get("two:1").await.unwrap();
    let dirs = store.unpacked(&image).await.unwrap();
    assert_eq!(dirs.len(), 2);
    assert_eq!(std::fs::read_to_string(dirs[1].join("etc/name")).unwrap(), "low");
    assert_eq!(dirs, store.unpacked(&image).await.unwrap());
}

#[tokio::test]
async fn concurrent_callers_unpack_a_layer_once() {
    let (dir, store) = store().await;
    load(&store, "web:1", &layer("x")).await;
    let image = store.get("web:1").await.unwrap();
    let callers = (0..8).map(|_| store.unpacked(&image));
    let results = futures::future::join_all(callers).await;
    assert!(results.iter().all(|r| r.as_ref().unwrap() == results[0].as_ref().unwrap()));
    assert_eq!(count(&dir.path().join("images/layers")), 1);
    assert_eq!(count(&dir.path().join("images/tmp")), 0);
}

#[tokio::test]
async fn an_archive_whose_layer_is_not_what_its_configuration_says_is_refused() {
    let (dir, store) = store().await;
    let archive = docker_archive("bad:1", &[(layer("promised"), layer("delivered"))]);
    let error = store.load(Cursor::new(archive)).await.unwrap_err();
    assert!(matches!(error, ImageError::DigestMismatch { .. }), "{error}");
    assert!(store.list().await.unwrap().is_empty());
    assert_eq!(count(&dir.path().join("images/tmp")), 0);
    let error = store.load(Cursor::new(b"not an archive".repeat(100))).await.unwrap_err();
    assert!(error.to_string().starts_with("invalid image: image archive"), "{error}");
    let error = store.load(Cursor::new(layer("x"))).await.unwrap_err();
    assert!(error.to_string().contains("imported, not loaded"), "{error}");
}

#[tokio::test]
async fn names_and_images_survive_a_restart_and_leftovers_do_not() {
    let (dir, store) = store().await;
    load(&store, "web:1", &layer("x")).await;
    store.tag("web:1", "registry.example/team/web:stable").await.unwrap();
    let root = dir.path().join("images");
    std::fs::create_dir_all(root.join("tmp/half/diff")).unwrap();
    drop(store);
    let again = ImageStore::open(root.clone()).await.unwrap();
    assert_eq!(count(&root.join("tmp")), 0);
    let list = again.list().await.unwrap();
    assert_eq!(list[0].repo_tags, ["registry.example/team/web:stable", "web:1"]);
    let image = again.get(&list[0].id[7..15]).await.unwrap();
    assert_eq!(again.unpacked(&image).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_imported_root_file_system_runs_as_it_was_told() {
    let (_dir, store) = store().await;
    let changes = || ImageChanges {
        cmd: vec!["sh".into()],
        user: "7:8".into(),
        expose: vec!["80".into(), "53/udp".into()],
        ..ImageChanges::default()
    };
    let tar = gzip(&layer("x"));
    let image = store.import(Cursor::new(tar.clone()), "my/rootfs", changes()).await.unwrap();
    assert_eq!(image.repo_tags, ["my/rootfs:latest"]);
    assert_eq!(image.config.user, "7:8");
    assert_eq!(image.config.exposed_ports.keys().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
    let again = store.import(Cursor::new(tar), "other", changes()).await.unwrap();
    assert_eq!(again.digest, image.digest);
}

#[tokio::test]
async fn a_bad_import_leaves_nothing_and_keeps_the_name_where_it_was() {
    let (dir, store) = store().await;
    let good = load(&store, "web:1", &layer("x")).await;
    let blobs = count(&dir.path().join("images/blobs/sha256"));
    let evil = RawTar::default().file("../evil", b"x").finish();
    let error = store.import(Cursor::new(evil), "web:1", ImageChanges::default()).await;
    assert!(matches!(error.unwrap_err(), ImageError::UnsafeEntry { .. }));
    assert_eq!(store.get("web:1").await.unwrap().digest, good.digest);
    assert_eq!(count(&dir.path().join("images/blobs/sha256")), blobs);
}

#[tokio::test]
async fn an_image_travels_to_another_node_by_digest() {
    let (_a, from) = store().await;
    let (_b, to) = store().await;
    let digest = load(&from, "web:1", &layer("x")).await.digest;
    let name = format!("web:1@{digest}");
    let error = to.commit(&name, &digest).await.unwrap_err().to_string();
    assert_eq!(error, format!("image web:1 is incomplete: blob {digest} is missing"));

    let copy = async |digest: &str| {
        let (file, size) = from.open_blob(digest).await.unwrap();
        let reader = tokio::fs::File::from_std(file).take(size);
        to.put_blob(digest, reader).await.unwrap();
    };
    copy(&digest).await;
    let needed = to.manifest_blobs(&digest).await.unwrap();
    let missing = to.commit(&name, &digest).await.unwrap_err();
    assert!(missing.to_string().contains(&needed[0].0), "{missing}");
    for (blob, _) in &needed {
        copy(blob).await;
    }
    let image = to.commit(&name, &digest).await.unwrap();
    assert_eq!(image.repo_tags, ["web:1"]);
    assert_eq!(image, to.get(&name).await.unwrap());
    to.unpacked(&image).await.unwrap();
}

#[tokio::test]
async fn content_that_is_not_what_was_asked_for_is_not_kept() {
    let (dir, store) = store().await;
    let wanted = digest::of_bytes(b"wanted");
    let error = store.put_blob(&wanted, &b"other"[..]).await.unwrap_err();
    assert!(matches!(error, ImageError::DigestMismatch { .. }), "{error}");
    assert!(!store.has_blob(&wanted).await && !store.has_blob("sha256:../../x").await);
    assert_eq!(count(&dir.path().join("images/tmp")), 0);
}

#[tokio::test]
async fn removing_an_image_spares_what_others_share_and_containers_use() {
    let (dir, store) = store().await;
    let one = load(&store, "one:1", &layer("x")).await;
    store.tag("one:1", "alias:1").await.unwrap();
    let shared = RawTar::default().file("b", b"").finish();
    let both = [(layer("x"), layer("x")), (shared.clone(), shared)];
    store.load(Cursor::new(docker_archive("two:1", &both))).await.unwrap();
    let two = store.get("two:1").await.unwrap();
    for name in ["one:1", "two:1"] {
        store.unpacked(&store.get(name).await.unwrap()).await.unwrap();
    }

    let error = store.remove(&one.id, false, HashSet::new()).await.unwrap_err();
    assert!(error.to_string().contains("several names"), "{error}");
    let removed = store.remove("alias:1", false, HashSet::new()).await.unwrap();
    assert_eq!(removed, [Removed::Untagged("alias:1".into())]);
    let used: HashSet<String> = [one.id.clone()].into();
    let error = store.remove("one:1", false, used.clone()).await.unwrap_err();
    assert!(error.to_string().contains("a container uses it"), "{error}");
    store.remove("one:1", true, used).await.unwrap();
    assert!(store.get(&one.id).await.is_ok(), "its content stays while it is used");
    let removed = store.remove(&one.id, false, HashSet::new()).await.unwrap();
    assert_eq!(removed, [Removed::Deleted(one.id.clone())]);

    assert_eq!(store.unpacked(&two).await.unwrap().len(), 2);
    let (blobs, layers) =
        (dir.path().join("images/blobs/sha256"), dir.path().join("images/layers"));
    assert_eq!((count(&blobs), count(&layers)), (4, 2));
    store.remove("two:1", false, HashSet::new()).await.unwrap();
    assert_eq!((count(&blobs), count(&layers)), (0, 0));
}

#[tokio::test]
async fn a_saved_image_loads_elsewhere_under_the_same_digest() {
    let (_a, from) = store().await;
    let (_b, to) = store().await;
    let original = load(&from, "web:1", &layer("x")).await;
    let archive = from.save(&["web:1".into()], Vec::new()).await.unwrap();
    assert_eq!(archive, from.save(&["web:1".into()], Vec::new()).await.unwrap());
    assert_eq!(to.load(Cursor::new(archive)).await.unwrap(), [original]);
}
