//! Resolves a user and groups, given as names or numbers, in a container's `/etc/passwd` and
//! `/etc/group`, by Docker's rules.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use pathrs::Root;
use pathrs::flags::OpenFlags;

/// Account files larger than this are cut: they come from the image and are not to be trusted.
const MAX_ACCOUNTS: u64 = 1 << 20;

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, with the primary one.
    pub groups: Vec<u32>,
    pub home: String,
}

/// Where account files are read from.
pub trait Accounts {
    /// The file's content, empty when it cannot be read.
    fn read(&self, path: &str) -> String;
}

/// A root file system seen from outside; paths never leave it.
pub struct InRoot<'a>(pub &'a Root);

impl Accounts for InRoot<'_> {
    fn read(&self, path: &str) -> String {
        let flags = OpenFlags::O_RDONLY | OpenFlags::O_NONBLOCK | OpenFlags::O_CLOEXEC;
        let handle = self.0.resolve(path).and_then(|handle| handle.reopen(flags));
        handle.map(text).unwrap_or_default()
    }
}

/// The root this process is in.
pub struct Here;

impl Accounts for Here {
    fn read(&self, path: &str) -> String {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        file.map(text).unwrap_or_default()
    }
}

fn text(file: File) -> String {
    let mut bytes = Vec::new();
    if file.metadata().is_ok_and(|meta| meta.is_file()) {
        // A file that stops being readable half way counts as far as it was read.
        let _ = file.take(MAX_ACCOUNTS).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Resolves `user` (`name|uid[:group|gid]`, empty is root) and extra groups.
pub fn resolve(from: &impl Accounts, user: &str, extra: &[String]) -> Result<User, String> {
    let passwd = from.read("/etc/passwd");
    let group_file = from.read("/etc/group");
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let entry = passwd.lines().map(fields).find(|f| f.len() >= 4 && is(f, name));
    let (account, uid, own_gid, home) = match &entry {
        Some(f) => (f[0], number(f[2]), number(f[3]), f.get(5).copied().unwrap_or("/")),
        None => ("", number(name), Some(0), "/"),
    };
    let uid =
        uid.ok_or_else(|| format!("unable to find user {name}: no matching entry in passwd file"))?;
    let gid = match group {
        Some(group) => group_id(&group_file, group)?,
        None => own_gid.unwrap_or(0),
    };
    let mut groups = vec![gid];
    if group.is_none() && !account.is_empty() {
        groups.extend(memberships(&group_file, account));
    }
    for group in extra {
        groups.push(group_id(&group_file, group)?);
    }
    groups.sort_unstable();
    groups.dedup();
    let home = if home.is_empty() { "/" } else { home };
    Ok(User { uid, gid, groups, home: home.to_owned() })
}

fn fields(line: &str) -> Vec<&str> {
    line.split(':').collect()
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id < u32::MAX)
}

/// The account is named so, or has this number.
fn is(entry: &[&str], name: &str) -> bool {
    entry[0] == name || (number(name).is_some() && number(entry[2]) == number(name))
}

fn group_id(groups: &str, group: &str) -> Result<u32, String> {
    let entry = groups.lines().map(fields).find(|f| f.len() >= 3 && is(f, group));
    entry
        .and_then(|f| number(f[2]))
        .or_else(|| number(group))
        .ok_or_else(|| format!("unable to find group {group}: no matching entry in group file"))
}

fn memberships(groups: &str, account: &str) -> Vec<u32> {
    groups
        .lines()
        .map(fields)
        .filter(|f| f.len() >= 4 && f[3].split(',').any(|member| member == account))
        .filter_map(|f| number(f[2]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Accounts for Fixed {
        fn read(&self, path: &str) -> String {
            match path {
                "/etc/passwd" => "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n",
                _ => "root:x:0:\nwww:x:34:\nssl:x:110:web,mail\n",
            }
            .to_owned()
        }
    }

    #[test]
    fn a_name_brings_its_group_home_and_memberships() {
        let user = resolve(&Fixed, "web", &[]).unwrap();
        let expected = User { uid: 33, gid: 34, groups: vec![34, 110], home: "/srv".to_owned() };
        assert_eq!(user, expected);
        assert_eq!(resolve(&Fixed, "33", &[]).unwrap(), expected);
    }

    #[test]
    fn numbers_need_no_entry() {
        let user = resolve(&Fixed, "1000:2000", &["ssl".to_owned()]).unwrap();
        assert_eq!((user.uid, user.gid, user.groups), (1000, 2000, vec![110, 2000]));
        assert_eq!(resolve(&Fixed, "", &[]).unwrap().home, "/root");
    }

    #[test]
    fn an_unknown_name_is_named() {
        let error = resolve(&Fixed, "nobody", &[]).unwrap_err();
        assert!(error.contains("nobody"), "{error}");
        assert!(resolve(&Fixed, "web:nogroup", &[]).unwrap_err().contains("nogroup"));
    }
}
