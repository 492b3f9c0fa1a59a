use swarm_api::{Annotations, Secret, SecretSpec};

use super::*;
use crate::{Store, StoreError};

const KEY: [u8; 32] = [5; 32];

async fn filled(secrets: usize, bytes: usize) -> View {
    let store = Store::standalone();
    for n in 0..secrets {
        let annotations = Some(Annotations { name: format!("s{n}"), ..Annotations::default() });
        let spec = SecretSpec { annotations, data: b"correct horse ".repeat(bytes / 14 + 1) };
        let secret = Secret { id: format!("id{n}"), spec: Some(spec), ..Secret::default() };
        let made = store.transact(1, |tx| tx.create(secret.clone())).await;
        made.map_err(|e: StoreError| e).unwrap();
    }
    store.view()
}

fn cover() -> ArchiveCover {
    let member = Member { raft_id: 9, node_id: "m1".into(), addr: "m1:2377".into() };
    ArchiveCover { index: 0, term: 3, saved_at_ns: 77, members: vec![member] }
}

fn saved(view: &View) -> Vec<u8> {
    let mut file = Vec::new();
    let emit = |piece: &[u8]| {
        file.extend_from_slice(piece);
        Ok(())
    };
    write_archive(view, &cover(), &KEY, emit).unwrap();
    file
}

#[tokio::test]
async fn what_is_saved_is_read_again_and_is_not_in_the_clear() {
    // More than one chunk.
    let view = filled(3, CHUNK_BYTES).await;
    let file = saved(&view);
    assert!(!file.windows(13).any(|w| w == b"correct horse"));
    let (read, tables) = read_archive(&*file, &KEY).unwrap();
    assert_eq!(read, ArchiveCover { index: view.version(), ..cover() });
    assert!(tables.all::<Secret>().eq(view.all::<Secret>()));
    assert_eq!(tables.version(), view.version());
}

#[tokio::test]
async fn every_flipped_byte_and_every_cut_is_found() {
    let file = saved(&filled(2, 10).await);
    for position in 0..file.len() {
        let mut damaged = file.clone();
        damaged[position] ^= 0x10;
        assert!(read_archive(&*damaged, &KEY).is_err(), "byte {position}");
        assert!(read_archive(&file[..position], &KEY).is_err(), "cut at {position}");
    }
    let longer = [&file[..], b"x"].concat();
    assert!(matches!(read_archive(&*longer, &KEY), Err(ArchiveError::Damaged(_))));
}

#[tokio::test]
async fn another_key_is_told_from_damage_and_from_another_file() {
    let file = saved(&filled(1, 10).await);
    let error = read_archive(&*file, &[6; 32]).unwrap_err().to_string();
    assert!(error.contains(&archive_key_id(&KEY)), "{error}");
    assert!(error.contains(&archive_key_id(&[6; 32])), "{error}");
    assert!(matches!(read_archive(&b"hello"[..], &KEY), Err(ArchiveError::Foreign)));
}
