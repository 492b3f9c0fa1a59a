//! The rules of a network's IPv6: virtual addresses lead to the same backends, by the addresses that
//! carry theirs. A table of its own family; changed in the same transaction.

use std::net::Ipv4Addr;

use super::{
    AFTER, BEFORE, Entry, NetworkRules, SELF, Target, Targets, VIPS, backends, clamp, only_in,
    timeout, timeouts,
};
use crate::naming::PORT_PREFIX;
use crate::nft::rule::Rule;
use crate::nft::{ADDRESS6, ADDRESS6_ADDRESS6, Batch, Data, Element, Hook, PREROUTING, VERDICT};
use crate::table::Six;

/// Before connection tracking.
const RAW: Hook = Hook { kind: "filter", point: PREROUTING, priority: -300 };

/// The whole table but for what leads to services.
pub(super) fn replace(batch: &mut Batch, new: &NetworkRules) {
    let Some(six) = new.base.six else { return };
    let node_address = new.base.node_address;
    batch.six(|batch| {
        batch.reset_table();
        batch.set(VIPS, ADDRESS6, Some(VERDICT));
        batch.set(SELF, ADDRESS6_ADDRESS6, None);
        clamp(batch);
        batch.chain("guard", Some(RAW));
        let container = Rule::new().entering_any(PORT_PREFIX);
        batch.rule("guard", &container.source6_is_foreign().drop());
        batch.chain("before", Some(BEFORE));
        batch.rule("before", &Rule::new().key_target6().verdict_map(VIPS));
        batch.chain("after", Some(AFTER));
        let back = Rule::new().redirected().key_addresses6().in_set(SELF);
        batch.rule("after", &back.rewrite_source6(six.of(node_address)));
    });
}

/// What turns the services of `old` into those of `new`.
pub(super) fn change(batch: &mut Batch, six: Option<Six>, old: &Targets, new: &Targets) {
    let Some(six) = six else { return };
    batch.six(|batch| {
        change_targets(batch, six, old, new);
        let itself = |address: &Ipv4Addr| -> Element {
            let octets = six.of(*address).octets();
            ([octets, octets].concat(), Data::None)
        };
        let (old, new) = (backends(old), backends(new));
        let gone: Vec<Element> = only_in(&old, &new).iter().map(itself).collect();
        let came: Vec<Element> = only_in(&new, &old).iter().map(itself).collect();
        batch.delete_elements(SELF, &gone);
        batch.add_elements(SELF, &came);
    });
}

fn change_targets(batch: &mut Batch, six: Six, old: &Targets, new: &Targets) {
    let (gone, came) = (vips(only_in(old, new)), vips(only_in(new, old)));
    let (before, now) = (timeouts(old), timeouts(new));
    only_in(&now, &before).iter().for_each(|idle| batch.timeout(&timeout(*idle), *idle));
    let element = |(vip, entry): &(Ipv4Addr, Entry)| -> Element {
        (six.of(*vip).octets().to_vec(), Data::Jump(entry.chain()))
    };
    batch.delete_elements(VIPS, &gone.iter().map(element).collect::<Vec<_>>());
    for (_, entry) in &gone {
        batch.flush_chain(&entry.chain());
        batch.delete_chain(&entry.chain());
    }
    for (entry, target) in new.iter().filter(|(entry, _)| matches!(entry, Entry::Vip(_))) {
        let chain = entry.chain();
        match old.get(entry) {
            Some(same) if same == target => continue,
            Some(_) => batch.flush_chain(&chain),
            None => batch.chain(&chain, None),
        }
        rules(target, six, batch, &chain);
    }
    batch.add_elements(VIPS, &came.iter().map(element).collect::<Vec<_>>());
    only_in(&before, &now).iter().for_each(|idle| batch.delete_timeout(&timeout(*idle)));
}

fn vips(entries: Vec<Entry>) -> Vec<(Ipv4Addr, Entry)> {
    let vip = |entry: Entry| match entry {
        Entry::Vip(address) => Some((address, entry)),
        Entry::Port(..) => None,
    };
    entries.into_iter().filter_map(vip).collect()
}

fn rules(target: &Target, six: Six, batch: &mut Batch, chain: &str) {
    if target.backends.is_empty() {
        batch.rule(chain, &Rule::new().tcp().reset6());
        batch.rule(chain, &Rule::new().unreachable6());
        return;
    }
    // A connection that is not remembered any more: both ends must know.
    batch.rule(chain, &Rule::new().tcp_not_opening().reset6());
    if let Some(idle) = target.balance.idle {
        batch.rule(chain, &Rule::new().lasting(&timeout(idle)));
    }
    match target.backends.as_slice() {
        [one] => batch.rule(chain, &Rule::new().redirect6(six.of(*one))),
        many => {
            let addresses: Vec<_> = many.iter().map(|a| six.of(*a).octets().to_vec()).collect();
            let map = batch.numbered_as(ADDRESS6, &addresses);
            batch.rule(chain, &Rule::new().pick6(target.balance.policy, map, many.len()));
        }
    }
}
