//! A service's volumes: `data:/data:ro` becomes its long form.

use swarm_api::mount::Type;

use super::{Shaper, each_text, map};
use crate::node::{Node, Value};
use crate::problem::Problem;
use crate::view::View;
use crate::volume::{ShortVolume, parse_short};

pub fn long(view: &View<'_>, shaper: &mut Shaper<'_>) -> Result<Option<Value>, Problem> {
    each_text(view, shaper, |item, text, report| {
        let volume = parse_short(text).map_err(|error| item.problem(error))?;
        for option in &volume.unknown {
            match option.as_str() {
                "cached" | "delegated" | "consistent" => {
                    let message = format!("\"{option}\" is ignored: every mount is consistent");
                    report.warn(&item.node.at, &item.path, message);
                }
                _ => return Err(item.problem(format!("\"{text}\": unknown option \"{option}\""))),
            }
        }
        Ok(vec![node(item.node, &volume)])
    })
}

fn node(item: &Node, volume: &ShortVolume) -> Node {
    let at = &item.at;
    let kind = if volume.kind == Type::Bind { "bind" } else { "volume" };
    let text = |text: &String| Node::text(text, at);
    let propagation = volume.propagation.as_ref().map(text);
    let nocopy = volume.nocopy.then(|| Node::plain(true, at));
    let source = (!volume.source.is_empty()).then(|| text(&volume.source));
    map(
        item,
        [
            ("type", Some(Node::text(kind, at))),
            ("source", source),
            ("target", Some(text(&volume.target))),
            ("read_only", volume.read_only.then(|| Node::plain(true, at))),
            ("bind", propagation.map(|p| map(item, [("propagation", Some(p))]))),
            ("volume", nocopy.map(|n| map(item, [("nocopy", Some(n))]))),
        ],
    )
}
