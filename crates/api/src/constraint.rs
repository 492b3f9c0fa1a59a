//! Placement constraints: `key==value` or `key!=value`, compared literally and without regard to case, all of them ANDed
//! (SwarmKit's rules; docker-swarm §2.6).

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;
use regex::Regex;

use crate::generated::{Node, NodeRole};

/// How key and value compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

/// One parsed constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// What is compared, as written.
    pub key: String,
    /// How.
    pub operator: Operator,
    /// With what, as written.
    pub value: String,
}

/// Why a text is no constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// Neither `==` nor `!=`.
    #[error("invalid constraint \"{0}\": constraint expected one operator from ==, !=")]
    Operator(String),
    /// The part before the operator.
    #[error("invalid constraint \"{text}\": key '{key}' is invalid")]
    Key {
        /// The constraint.
        text: String,
        /// Its key.
        key: String,
    },
    /// The part after it.
    #[error("invalid constraint \"{text}\": value '{value}' is invalid")]
    Value {
        /// The constraint.
        text: String,
        /// Its value.
        value: String,
    },
}

fn regex(pattern: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the patterns are constants that the tests compile")]
    Regex::new(pattern).expect("a constant pattern")
}

static KEY: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)^[a-z_][a-z0-9\-_.]+$"));
static VALUE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?i)^[a-z0-9:\-_\s\.\*\(\)\?\+\[\]\\\^\$\|/]+$"));

impl Constraint {
    /// Parses one constraint.
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        let (key, operator, value) = [("==", Operator::Equal), ("!=", Operator::NotEqual)]
            .into_iter()
            .find_map(|(sign, op)| text.split_once(sign).map(|(k, v)| (k.trim(), op, v.trim())))
            .ok_or_else(|| ConstraintError::Operator(text.to_owned()))?;
        if !KEY.is_match(key) {
            return Err(ConstraintError::Key { text: text.to_owned(), key: key.to_owned() });
        }
        if !VALUE.is_match(value) {
            return Err(ConstraintError::Value { text: text.to_owned(), value: value.to_owned() });
        }
        Ok(Self { key: key.to_owned(), operator, value: value.to_owned() })
    }

    /// Whether any of `values` satisfies it: `==` wants one that is equal, `!=` none.
    pub fn matches_any(&self, values: &[&str]) -> bool {
        let found = values.iter().any(|v| v.eq_ignore_ascii_case(&self.value));
        found == (self.operator == Operator::Equal)
    }

    /// Whether `node` satisfies it. An unknown key never matches.
    pub fn matches(&self, node: &Node) -> bool {
        let description = node.description.as_ref();
        let platform = description.and_then(|d| d.platform.as_ref());
        let key = self.key.to_ascii_lowercase();
        match key.as_str() {
            "node.id" => self.matches_any(&[&node.id]),
            "node.hostname" => self.matches_any(&[description.map_or("", |d| &d.hostname)]),
            "node.ip" => self.matches_ip(node.status.as_ref().map_or("", |s| &s.addr)),
            "node.role" => self.matches_any(&[match node.role() {
                NodeRole::Manager => "manager",
                NodeRole::Worker => "worker",
            }]),
            "node.platform.os" => self.matches_any(&[platform.map_or("", |p| &p.os)]),
            "node.platform.arch" => {
                let (own, want) = (platform.map_or("", |p| &p.architecture), &self.value);
                let equal = architecture(own).eq_ignore_ascii_case(architecture(want));
                equal == (self.operator == Operator::Equal)
            }
            _ => self.matches_label(node),
        }
    }

    /// Label keys keep their case.
    fn matches_label(&self, node: &Node) -> bool {
        let prefixed = |prefix: &str| match self.key.get(..prefix.len()) {
            Some(start) if start.eq_ignore_ascii_case(prefix) => self.key.get(prefix.len()..),
            _ => None,
        };
        let engine = node.description.as_ref().and_then(|d| d.engine.as_ref());
        let annotations = node.spec.as_ref().and_then(|s| s.annotations.as_ref());
        let (labels, name) = if let Some(name) = prefixed("node.labels.") {
            (annotations.map(|a| &a.labels), name)
        } else if let Some(name) = prefixed("engine.labels.") {
            (engine.map(|e| &e.labels), name)
        } else {
            return false;
        };
        self.matches_any(&[labels.and_then(|l| l.get(name)).map_or("", String::as_str)])
    }

    /// The value is an address or a subnet; what is neither never matches.
    fn matches_ip(&self, addr: &str) -> bool {
        let bare = addr
            .parse::<IpAddr>()
            .ok()
            .or_else(|| addr.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()));
        let Some(own) = bare else { return false };
        let inside = if let Ok(want) = self.value.parse::<IpAddr>() {
            want == own
        } else if let Ok(net) = self.value.parse::<IpNet>() {
            net.contains(&own)
        } else {
            return false;
        };
        inside == (self.operator == Operator::Equal)
    }
}

/// Kernel names and Go names of an architecture are one.
pub fn architecture(name: &str) -> &str {
    match name {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generated::{EngineDescription, NodeDescription, NodeStatus};

    fn node() -> Node {
        let engine = EngineDescription {
            labels: [("disk".into(), "ssd".into())].into(),
            ..Default::default()
        };
        Node {
            id: "n-1".into(),
            description: Some(NodeDescription {
                hostname: "EDge1".into(),
                engine: Some(engine),
                ..Default::default()
            }),
            status: Some(NodeStatus { addr: "186.17.9.41".into(), ..Default::default() }),
            ..Default::default()
        }
    }

    fn holds(text: &str) -> bool {
        Constraint::parse(text).unwrap().matches(&node())
    }

    #[test]
    fn both_operators_are_understood_and_spaces_trimmed() {
        let constraint = Constraint::parse(" zone != east ").unwrap();
        assert_eq!((constraint.key.as_str(), constraint.value.as_str()), ("zone", "east"));
        assert_eq!(constraint.operator, Operator::NotEqual);
    }

    #[test]
    fn what_is_no_constraint_is_refused() {
        for text in ["", "diskssd", "zone ~ a", "zo ne==a", "a==", "==b", "zone=a", "1a==b"] {
            assert!(Constraint::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_compare_literally_and_without_case() {
        assert!(holds("node.hostname==edge1") && !holds("node.hostname!=edge1"));
        assert!(!holds("node.hostname==edge*"));
    }

    #[test]
    fn a_missing_label_fails_equality_and_passes_inequality() {
        assert!(!holds("node.labels.disk==ssd") && holds("node.labels.disk!=ssd"));
        assert!(holds("engine.labels.disk==ssd"));
    }

    #[test]
    fn an_address_is_compared_with_addresses_and_subnets() {
        assert!(holds("node.ip==186.17.9.41") && holds("node.ip==186.17.0.0/16"));
        assert!(!holds("node.ip==186.17.9.41/34") && !holds("node.ip!=266.17.9.41"));
    }

    #[test]
    fn an_unknown_key_never_matches() {
        assert!(!holds("node.colour==red") && !holds("node.colour!=red"));
    }
}
