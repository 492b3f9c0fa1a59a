//! A service's ports: `8080:80/udp` becomes its long form, a range one item per port.

use swarm_api::port::{self, PortError};

use super::{Shaper, each_text, map};
use crate::node::{Node, Value};
use crate::problem::Problem;
use crate::view::View;

pub fn long(view: &View<'_>, shaper: &mut Shaper<'_>) -> Result<Option<Value>, Problem> {
    each_text(view, shaper, |item, text, _| {
        let ports = port::parse_short(text).map_err(|error| refused(item, text, error))?;
        Ok(ports.iter().map(|port| node(item.node, port)).collect())
    })
}

fn refused(item: &View<'_>, text: &str, error: PortError) -> Problem {
    match error {
        PortError::HostIp(_) => {
            let address = text.rsplit_once(':').and_then(|(rest, _)| rest.rsplit_once(':'));
            let address = address.map_or("ADDRESS", |(address, _)| address);
            item.problem(format!(
                "\"{text}\": an address is not supported in ingress mode, as every node publishes \
                 the port; use the long form with mode: host and host_ip: {address}"
            ))
        }
        error => item.problem(error),
    }
}

fn node(item: &Node, port: &swarm_api::PortConfig) -> Node {
    let at = &item.at;
    let published = (port.published > 0).then(|| Node::plain(port.published, at));
    map(
        item,
        [
            ("target", Some(Node::plain(port.target, at))),
            ("published", published),
            ("protocol", Some(Node::text(port::protocol_name(port.protocol()), at))),
            ("mode", Some(Node::text("ingress", at))),
        ],
    )
}
