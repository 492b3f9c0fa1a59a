//! The UDP socket of the mesh: datagrams of one size leave in one call (UDP GSO) and arrive in one
//! (UDP GRO).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt,
};

/// Segments that the kernel takes in one call (UDP_MAX_SEGMENTS of all its versions).
const SEGMENTS_MAX: usize = 64;
/// Bytes that a UDP datagram holds, and so one call.
const BYTES_MAX: usize = 65_507;
/// Buffers of the socket: some milliseconds of a fast wire.
const SOCKET_BUFFER: usize = 8 << 20;
/// A receiver looks this often whether it is still wanted.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(500);

/// Datagrams in one buffer, each of `size` bytes but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub start: usize,
    pub end: usize,
    pub size: usize,
}

/// Groups datagrams that lie one after the other into as few calls as the kernel allows.
#[derive(Debug, Default)]
pub struct Runs {
    runs: Vec<Run>,
    open: bool,
}

impl Runs {
    /// Adds the datagram that ends the buffer now.
    pub fn add(&mut self, start: usize, length: usize) {
        let end = start + length;
        if let Some(run) = self.runs.last_mut() {
            let count = (run.end - run.start) / run.size;
            let fits = count < SEGMENTS_MAX && end - run.start <= BYTES_MAX;
            if self.open && fits && length <= run.size && run.end == start {
                run.end = end;
                self.open = length == run.size;
                return;
            }
        }
        self.runs.push(Run { start, end, size: length });
        self.open = length > 0;
    }

    pub fn clear(&mut self) {
        self.runs.clear();
    }

    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }
}

/// A socket on the port, on all addresses: the way to a peer decides which one is used.
pub fn bind(port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
    setsockopt(&socket, sockopt::UdpGroSegment, &true)?;
    for force in [true, false] {
        let set = if force {
            setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER).and(setsockopt(
                &socket,
                sockopt::SndBufForce,
                &SOCKET_BUFFER,
            ))
        } else {
            setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BUFFER).and(setsockopt(
                &socket,
                sockopt::SndBuf,
                &SOCKET_BUFFER,
            ))
        };
        if set.is_ok() {
            break;
        }
    }
    Ok(socket)
}

/// Sends a run; one at a time where the kernel does not take it whole. Returns whether all left.
pub fn send(socket: &UdpSocket, to: SocketAddr, bytes: &[u8], size: usize) -> bool {
    let SocketAddr::V4(to) = to else { return false };
    let address = SockaddrIn::from(to);
    if bytes.len() > size
        && let Ok(segment) = u16::try_from(size)
    {
        let control = [ControlMessage::UdpGsoSegments(&segment)];
        let parts = [IoSlice::new(bytes)];
        let flags = MsgFlags::empty();
        match sendmsg(socket.as_raw_fd(), &parts, &control, flags, Some(&address)) {
            Ok(_) => return true,
            Err(Errno::ENOBUFS | Errno::ENETUNREACH | Errno::EHOSTUNREACH) => return false,
            // A path of smaller packets, or a device without checksums: fragments do.
            Err(_) => {}
        }
    }
    let mut all = true;
    for datagram in bytes.chunks(size.max(1)) {
        all &= socket.send_to(datagram, to).is_ok();
    }
    all
}

/// What arrived: bytes, size of each datagram but the last, sender.
pub fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
) -> io::Result<Option<(usize, usize, SocketAddr)>> {
    let mut control = cmsg_space!(i32);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::empty();
    let received = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags);
    let message = match received {
        Ok(message) => message,
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(from) = message.address else { return Ok(None) };
    let from = SocketAddrV4::new(from.ip(), from.port());
    let mut size = message.bytes;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::UdpGroSegments(segment) = part
            && let Ok(segment) = usize::try_from(segment)
        {
            size = segment;
        }
    }
    Ok(Some((message.bytes, size.max(1), SocketAddr::V4(from))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_with_a_shorter_datagram_and_at_the_kernels_limits() {
        let mut runs = Runs::default();
        for (start, length) in [(0, 100), (100, 100), (200, 50), (250, 100)] {
            runs.add(start, length);
        }
        let found: Vec<_> = runs.iter().map(|r| (r.start, r.end, r.size)).collect();
        assert_eq!(found, [(0, 250, 100), (250, 350, 100)]);
        let mut runs = Runs::default();
        (0..100).for_each(|n| runs.add(n * 1472, 1472));
        assert!(runs.iter().all(|r| r.end - r.start <= BYTES_MAX));
        let mut small = Runs::default();
        (0..130).for_each(|n| small.add(n * 10, 10));
        assert_eq!(small.iter().count(), 3);
    }

    #[test]
    fn datagrams_sent_in_one_call_arrive_as_they_were() {
        let (from, to) = (bind(0).unwrap(), bind(0).unwrap());
        let port = to.local_addr().unwrap().port();
        let bytes: Vec<u8> = (0..2500u32).map(|n| n as u8).collect();
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert!(send(&from, target, &bytes, 1000));
        let (mut arrived, mut buffer) = (Vec::new(), vec![0; 65_536]);
        while arrived.len() < 3 {
            let Some((length, size, _)) = receive(&to, &mut buffer).unwrap() else { continue };
            arrived.extend(buffer[..length].chunks(size).map(<[u8]>::to_vec));
        }
        assert_eq!(arrived, bytes.chunks(1000).map(<[u8]>::to_vec).collect::<Vec<_>>());
    }
}
