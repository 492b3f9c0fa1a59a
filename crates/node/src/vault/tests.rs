use std::time::{Duration, SystemTime};

use swarm_api::NodeRole;
use swarm_ca::{Root, new_csr};
use tempfile::TempDir;

use super::*;

const SECRETS: &[&str] = &["a", "b"];

fn vault(dir: &TempDir) -> Vault {
    Vault::new(dir.path(), &dir.path().join("certificates"), SECRETS)
}

fn filled() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let root = Root::generate("c1", now).unwrap();
    let (key, csr) = new_csr().unwrap();
    let hour = Duration::from_secs(3600);
    let pem = root.issue(&csr, "n1", NodeRole::Manager, "c1", hour, now).unwrap();
    let identity = Identity::new(pem, key, root.certificate_pem().to_owned()).unwrap();
    let it = vault(&dir);
    it.save_identity(&identity).unwrap();
    it.write("a", b"hunter2").unwrap();
    it.write("b", b"hunter3").unwrap();
    dir
}

/// Whether any file shows a secret or a private key.
fn shows(dir: &TempDir) -> bool {
    let mut folders = vec![dir.path().to_owned()];
    let mut found = false;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            found |= text.contains("hunter") || text.contains("PRIVATE KEY");
        }
    }
    found
}

fn all_there(it: &Vault) {
    assert_eq!(&**it.read("a").unwrap().unwrap(), b"hunter2");
    assert_eq!(&**it.read("b").unwrap().unwrap(), b"hunter3");
    assert!(matches!(it.identity().unwrap(), Some(Kept::Open(i)) if i.key_pem.contains("PRIVATE")));
}

#[test]
fn locked_secrets_open_with_the_unlock_key_only() {
    let dir = filled();
    let (key, other) = (UnlockKey::generate().unwrap(), UnlockKey::generate().unwrap());
    let it = vault(&dir);
    assert!(shows(&dir) && !it.is_locked().unwrap());
    it.set_lock(3, Some(&key)).unwrap();
    all_there(&it);
    assert!(!shows(&dir) && !it.is_locked().unwrap());

    // After a restart.
    let it = vault(&dir);
    assert!(it.is_locked().unwrap());
    assert_eq!(it.version().unwrap(), 3);
    assert!(matches!(it.read("a"), Err(VaultError::Locked)));
    assert!(matches!(it.identity().unwrap(), Some(Kept::Locked(i)) if i.node_id == "n1"));
    assert!(matches!(it.unlock(&other), Err(VaultError::WrongKey)));
    assert!(it.is_locked().unwrap());
    it.unlock(&key).unwrap();
    all_there(&it);
    it.write("a", b"hunter2").unwrap();
    assert!(!shows(&dir), "what is written while locked is wrapped");

    it.set_lock(4, None).unwrap();
    all_there(&it);
    all_there(&vault(&dir));
}

#[test]
fn a_new_unlock_key_ends_the_old_one() {
    let dir = filled();
    let (first, second) = (UnlockKey::generate().unwrap(), UnlockKey::generate().unwrap());
    let it = vault(&dir);
    it.set_lock(1, Some(&first)).unwrap();
    it.set_lock(2, Some(&second)).unwrap();
    all_there(&it);
    let it = vault(&dir);
    assert!(matches!(it.unlock(&first), Err(VaultError::WrongKey)));
    it.unlock(&second).unwrap();
    all_there(&it);
}

#[test]
fn a_change_cut_off_at_any_file_is_finished_later() {
    let (first, second) = (UnlockKey::generate().unwrap(), UnlockKey::generate().unwrap());
    // A file that cannot be written stops the change there: a folder stands in its place.
    for blocked in ["a.part", "b.part", "certificates/swarm-node.part"] {
        for (from, to) in
            [(Some(&first), Some(&second)), (Some(&first), None), (None, Some(&second))]
        {
            let dir = filled();
            let it = vault(&dir);
            it.set_lock(1, from).unwrap();
            let obstacle = dir.path().join(blocked);
            fs::create_dir_all(obstacle.join("x")).unwrap();
            assert!(it.set_lock(2, to).is_err(), "{blocked}");
            fs::remove_dir_all(&obstacle).unwrap();
            // A restart in between: the key that the lock file is under opens all.
            let it = vault(&dir);
            if it.is_locked().unwrap() {
                it.unlock(to.unwrap_or(&first)).unwrap();
            }
            all_there(&it);
            it.set_lock(2, to).unwrap();
            assert_eq!(shows(&dir), to.is_none(), "{blocked}");
            let it = vault(&dir);
            if let Some(key) = to {
                it.unlock(key).unwrap();
            }
            all_there(&it);
        }
    }
}
