//! Where the managers are now: what the group's membership says, and over it what managers that moved have told
//! themselves. A leader can write a new address into the membership only with a majority, and a majority may not find each
//! other without it: so what was told counts at once, survives a restart, and is dropped as soon as the membership has a
//! new word of its own.
//!
//! It proves nothing: only what a node has said of itself over mutual TLS may be noted here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use swarm_raft_store::Member;

/// Longest address that is noted, bytes: a host name and a port.
const MAX_ADDRESS: usize = 260;
/// Most managers that are noted; clusters have fewer than ten.
const MAX_PAGES: usize = 256;

/// The addresses of all managers. Clones share it.
#[derive(Clone, Default)]
pub struct AddressBook(Arc<Inner>);

#[derive(Default)]
struct Inner {
    // None: forgotten with the process.
    file: Option<PathBuf>,
    pages: Mutex<BTreeMap<String, Page>>,
}

/// One manager's address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Page {
    addr: String,
    /// What the membership said when `addr` was told; empty if that is not known.
    over: String,
}

impl AddressBook {
    /// A book that keeps what managers have told in `file`. What cannot be read there is told again.
    pub fn open(file: &Path) -> Self {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "read where managers are");
                String::new()
            }
        };
        let pages = Mutex::new(text.lines().filter_map(parse).collect());
        Self(Arc::new(Inner { file: Some(file.to_owned()), pages }))
    }

    /// Where to reach `member`, whose address may be one that it had earlier.
    pub fn address(&self, member: &Member) -> String {
        let pages = self.pages();
        pages.get(&member.node_id).map_or_else(|| member.addr.clone(), |page| page.addr.clone())
    }

    /// Node ids and addresses of all that are in it.
    pub fn places(&self) -> Vec<(String, String)> {
        self.pages().iter().map(|(node_id, page)| (node_id.clone(), page.addr.clone())).collect()
    }

    /// What the membership says: its new words count, its old ones do not undo what was told since.
    pub fn settle(&self, members: &[Member]) {
        let mut pages = self.pages();
        let before = told(&pages);
        pages.retain(|node_id, _| members.iter().any(|m| m.node_id == *node_id));
        for Member { node_id, addr, .. } in members {
            let known = pages.get(node_id).is_some_and(|page| page.over == *addr);
            if !known {
                let page = Page { addr: addr.clone(), over: addr.clone() };
                pages.insert(node_id.clone(), page);
            }
        }
        self.keep(&before, &pages);
    }

    /// What the node has told of itself. Returns whether it is new.
    pub fn note(&self, node_id: &str, addr: &str) -> bool {
        let mut pages = self.pages();
        let full = pages.len() >= MAX_PAGES && !pages.contains_key(node_id);
        if full || !is_word(node_id) || !is_word(addr) {
            return false;
        }
        let before = told(&pages);
        let new = || Page { addr: String::new(), over: String::new() };
        let page = pages.entry(node_id.to_owned()).or_insert_with(new);
        if page.addr == addr {
            return false;
        }
        addr.clone_into(&mut page.addr);
        self.keep(&before, &pages);
        true
    }

    fn pages(&self) -> MutexGuard<'_, BTreeMap<String, Page>> {
        // Every page is whole between any two statements.
        self.0.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, before: &str, pages: &BTreeMap<String, Page>) {
        let (Some(file), text) = (&self.0.file, told(pages)) else { return };
        if *before == text {
            return;
        }
        if let Err(error) = write(file, &text) {
            tracing::warn!(file = %file.display(), %error, "remember where managers are");
        }
    }
}

/// What is written down: that which is not the membership's own word.
fn told(pages: &BTreeMap<String, Page>) -> String {
    let told = pages.iter().filter(|(_, page)| page.addr != page.over);
    let line = |(node_id, page): (&String, &Page)| {
        let over = if page.over.is_empty() { "-" } else { &page.over };
        format!("{node_id} {} {over}\n", page.addr)
    };
    told.map(line).collect()
}

fn parse(line: &str) -> Option<(String, Page)> {
    let mut words = line.split(' ');
    let (node_id, addr, over) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !is_word(node_id) || !is_word(addr) {
        return None;
    }
    let over = if over == "-" { "" } else { over };
    Some((node_id.to_owned(), Page { addr: addr.to_owned(), over: over.to_owned() }))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ADDRESS && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whole after a power cut, or as it was.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let part = file.with_extension("part");
    let mut out = File::create(&part)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(&part, file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node_id: &str, addr: &str) -> Member {
        Member { raft_id: 1, node_id: node_id.into(), addr: addr.into() }
    }

    #[test]
    fn what_a_manager_tells_counts_until_the_membership_has_a_new_word() {
        let book = AddressBook::default();
        let old = member("m1", "a:1");
        assert_eq!(book.address(&old), "a:1");
        book.settle(std::slice::from_ref(&old));
        assert!(book.note("m1", "b:1") && !book.note("m1", "b:1"));
        // The membership repeats itself.
        book.settle(std::slice::from_ref(&old));
        assert_eq!(book.address(&old), "b:1");
        // It has caught up, and then it moved again while this manager was told nothing.
        book.settle(&[member("m1", "b:1")]);
        book.settle(&[member("m1", "c:1")]);
        assert_eq!(book.address(&old), "c:1", "a caller's own idea of the address is older");
        book.settle(&[]);
        assert_eq!((book.places().len(), book.address(&old).as_str()), (0, "a:1"));
    }

    #[test]
    fn what_was_told_survives_a_restart_and_what_the_membership_says_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("addresses");
        let book = AddressBook::open(&file);
        book.settle(&[member("m1", "a:1"), member("m2", "a:2")]);
        assert!(!file.exists());
        book.note("m2", "b:2");
        book.note("m3", "b:3");
        let again = AddressBook::open(&file);
        assert_eq!(again.address(&member("m2", "a:2")), "b:2");
        assert_eq!(again.address(&member("m3", "x:3")), "b:3");
        again.settle(&[member("m1", "a:1"), member("m2", "b:2")]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
    }

    #[test]
    fn what_is_no_address_is_not_noted() {
        let book = AddressBook::default();
        for bad in ["", "a b", "a:1\nm9 evil:1 -", &"x".repeat(MAX_ADDRESS + 1)] {
            assert!(!book.note("m1", bad), "{bad}");
        }
        for n in 0..2 * MAX_PAGES {
            book.note(&format!("m{n}"), "a:1");
        }
        assert_eq!(book.places().len(), MAX_PAGES);
    }
}
