//! Hosts in namespaces of their own on one bridge, a data plane in each, and clients and servers.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::link::{Links, Veth};
use crate::netns::NetNs;
use crate::node::{NetConfig, NodeNet, VXLAN_PORT};
use crate::table::{
    Attachment, Balance, HostPort, IngressPort, NetworkTable, Peer, Protocol, RemoteEndpoint,
    Sandbox, Vip,
};
use crate::testbed::Scratch;

/// An answer comes within this time or not at all.
const PATIENCE: Duration = Duration::from_secs(3);

pub struct World {
    pub scratch: Scratch,
    pub hosts: Vec<Host>,
    /// A machine on the wire without a data plane, at 192.0.2.100.
    pub client: NetNs,
}

pub struct Host {
    pub ns: NetNs,
    pub net: NodeNet,
    pub config: NetConfig,
}

impl World {
    pub async fn new(hosts: usize) -> Self {
        Self::of(&vec![1500; hosts]).await
    }

    /// One host per number: the largest packet of its link.
    pub async fn of(hosts: &[u32]) -> Self {
        let scratch = Scratch::new();
        let hub = Links::open(&scratch.ns("hub").await).await.unwrap();
        hub.set_up("lo").await.unwrap();
        let bridge = hub.add_bridge("br0").await.unwrap();
        let client = wire(&scratch, &hub, bridge, "client", (underlay(99), 1500)).await;
        let mut world = Self { scratch, hosts: vec![], client };
        for (number, mtu) in hosts.iter().enumerate() {
            let name = format!("host{number}");
            let ns = wire(&world.scratch, &hub, bridge, &name, (underlay(number), *mtu)).await;
            let config = NetConfig {
                run_dir: world.scratch.path(&format!("run{number}")),
                underlay: underlay(number).into(),
                vxlan_port: VXLAN_PORT,
                host_netns: Some(world.scratch.path(&name)),
            };
            let net = NodeNet::open(config.clone()).await.unwrap();
            world.hosts.push(Host { ns, net, config });
        }
        world
    }

    /// The table of the network as host `at` sees it; `endpoints` are (host, last octet).
    pub fn table(&self, net: u8, at: usize, endpoints: &[(usize, u8)]) -> NetworkTable {
        let others: Vec<usize> = (0..self.hosts.len()).filter(|n| *n != at).collect();
        NetworkTable {
            id: format!("net{net}"),
            name: format!("network-{net}"),
            vni: 4096 + u32::from(net),
            subnet: format!("10.0.{net}.0/24").parse().unwrap(),
            more: vec![],
            six: None,
            gateway: address(net, 1),
            node_address: node_address(net, at),
            mtu: None,
            internal: false,
            ingress: false,
            peers: others
                .iter()
                .map(|n| Peer {
                    underlay: underlay(*n).into(),
                    node_address: node_address(net, *n),
                    mtu: None,
                })
                .collect(),
            endpoints: endpoints
                .iter()
                .filter(|(host, _)| *host != at)
                .map(|(host, last)| RemoteEndpoint {
                    address: address(net, *last),
                    underlay: underlay(*host).into(),
                })
                .collect(),
            services: vec![],
        }
    }

    /// Applies a network on all hosts, `change` having the last word on each table.
    pub async fn apply(
        &self,
        net: u8,
        endpoints: &[(usize, u8)],
        change: impl Fn(&mut NetworkTable),
    ) {
        for (at, host) in self.hosts.iter().enumerate() {
            let mut table = self.table(net, at, endpoints);
            change(&mut table);
            host.net.apply(table).await.unwrap();
        }
    }

    /// A container `c<last>` on a host, in one network.
    pub async fn container(&self, host: usize, net: u8, last: u8, ports: Vec<HostPort>) -> NetNs {
        self.container_on(host, &[net], last, ports).await
    }

    /// A container in several networks, in this order.
    pub async fn container_on(
        &self,
        host: usize,
        nets: &[u8],
        last: u8,
        ports: Vec<HostPort>,
    ) -> NetNs {
        let attach = |net: &u8| Attachment {
            network_id: format!("net{net}"),
            address: address(*net, last).into(),
        };
        let id = format!("c{last}");
        let attachments = nets.iter().map(attach).collect();
        let made = self.hosts[host].net.create_sandbox(&id, attachments, ports);
        let Sandbox { netns, .. } = made.await.unwrap();
        NetNs::open(&netns).unwrap()
    }
}

