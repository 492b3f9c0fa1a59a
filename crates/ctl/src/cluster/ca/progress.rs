//! How far a root rotation is, as numbers and as text.

use std::io::Write;

use anyhow::Result;
use swarm_api::{Node, RootCa};

use crate::output;
use crate::shape::node::state;

/// More nodes than these are counted, not named.
const NAMED_MAX: usize = 5;
/// Where the terminal does not say how wide it is.
const WIDTH: usize = 80;

/// A look at the nodes.
#[derive(Debug, PartialEq)]
pub struct Progress {
    digest: String,
    nodes: usize,
    /// Nodes with a certificate of the new root.
    certified: usize,
    /// Nodes that trust the new root and no other.
    trusting: usize,
    /// The root is in place.
    finished: bool,
    /// `name (state)` of nodes that cannot go on by themselves.
    absent: Vec<String>,
}

impl Progress {
    /// From what nodes have said of themselves.
    pub fn of(root: &RootCa, nodes: &[Node]) -> Self {
        let digest = root.rotation.as_ref().map_or(&root.digest, |r| &r.digest).clone();
        let tls = |node: &Node| node.description.as_ref().and_then(|d| d.tls.clone());
        let certified = |n: &Node| tls(n).is_some_and(|t| t.issuer == digest);
        let trusting =
            |n: &Node| tls(n).is_some_and(|t| t.trust_roots == std::slice::from_ref(&digest));
        let absent = nodes.iter().filter(|n| !n.is_ready());
        let absent = absent.filter(|n| !(certified(n) && trusting(n)));
        Self {
            nodes: nodes.len(),
            certified: nodes.iter().filter(|n| certified(n)).count(),
            trusting: nodes.iter().filter(|n| trusting(n)).count(),
            finished: root.rotation.is_none(),
            absent: absent.map(|n| format!("{} ({})", n.hostname(), state(n.state()))).collect(),
            digest,
        }
    }

    /// Whether there is nothing to wait for any more.
    pub fn is_done(&self) -> bool {
        self.finished && self.certified == self.nodes && self.trusting == self.nodes
    }

    fn lines(&self) -> Vec<String> {
        let Self { digest, nodes, certified, trusting, absent, .. } = self;
        // While both roots are trusted, none is rotated.
        let trusting = if self.finished { *trusting } else { 0 };
        let mut lines = vec![
            format!("desired root digest: {digest}"),
            format!("  rotated TLS certificates:  {certified}/{nodes} nodes"),
            format!("  rotated CA certificates:   {trusting}/{nodes} nodes"),
        ];
        if !absent.is_empty() {
            let mut names = absent.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
            if absent.len() > NAMED_MAX {
                names.push_str(&format!(" and {} more", absent.len() - NAMED_MAX));
            }
            lines.push(format!("  waiting for: {names}"));
        }
        lines
    }
}

/// Draws over itself on a terminal; elsewhere every line that changed is one more.
pub struct Screen {
    quiet: bool,
    terminal: bool,
    last: Vec<String>,
}

impl Screen {
    /// An empty one.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, terminal: output::is_terminal(), last: Vec::new() }
    }

    /// Shows a look, on stdout as the incumbent does.
    pub fn show(&mut self, progress: &Progress) -> Result<()> {
        let lines = progress.lines();
        if self.quiet || lines == self.last {
            return Ok(());
        }
        if self.terminal {
            self.redraw(&lines)?;
        } else {
            for line in lines.iter().filter(|line| !self.last.contains(line)) {
                output::line(line)?;
            }
        }
        self.last = lines;
        Ok(())
    }

    fn redraw(&self, lines: &[String]) -> Result<()> {
        let width = terminal_size::terminal_size().map_or(WIDTH, |(w, _)| usize::from(w.0));
        let mut text = String::new();
        if !self.last.is_empty() {
            text.push_str(&format!("\x1b[{}A", self.last.len()));
        }
        text.push_str("\r\x1b[J");
        for line in lines {
            // A line that wraps could not be drawn over.
            text.extend(line.chars().take(width.saturating_sub(1)));
            text.push('\n');
        }
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use swarm_api::{NodeDescription, NodeState, NodeStatus, NodeTlsInfo, RootRotation};

    use super::*;

    fn node(name: &str, state: NodeState, issuer: &str, roots: &[&str]) -> Node {
        let trust_roots = roots.iter().map(|&r| r.into()).collect();
        let description = NodeDescription {
            hostname: name.into(),
            tls: Some(NodeTlsInfo { trust_roots, issuer: issuer.into() }),
            ..NodeDescription::default()
        };
        let status = NodeStatus { state: state.into(), ..NodeStatus::default() };
        Node { description: Some(description), status: Some(status), ..Node::default() }
    }

    #[test]
    fn a_rotation_says_how_many_nodes_have_what_and_whom_it_waits_for() {
        let rotation = RootRotation { digest: "new".into(), ..RootRotation::default() };
        let root = RootCa { digest: "old".into(), rotation: Some(rotation), ..RootCa::default() };
        let ready = NodeState::NodeReady;
        let nodes = [
            node("m1", ready, "new", &["old", "new"]),
            node("w1", NodeState::NodeDown, "old", &["old"]),
        ];
        let progress = Progress::of(&root, &nodes);
        let wanted = [
            "desired root digest: new",
            "  rotated TLS certificates:  1/2 nodes",
            "  rotated CA certificates:   0/2 nodes",
            "  waiting for: w1 (down)",
        ];
        assert_eq!(progress.lines(), wanted);
        assert!(!progress.is_done());
        let root = RootCa { digest: "new".into(), ..RootCa::default() };
        let half = [node("m1", ready, "new", &["new"]), node("w1", ready, "new", &["old", "new"])];
        assert!(!Progress::of(&root, &half).is_done());
        let whole = [node("m1", ready, "new", &["new"]), node("w1", ready, "new", &["new"])];
        let progress = Progress::of(&root, &whole);
        assert!(progress.is_done() && progress.lines().len() == 3, "{progress:?}");
    }
}
