//! What happens as time goes by: handshakes anew, signs of life, limits reset.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::mesh::{Peer, ROOM};
use crate::process::Core;
use crate::wire;

/// boringtun's times are whole seconds; this is exact enough for it and costs nothing.
const TICK: Duration = Duration::from_millis(250);
const TICKS_PER_SECOND: u32 = 4;

/// Ticks until the process ends.
pub fn run(core: &Arc<Core>) {
    let mut ticks = 0u32;
    while !core.is_ended() {
        thread::sleep(TICK);
        let now = core.now();
        for peer in now.mesh.peers() {
            tick(core, peer);
        }
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(TICKS_PER_SECOND) {
            now.mesh.reset_limits();
        }
    }
}

fn tick(core: &Core, peer: &Peer) {
    let Some(socket) = core.socket() else { return };
    let mut out = [0; ROOM];
    for link in &peer.links {
        if let Some(bytes) = link.session().tick(&mut out) {
            // A sign of life that is lost is followed by another.
            wire::send(&socket, peer.endpoint(), bytes, bytes.len());
        }
    }
}

/// Begins the handshakes of pairs of keys that have none yet.
pub fn begin(core: &Core, peer: &Peer) {
    let Some(socket) = core.socket() else { return };
    let mut out = [0; ROOM];
    for link in peer.links.iter().filter(|link| !link.is_ready()) {
        if let Some(bytes) = link.session().begin(&mut out) {
            wire::send(&socket, peer.endpoint(), bytes, bytes.len());
        }
    }
}
