//! The rules that only the ingress network has: answers leave where their requests came in, so that
//! containers see the addresses of clients.
//!
//! Every flow carries the number of its way in: a node's, when the frame that began it bears that
//! node's hardware address, or the uplink's. It is kept as the zone of the flow's first direction,
//! so equal flows (one client port, two nodes) stay apart. Answers are marked with it, and routed
//! by the mark (`crate::network::detour`).

use std::collections::BTreeMap;

use super::{NetworkRules, only_in};
use crate::naming::UPLINK_INNER;
use crate::nft::rule::Rule;
use crate::nft::{
    ADDRESS, Batch, Data, ENTRY, Element, FORWARD, HARDWARE_ADDRESS, Hook, POSTROUTING, PREROUTING,
};

/// Number of the way in from the host; nodes have theirs from their addresses.
pub(crate) const UPLINK_ENTRY: u16 = u16::MAX;

const ENTRIES: &str = "entries";
const CLOSED: &str = "closed";

/// Before connection tracking.
const ENTER: Hook = Hook { kind: "filter", point: PREROUTING, priority: -300 };
/// Before routing.
const MARK: Hook = Hook { kind: "filter", point: PREROUTING, priority: -150 };
const THROUGH: Hook = Hook { kind: "filter", point: FORWARD, priority: 0 };
/// After everything: the mark is for this namespace only.
const UNMARK: Hook = Hook { kind: "filter", point: POSTROUTING, priority: 300 };

pub(super) fn sets(batch: &mut Batch) {
    batch.set(ENTRIES, HARDWARE_ADDRESS, Some(ENTRY));
    batch.set(CLOSED, ADDRESS, None);
}

/// `trunk` is the link to the other nodes.
pub(super) fn rules(batch: &mut Batch, trunk: &str) {
    batch.chain("enter", Some(ENTER));
    batch.rule("enter", &Rule::new().entering(UPLINK_INNER).enter(UPLINK_ENTRY));
    batch.rule("enter", &Rule::new().entering(trunk).enter_by_sender(ENTRIES));
    batch.chain("mark", Some(MARK));
    batch.rule("mark", &Rule::new().answer().mark_by_entry());
    batch.chain("unmark", Some(UNMARK));
    batch.rule("unmark", &Rule::new().unmark());
    // The middle of a connection that the node it came in by has forgotten.
    let forgotten = Rule::new().entering(trunk).tcp_not_opening();
    batch.rule("before", &forgotten.reset());
    batch.chain("through", Some(THROUGH));
    let closed = Rule::new().first().leaving(UPLINK_INNER).source_in_set(CLOSED);
    batch.rule("through", &closed.unreachable());
    // Containers are on this network to be asked from outside, not to ask each other.
    let own = Rule::new().first().not_entering(UPLINK_INNER).not_entering(trunk);
    batch.rule("through", &own.not_leaving(UPLINK_INNER).unreachable());
}

pub(super) fn change(batch: &mut Batch, old: &NetworkRules, new: &NetworkRules) {
    if new.base.ingress.is_none() {
        return;
    }
    let entry = |(mac, number): (&[u8; 6], &u16)| -> Element {
        (mac.to_vec(), Data::Value(number.to_ne_bytes().to_vec()))
    };
    let gone = old.entries.iter().filter(|(mac, number)| new.entries.get(*mac) != Some(number));
    let came = new.entries.iter().filter(|(mac, number)| old.entries.get(*mac) != Some(number));
    batch.delete_elements(ENTRIES, &gone.map(entry).collect::<Vec<_>>());
    batch.add_elements(ENTRIES, &came.map(entry).collect::<Vec<_>>());
    let keyed = |rules: &NetworkRules| -> BTreeMap<_, ()> {
        rules.closed.iter().map(|address| (*address, ())).collect()
    };
    let element = |address: &std::net::Ipv4Addr| (address.octets().to_vec(), Data::None);
    let (before, now) = (keyed(old), keyed(new));
    let gone: Vec<Element> = only_in(&before, &now).iter().map(element).collect();
    let came: Vec<Element> = only_in(&now, &before).iter().map(element).collect();
    batch.delete_elements(CLOSED, &gone);
    batch.add_elements(CLOSED, &came);
}
