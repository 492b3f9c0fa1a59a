//! The zones of this node by network id. Readers take a snapshot without a lock; writers (the
//! agent, on every change of assignments) replace the whole table.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::zone::Zone;

type Table = HashMap<String, Arc<Zone>>;

/// A shared handle; clones see the same zones.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    table: Arc<ArcSwap<Table>>,
}

impl Directory {
    /// Puts or replaces the zone of a network. Queries that are being answered keep the old one.
    pub fn set(&self, network_id: &str, zone: Zone) {
        let zone = Arc::new(zone);
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            table.insert(network_id.to_owned(), Arc::clone(&zone));
            table
        });
    }

    /// Forgets a network. Forgetting an unknown one changes nothing.
    pub fn remove(&self, network_id: &str) {
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            table.remove(network_id);
            table
        });
    }

    /// The zones of these networks in the given order; networks without a zone are left out.
    pub fn zones(&self, network_ids: &[String]) -> Vec<Arc<Zone>> {
        let table = self.table.load();
        network_ids.iter().filter_map(|id| table.get(id).cloned()).collect()
    }
}
