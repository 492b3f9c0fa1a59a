//! Names of images: `[host/]path[:tag][@digest]`, normalised as Docker does.
//!
//! Pure text; looks nothing up. Used by the catalog and the puller.

use std::fmt;

use super::digest;
use super::error::{ImageError, Result};

const DEFAULT_HOST: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A normalised image name. `busybox` is `docker.io/library/busybox:latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Host of the registry, with its port when one was given.
    pub registry: String,
    /// Path within the registry.
    pub repository: String,
    /// `None` only beside a digest.
    pub tag: Option<String>,
    /// `sha256:…`
    pub digest: Option<String>,
}

impl Reference {
    /// Parses and normalises; says which part is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let fail = |reason: &str| ImageError::InvalidReference {
            reference: text.to_owned(),
            reason: reason.to_owned(),
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                digest::hex_of(digest)
                    .map_err(|_| fail("the digest must be sha256: and 64 hexadecimal digits"))?;
                (rest, Some(digest.to_owned()))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(fail("a tag is up to 128 letters, digits, '_', '.' and '-'"));
        }
        if name.is_empty() {
            return Err(fail("the name is empty"));
        }
        let (registry, repository) = split_registry(name);
        if !is_host(&registry) {
            return Err(fail("the registry's host is malformed"));
        }
        if repository.len() + registry.len() >= MAX_NAME {
            return Err(fail("the name is longer than 255 characters"));
        }
        if !repository.split('/').all(is_component) {
            return Err(fail(
                "names are lowercase letters and digits, separated by '.', '_', '-' or '/'",
            ));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_TAG.to_owned()),
        };
        Ok(Self { registry, repository, tag, digest })
    }

    /// As users know it: without the default registry and namespace, without the digest.
    pub fn familiar(&self) -> String {
        let name = self.familiar_name();
        match &self.tag {
            Some(tag) => format!("{name}:{tag}"),
            None => name,
        }
    }

    /// The familiar name alone, with neither tag nor digest.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_HOST {
            return format!("{}/{}", self.registry, self.repository);
        }
        let official = self.repository.strip_prefix("library/");
        official.filter(|rest| !rest.contains('/')).unwrap_or(&self.repository).to_owned()
    }

    /// Whether the registry's host is this machine, which may be spoken to without TLS.
    pub(super) fn is_loopback(&self) -> bool {
        let host = match self.registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.registry.split(':').next().unwrap_or_default(),
        };
        let address = host.parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.familiar())?;
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

fn split_registry(name: &str) -> (String, String) {
    if let Some((host, rest)) = name.split_once('/')
        && (host.contains(['.', ':']) || host == "localhost")
    {
        let host = if host == "index.docker.io" { DEFAULT_HOST } else { host };
        let plain_official = host == DEFAULT_HOST && !rest.contains('/');
        let repository =
            if plain_official { format!("{DEFAULT_NAMESPACE}/{rest}") } else { rest.to_owned() };
        return (host.to_owned(), repository);
    }
    let repository =
        if name.contains('/') { name.to_owned() } else { format!("{DEFAULT_NAMESPACE}/{name}") };
    (DEFAULT_HOST.to_owned(), repository)
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !tag.is_empty()
        && tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let name_ok = if let Some(v6) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        v6.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
    };
    name_ok && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Runs of `[a-z0-9]` separated by one `.`, one or two `_`, or any number of `-`.
fn is_component(component: &str) -> bool {
    let alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = component.starts_with(alnum) && component.ends_with(alnum);
    ends && component
        .split(alnum)
        .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_as_docker_does() {
        let digest = digest::of_bytes(b"x");
        for (text, full, familiar) in [
            ("busybox", "docker.io library/busybox latest", "busybox:latest"),
            ("demo/web:1", "docker.io demo/web 1", "demo/web:1"),
            ("docker.io/busybox:2", "docker.io library/busybox 2", "busybox:2"),
            ("localhost:5000/a/b", "localhost:5000 a/b latest", "localhost:5000/a/b:latest"),
            ("r.example/a__b/c-d:x", "r.example a__b/c-d x", "r.example/a__b/c-d:x"),
            ("[::1]:5000/a", "[::1]:5000 a latest", "[::1]:5000/a:latest"),
        ] {
            let r = Reference::parse(text).unwrap();
            let tag = r.tag.clone().unwrap();
            assert_eq!(format!("{} {} {tag}", r.registry, r.repository), full, "{text}");
            assert_eq!(r.familiar(), familiar);
        }
        let pinned = Reference::parse(&format!("busybox:1@{digest}")).unwrap();
        assert_eq!(pinned.to_string(), format!("busybox:1@{digest}"));
        assert_eq!(Reference::parse(&format!("busybox@{digest}")).unwrap().tag, None);
    }

    #[test]
    fn malformed_names_are_refused_with_the_part_at_fault() {
        for (text, reason) in [
            ("", "empty"),
            (":tag", "empty"),
            ("Busybox", "lowercase"),
            ("Team/busybox", "lowercase"),
            ("a//b", "lowercase"),
            ("../etc/passwd", "host"),
            ("a:", "tag"),
            ("a:-x", "tag"),
            ("a@sha256:12", "digest"),
            ("host:99999/a", "host"),
            ("a b", "lowercase"),
        ] {
            let error = Reference::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn only_loopback_hosts_count_as_this_machine() {
        let loopback = |t: &str| Reference::parse(t).unwrap().is_loopback();
        assert!(
            loopback("localhost:5000/a") && loopback("127.3.2.1:80/a") && loopback("[::1]:1/a")
        );
        assert!(
            !loopback("busybox") && !loopback("127.example.com/a") && !loopback("10.0.0.1:1/a")
        );
    }
}
