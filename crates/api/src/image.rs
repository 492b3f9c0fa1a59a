//! Image references: `[domain/]path[:tag][@digest]`, normalised as Docker does (`redis` is `docker.io/library/redis:latest`).
//! Grammar: the OCI distribution specification's reference grammar.

use std::fmt::{Display, Formatter};
use std::sync::LazyLock;

use regex::Regex;

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL: &str = "library/";
/// Longest name (domain and path).
const NAME_MAX: usize = 255;

/// A normalised reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRef {
    /// Registry host, with port if one was given.
    pub domain: String,
    /// Repository within the registry.
    pub path: String,
    /// Absent only where a digest is given without one.
    pub tag: Option<String>,
    /// `sha256:…`
    pub digest: Option<String>,
}

/// Why a text is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageRefError {
    /// Does not fit the grammar.
    #[error("invalid image reference \"{0}\": want [host[:port]/]name[:tag][@sha256:digest]")]
    Format(String),
    /// Upper-case letters.
    #[error("invalid image reference \"{0}\": repository name must be lowercase")]
    Uppercase(String),
    /// 64 hexadecimal digits would be taken for an id.
    #[error("invalid image reference \"{0}\": cannot be 64 hexadecimal characters")]
    LooksLikeId(String),
}

static GRAMMAR: LazyLock<Regex> = LazyLock::new(|| {
    let component = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
    let label = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
    let domain = format!(r"(?:{label}(?:\.{label})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?");
    let pattern = format!(
        "^(?P<domain>{domain})/(?P<path>{component}(?:/{component})*)(?::(?P<tag>[0-9A-Za-z_]\
         [0-9A-Za-z_.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?$"
    );
    #[expect(clippy::expect_used, reason = "the pattern is a constant that the tests compile")]
    Regex::new(&pattern).expect("a constant pattern")
});

impl ImageRef {
    /// Parses and normalises.
    pub fn parse(text: &str) -> Result<Self, ImageRefError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ImageRefError::LooksLikeId(text.into()));
        }
        let (domain, rest) = split_domain(text);
        let path = if domain == DEFAULT_DOMAIN && !rest.contains('/') {
            format!("{OFFICIAL}{rest}")
        } else {
            rest.to_owned()
        };
        let repository = path.split(['@']).next().unwrap_or_default();
        let repository = repository.split(':').next().unwrap_or_default();
        if repository.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ImageRefError::Uppercase(text.into()));
        }
        let whole = format!("{domain}/{path}");
        let parts = GRAMMAR.captures(&whole).ok_or_else(|| ImageRefError::Format(text.into()))?;
        let group = |name| parts.name(name).map(|m| m.as_str().to_owned());
        let (domain, path) =
            (group("domain").unwrap_or_default(), group("path").unwrap_or_default());
        if domain.len() + 1 + path.len() > NAME_MAX {
            return Err(ImageRefError::Format(text.into()));
        }
        let (mut tag, digest) = (group("tag"), group("digest"));
        if tag.is_none() && digest.is_none() {
            tag = Some("latest".into());
        }
        Ok(Self { domain, path, tag, digest })
    }

    /// As users write it: without the default registry, `library/` and a digest's absence.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        if let Some(tag) = &self.tag {
            text = format!("{text}:{tag}");
        }
        match &self.digest {
            Some(digest) => format!("{text}@{digest}"),
            None => text,
        }
    }

    /// Name without tag and digest, as users write it.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        self.path.strip_prefix(OFFICIAL).unwrap_or(&self.path).to_owned()
    }

    /// The same image, pinned to `digest`.
    pub fn pinned(&self, digest: &str) -> Self {
        Self { digest: Some(digest.to_owned()), ..self.clone() }
    }
}

/// In full: `docker.io/library/redis:latest`.
impl Display for ImageRef {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// The first part is a host only if it looks like one.
fn split_domain(text: &str) -> (&str, &str) {
    let (first, rest) = match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':', '['])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    };
    match first {
        "index.docker.io" => (DEFAULT_DOMAIN, rest),
        other => (other, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_an_official_image_with_tag_latest() {
        let image = ImageRef::parse("redis").unwrap();
        assert_eq!(image.to_string(), "docker.io/library/redis:latest");
        assert_eq!(image.familiar(), "redis:latest");
    }

    #[test]
    fn a_first_part_that_looks_like_a_host_is_one() {
        let image = ImageRef::parse("[2001:db8::1]:5000/r:t").unwrap();
        assert_eq!((image.domain.as_str(), image.path.as_str()), ("[2001:db8::1]:5000", "r"));
        assert_eq!(ImageRef::parse("localhost/a/b").unwrap().domain, "localhost");
        assert_eq!(ImageRef::parse("user/app").unwrap().domain, "docker.io");
    }

    #[test]
    fn a_digest_without_tag_has_no_tag() {
        let text = format!("app@sha256:{}", "a".repeat(64));
        let image = ImageRef::parse(&text).unwrap();
        assert_eq!((image.tag.clone(), image.familiar()), (None, text));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let id = "a".repeat(64);
        for text in ["", "app/", "https://x/y", "a///b", "App", "a:", "a@sha256:12", "-a", &id] {
            assert!(ImageRef::parse(text).is_err(), "{text}");
        }
    }
}
