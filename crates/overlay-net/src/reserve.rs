//! Host ports held by bound sockets that never listen: another container or a process of the host
//! that wants the same one is told so, and the kernel chooses the free ones.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, bind, getsockname, setsockopt,
    socket, sockopt,
};

use crate::error::{Context, Result};
use crate::netns::NetNs;
use crate::table::Protocol;

/// A port of the host, held until dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// Port, chosen by the kernel when 0 was asked for.
    pub port: u16,
    _socket: OwnedFd,
}

/// Binds the port in the host's namespace; `EADDRINUSE` when somebody has it.
pub(crate) async fn reserve(
    host: &NetNs,
    address: Option<Ipv4Addr>,
    protocol: Protocol,
    port: u16,
) -> Result<Reservation> {
    let at = SocketAddrV4::new(address.unwrap_or(Ipv4Addr::UNSPECIFIED), port);
    let bound = host.run(move || bind_here(at, protocol)).await?;
    bound.context(|| format!("reserve port {port}/{protocol}"))
}

fn bind_here(at: SocketAddrV4, protocol: Protocol) -> nix::Result<Reservation> {
    let (kind, number) = match protocol {
        Protocol::Tcp => (SockType::Stream, Some(SockProtocol::Tcp)),
        Protocol::Udp => (SockType::Datagram, Some(SockProtocol::Udp)),
        Protocol::Sctp => (SockType::Stream, Some(SockProtocol::Sctp)),
    };
    let socket = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, number)?;
    if protocol == Protocol::Tcp {
        // Connections of an earlier holder that still time out do not count.
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrIn::from(at))?;
    let port = getsockname::<SockaddrIn>(socket.as_raw_fd())?.port();
    Ok(Reservation { port, _socket: socket })
}
