//! From the wire to the devices: decrypts, checks whose frame it is, joins, writes.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::Arc;

use super::{Core, Now};
use crate::counters::Drop;
use crate::join::Join;
use crate::mesh::{Incoming, Link, Opened, Peer, ROOM, Session};
use crate::vxlan::{self, Ends};
use crate::wire;

/// What one call receives at most.
const BATCH: usize = 65_536;
/// Type of a WireGuard message that carries a packet.
const DATA: [u8; 4] = [4, 0, 0, 0];

/// Receives until the process ends or uses another socket.
pub(super) fn run(core: &Arc<Core>, socket: &Arc<UdpSocket>) {
    let mut buffer = vec![0; BATCH];
    let mut receiver =
        Receiver { core, socket, plain: vec![], packets: vec![], joins: HashMap::new() };
    let is_wanted = || core.socket().is_none_or(|now| Arc::ptr_eq(&now, socket));
    while !core.is_ended() && is_wanted() {
        match wire::receive(socket, &mut buffer) {
            Ok(Some((length, size, from))) => receiver.batch(&buffer[..length], size, from),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "receive from the wire"),
        }
    }
}

struct Receiver<'a> {
    core: &'a Core,
    socket: &'a UdpSocket,
    /// Packets of one batch, decrypted.
    plain: Vec<u8>,
    packets: Vec<Range<usize>>,
    joins: HashMap<u32, Join>,
}

impl Receiver<'_> {
    fn batch(&mut self, bytes: &[u8], size: usize, from: SocketAddr) {
        let now = self.core.now();
        let mut datagrams = bytes.chunks(size).peekable();
        while let Some(first) = datagrams.next() {
            let (peer, link) = match now.mesh.incoming(first, from) {
                Incoming::Link(peer, link) => (peer, link),
                Incoming::Cookie(cookie) => {
                    wire::send(self.socket, from, &cookie, cookie.len());
                    continue;
                }
                Incoming::Foreign => {
                    self.core.drops.note(Drop::Foreign);
                    continue;
                }
            };
            let more = std::iter::from_fn(|| datagrams.next_if(|d| is_data(d, &link)));
            self.of_link(&peer, &link, std::iter::once(first).chain(more), from);
            self.deliver(&now, &peer);
        }
        for (vni, join) in &mut self.joins {
            let tap = self.core.tap(*vni);
            join.flush(&mut |header, frame| {
                if !tap.as_ref().is_some_and(|tap| tap.write(header, frame)) {
                    self.core.drops.note(Drop::NotWritten);
                }
            });
        }
    }

    /// Decrypts datagrams of one link into `plain`.
    fn of_link<'d>(
        &mut self,
        peer: &Peer,
        link: &Link,
        datagrams: impl Iterator<Item = &'d [u8]>,
        from: SocketAddr,
    ) {
        self.packets.clear();
        let (mut session, mut start, mut heard) = (link.session(), 0, false);
        for datagram in datagrams {
            let room = start + datagram.len() + ROOM;
            if self.plain.len() < room {
                self.plain.resize(room + BATCH, 0);
            }
            match session.open(from.ip(), datagram, &mut self.plain[start..]) {
                Opened::Packet(packet) => {
                    let end = start + packet.len();
                    self.packets.push(start..end);
                    start = end;
                }
                Opened::Nothing => {}
                Opened::Reply(bytes) => {
                    wire::send(self.socket, from, bytes, bytes.len());
                    self.send_waiting(&mut session, from);
                }
                Opened::Refused => {
                    self.core.drops.note(Drop::Foreign);
                    continue;
                }
            }
            heard = true;
        }
        drop(session);
        if heard && peer.endpoint() != from {
            tracing::info!(peer = peer.id, %from, "a peer is heard from elsewhere");
            peer.heard_from(from);
        }
    }

    fn send_waiting(&self, session: &mut Session<'_>, to: SocketAddr) {
        let mut out = vec![0; BATCH + ROOM];
        while let Some(bytes) = session.more(&mut out) {
            wire::send(self.socket, to, bytes, bytes.len());
        }
    }

    /// Hands the decrypted packets to their networks.
    fn deliver(&mut self, now: &Now, peer: &Peer) {
        let Some(target) = now.mesh.address else { return };
        let ends = Ends { source: peer.address, target, port: now.mesh.vxlan_port };
        let mut bytes = 0;
        for packet in &self.packets {
            let Some((vni, frame)) = vxlan::unwrap(&ends, &self.plain[packet.clone()]) else {
                self.core.drops.note(Drop::Forged);
                continue;
            };
            bytes += frame.len();
            let Some(network) = now.networks.get(&vni) else {
                self.core.drops.note(Drop::NoNetwork);
                continue;
            };
            if !network.admits(peer.address, frame) {
                self.core.drops.note(Drop::Forged);
                continue;
            }
            let Some(tap) = self.core.tap(vni) else {
                self.core.drops.note(Drop::NoNetwork);
                continue;
            };
            self.joins.entry(vni).or_default().push(frame, &mut |header, frame| {
                if !tap.write(header, frame) {
                    self.core.drops.note(Drop::NotWritten);
                }
            });
        }
        peer.received().note(self.packets.len(), bytes);
    }
}

/// The datagram carries a packet of this link's sessions.
fn is_data(datagram: &[u8], link: &Link) -> bool {
    let index = datagram.get(4..8).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    datagram.starts_with(&DATA) && index.map(|index| index >> 8) == Some(link.index)
}
