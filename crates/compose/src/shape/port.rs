//! A service's ports: `8080:80/udp` becomes its long form, a range one item per port.

use swarm_api::port;

use super::{Shaper, each_text, map};
use crate::node::{Node, Value};
use crate::problem::Problem;
use crate::view::View;

pub fn long(view: &View<'_>, shaper: &mut Shaper<'_>) -> Result<Option<Value>, Problem> {
    each_text(view, shaper, |item, text, _| {
        let ports = port::parse_short(text).map_err(|error| item.problem(error))?;
        Ok(ports.iter().map(|port| node(item.node, port)).collect())
    })
}

fn node(item: &Node, port: &swarm_api::PortConfig) -> Node {
    let at = &item.at;
    let host_ip = (!port.host_ip.is_empty()).then(|| Node::text(&port.host_ip, at));
    let published = (port.published > 0).then(|| Node::plain(port.published, at));
    map(
        item,
        [
            ("target", Some(Node::plain(port.target, at))),
            ("published", published),
            ("protocol", Some(Node::text(port::protocol_name(port.protocol()), at))),
            ("mode", Some(Node::text("ingress", at))),
            ("host_ip", host_ip),
        ],
    )
}
