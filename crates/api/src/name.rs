//! Rules for names, as the incumbent's users know them.

use std::sync::LazyLock;

use regex::Regex;

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a DNS label.
    #[error("name \"{0}\" must be valid as a DNS name component")]
    NotDns(String),
    /// Too long for a DNS label.
    #[error("name \"{0}\" must be 63 characters or fewer")]
    TooLong(String),
    /// Not fit for a secret or config.
    #[error(
        "invalid name \"{0}\", only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end \
         character must be [a-zA-Z0-9]"
    )]
    NotFile(String),
    /// Not fit for a network or volume.
    #[error(
        "invalid name \"{0}\", only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, 2 to 255 characters"
    )]
    NotLocal(String),
}

fn regex(pattern: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the patterns are constants that the tests compile")]
    Regex::new(pattern).expect("a constant pattern")
}

static DNS: LazyLock<Regex> = LazyLock::new(|| regex("^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*$"));
static FILE: LazyLock<Regex> =
    LazyLock::new(|| regex("^[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$"));
static LOCAL: LazyLock<Regex> = LazyLock::new(|| regex("^[a-zA-Z0-9][a-zA-Z0-9_.-]+$"));

/// Networks that every node has by itself: a service may name them, nobody makes or removes them, and no object stands for
/// them.
const NODE_NETWORKS: [&str; 3] = ["host", "bridge", "none"];

/// Whether it is the name of a network that every node has by itself.
pub fn is_node_network(name: &str) -> bool {
    NODE_NETWORKS.contains(&name)
}

/// A service's name becomes a DNS label: at most 63 characters.
pub fn service(name: &str) -> Result<(), NameError> {
    if !DNS.is_match(name) {
        return Err(NameError::NotDns(name.into()));
    }
    if name.len() > 63 {
        return Err(NameError::TooLong(name.into()));
    }
    Ok(())
}

/// A secret's or config's name becomes a file name: at most 64 characters.
pub fn file(name: &str) -> Result<(), NameError> {
    match name.len() <= 64 && FILE.is_match(name) {
        true => Ok(()),
        false => Err(NameError::NotFile(name.into())),
    }
}

/// A network's or volume's name.
pub fn local(name: &str) -> Result<(), NameError> {
    match name.len() <= 255 && LOCAL.is_match(name) {
        true => Ok(()),
        false => Err(NameError::NotLocal(name.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_name_is_a_dns_label_of_at_most_63_characters() {
        assert!(service("web").is_ok() && service(&"a".repeat(63)).is_ok());
        assert!(service("a_b").is_ok() && service("a--b").is_ok());
        for name in ["", "web-", "-web", "a.b", "a b"] {
            assert!(matches!(service(name), Err(NameError::NotDns(_))), "{name}");
        }
        assert!(matches!(service(&"a".repeat(64)), Err(NameError::TooLong(_))));
    }

    #[test]
    fn a_secret_name_is_a_file_name_of_at_most_64_characters() {
        for name in ["db.pass..v2", "db_pass__v2", "a"] {
            assert!(file(name).is_ok(), "{name}");
        }
        for name in ["db_", "a:b", "", ".a"] {
            assert!(file(name).is_err(), "{name}");
        }
        assert!(file(&"a".repeat(64)).is_ok() && file(&"a".repeat(65)).is_err());
    }

    #[test]
    fn a_volume_name_has_at_least_two_characters() {
        assert!(local("data").is_ok() && local("d").is_err() && local("a/b").is_err());
    }
}