async fn wire(
    scratch: &Scratch,
    hub: &Links,
    bridge: u32,
    name: &str,
    (address, mtu): (Ipv4Addr, u32),
) -> NetNs {
    let ns = scratch.ns(name).await;
    let veth = Veth {
        name,
        mac: None,
        controller: Some(bridge),
        peer: "eth0",
        peer_mac: None,
        peer_ns: &ns,
        mtu: Some(mtu),
    };
    hub.add_veth(&veth).await.unwrap();
    let links = Links::open(&ns).await.unwrap();
    links.set_up("lo").await.unwrap();
    links.add_address("eth0", address.into(), 24).await.unwrap();
    links.set_up("eth0").await.unwrap();
    hub.wait_ready(name).await.unwrap();
    ns
}

pub fn underlay(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, host as u8 + 1)
}

pub fn address(net: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, net, last)
}

fn node_address(net: u8, host: usize) -> Ipv4Addr {
    address(net, 200 + host as u8)
}

pub fn vip(net: u8, last: u8, backends: &[u8]) -> Vip {
    Vip {
        address: address(net, last),
        backends: backends.iter().map(|last| address(net, *last)).collect(),
        balance: Balance::default(),
    }
}

/// A port of every node that leads to the service 10.0.9.5 of the ingress network.
pub fn published(protocol: Protocol, published: u16, target: u16) -> IngressPort {
    let vip = address(9, 5);
    IngressPort { protocol, published, target, vip, host_ip: None, local: false }
}

pub fn host_port(published: u16, target: u16, protocol: Protocol) -> HostPort {
    HostPort { host_ip: None, published, target, protocol }
}

/// Answers every connection with `<tag> <address of the client>`.
pub async fn serve_tcp(ns: &NetNs, port: u16, tag: &str) {
    let bind = move || {
        let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    };
    let listener = tokio::net::TcpListener::from_std(ns.run(bind).await.unwrap()).unwrap();
    let tag = tag.to_owned();
    tokio::spawn(async move {
        while let Ok((mut stream, from)) = listener.accept().await {
            let _ = stream.write_all(format!("{tag} {}", from.ip()).as_bytes()).await;
        }
    });
}

/// Answers every datagram with `<tag> <address of the client>`.
pub async fn serve_udp(ns: &NetNs, port: u16, tag: &str) {
    let bind = move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let socket = tokio::net::UdpSocket::from_std(ns.run(bind).await.unwrap()).unwrap();
    let tag = tag.to_owned();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(format!("{tag} {}", from.ip()).as_bytes(), from).await;
        }
    });
}

/// Connects from a namespace and returns what the server says.
pub async fn ask_tcp(ns: &NetNs, to: impl Into<SocketAddr>) -> io::Result<String> {
    let to = to.into();
    ns.run(move || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })
    .await
    .unwrap()
}

pub async fn ask_udp(ns: &NetNs, to: impl Into<SocketAddr>) -> io::Result<String> {
    let socket = udp(ns, to).await;
    ns.run(move || exchange(&socket)).await.unwrap()
}

/// A connected UDP socket of a namespace.
pub async fn udp(ns: &NetNs, to: impl Into<SocketAddr>) -> UdpSocket {
    let to = to.into();
    ns.run(move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    })
    .await
    .unwrap()
}

pub fn exchange(socket: &UdpSocket) -> io::Result<String> {
    socket.send(b"?")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// The rules as the `nft` tool prints them, when it is installed.
pub async fn ruleset(ns: &NetNs) -> String {
    ns.run(|| {
        let output = std::process::Command::new("nft").args(["list", "ruleset"]).output();
        output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default()
    })
    .await
    .unwrap()
}

/// Files below a directory.
pub fn files(dir: &Path) -> Vec<String> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

/// Sends one line over a stream kept open and reads the echo.
pub fn echo(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

/// Echoes bytes on every connection until it ends.
pub async fn serve_echo(ns: &NetNs, port: u16) {
    let bind = move || {
        let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    };
    let listener = tokio::net::TcpListener::from_std(ns.run(bind).await.unwrap()).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
}

/// Sends a megabyte to an echo server while reading it back, and compares.
pub fn megabyte(to: SocketAddr) -> io::Result<()> {
    let sent: Vec<u8> =
        (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = stream.try_clone()?;
    let length = sent.len();
    let received = std::thread::spawn(move || {
        let mut all = vec![0; length];
        reader.read_exact(&mut all).map(|()| all)
    });
    stream.write_all(&sent)?;
    assert!(received.join().unwrap()? == sent, "bytes changed on the way");
    Ok(())
}
