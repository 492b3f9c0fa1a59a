//! The TAP device of a network, seen from this side: frames that containers send to other nodes
//! come out of it, those from other nodes go in. One thread reads each device.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, read, writev};

use crate::counters::Drop;
use crate::cut::Cut;
use crate::layout::{ETHERNET, macs};
use crate::mesh::{Peer, ROOM};
use crate::process::Core;
use crate::vnet::{self, Header};
use crate::vxlan::{self, Ends};
use crate::wire::{self, Runs};

/// The largest superframe with its header.
const SUPERFRAME: usize = vnet::LENGTH + ETHERNET + 65_535;
/// A reader looks this often whether it is still wanted, milliseconds.
const POLL_MS: u16 = 500;

/// The device.
#[derive(Debug)]
pub struct Tap {
    pub vni: u32,
    file: OwnedFd,
    gone: AtomicBool,
}

impl Tap {
    pub fn new(vni: u32, file: OwnedFd) -> Result<Self, Errno> {
        fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::NONBLOCK)?;
        Ok(Self { vni, file, gone: AtomicBool::new(false) })
    }

    /// Ends the reader.
    pub fn close(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Hands a frame to the kernel.
    pub fn write(&self, header: &Header, frame: &[u8]) -> bool {
        writev(&self.file, &[IoSlice::new(&header.bytes()), IoSlice::new(frame)]).is_ok()
    }

    /// Reads until the device is closed or deleted.
    pub fn run(&self, core: &Arc<Core>) {
        let (mut frame, mut sender) = (vec![0; SUPERFRAME], Sender::default());
        while !self.gone.load(Ordering::Relaxed) {
            match read(&self.file, &mut frame[..]) {
                Ok(length) => {
                    if let Err(why) = sender.send(core, self.vni, &frame[..length]) {
                        core.drops.note(why);
                    }
                }
                Err(Errno::AGAIN) => {
                    let mut waiting = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
                    // Whatever ends the wait, reading tells what it was.
                    let _ = poll(&mut waiting, PollTimeout::from(POLL_MS));
                    let broken = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
                    if waiting[0].revents().is_some_and(|found| found.intersects(broken)) {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        core.lost(self);
    }
}

/// Buffers of one reader.
#[derive(Default)]
struct Sender {
    plain: Vec<u8>,
    sealed: Vec<u8>,
    runs: Runs,
}

impl Sender {
    /// Cuts, wraps, encrypts and sends what the kernel handed over.
    fn send(&mut self, core: &Core, vni: u32, bytes: &[u8]) -> Result<(), Drop> {
        let (header, frame) = bytes.split_first_chunk().ok_or(Drop::Malformed)?;
        let header = Header::parse(header).ok_or(Drop::Malformed)?;
        let cut = Cut::new(header, frame).ok_or(Drop::Malformed)?;
        let now = core.now();
        let network = now.networks.get(&vni).ok_or(Drop::NoNetwork)?;
        let (target, _) = macs(frame).ok_or(Drop::Malformed)?;
        let address = network.way(target).ok_or(Drop::NoMember)?;
        let (peer, source) = (now.mesh.peer(address), now.mesh.address);
        let (Some(peer), Some(source)) = (peer, source) else { return Err(Drop::NoPeer) };
        let ends = Ends { source, target: peer.address, port: now.mesh.vxlan_port };
        self.seal(&cut, peer, (&ends, vni, flow(frame)))?;
        let socket = core.socket().ok_or(Drop::NotSent)?;
        let endpoint = peer.endpoint();
        peer.sent().note(cut.count(), frame.len());
        for run in self.runs.iter() {
            if !wire::send(&socket, endpoint, &self.sealed[run.start..run.end], run.size) {
                return Err(Drop::NotSent);
            }
        }
        Ok(())
    }

    /// Fills `sealed` and `runs`.
    fn seal(
        &mut self,
        cut: &Cut<'_>,
        peer: &Peer,
        (ends, vni, flow): (&Ends, u32, u16),
    ) -> Result<(), Drop> {
        let link = peer.best().ok_or(Drop::NoPeer)?;
        let longest = cut.length(0);
        let each = vxlan::HEADER + longest + ROOM;
        grow(&mut self.plain, vxlan::HEADER + longest);
        grow(&mut self.sealed, cut.count() * each);
        self.runs.clear();
        let mut session = link.session();
        let mut start = 0;
        for index in 0..cut.count() {
            let length = cut.length(index);
            let packet = &mut self.plain[..vxlan::HEADER + length];
            vxlan::wrap(ends, vni, flow, length, packet);
            cut.write(index, &mut packet[vxlan::HEADER..]);
            if let Some(sealed) = session.seal(packet, &mut self.sealed[start..]) {
                let length = sealed.len();
                self.runs.add(start, length);
                start += length;
            }
        }
        Ok(())
    }
}

fn grow(buffer: &mut Vec<u8>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
}

/// What the packets of one connection have in common, for whoever spreads them (FNV-1a).
fn flow(frame: &[u8]) -> u16 {
    let end = frame.len().min(ETHERNET + 24);
    let start = end.min(ETHERNET + 12);
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = frame[start..end].iter().fold(0x811c_9dc5, mix);
    (hash ^ hash >> 16) as u16
}
