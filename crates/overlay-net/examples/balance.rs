//! Measures what a virtual address costs against connecting to its backend directly: new
//! connections per second, and the time of an exchange on an open one. Two hosts in namespaces of
//! this machine, the server on the one and the client on the other or the same. Prints a line per
//! figure for `cargo xtask bench net`: its name, unit and values, with tabs between. Needs root.

use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::socket::{setsockopt, sockopt};
use swarm_overlay_net::link::{Links, Veth};
use swarm_overlay_net::netns::{self, NetNs};
use swarm_overlay_net::{
    Attachment, Balance, NetConfig, NetworkTable, NodeNet, Peer, RemoteEndpoint, VXLAN_PORT, Vip,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Both ways are measured in turn, so that both see the same machine.
const ROUNDS: usize = 7;
/// Few enough that all rounds fit what one namespace remembers of closed connections.
const CONNECTIONS: usize = 4000;
const EXCHANGES: usize = 8000;
const SERVER: u8 = 11;
const VIRTUAL: u8 = 5;
const PORT: u16 = 80;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let bed = Bed { folder: folder.path().to_owned() };
    let clients = bed.build().await?;
    for (place, client) in ["other node", "same node"].iter().zip(clients) {
        let figures = client.run(measure).await??;
        for (name, unit, values) in figures {
            let values: Vec<String> = values.iter().map(|v| format!("{v:.3}")).collect();
            println!("{name}, server on the {place}\t{unit}\t{}", values.join(","));
        }
    }
    Ok(())
}

type Figures = Vec<(&'static str, &'static str, Vec<f64>)>;

fn measure() -> io::Result<Figures> {
    let (direct, through) = ((address(SERVER), PORT), (address(VIRTUAL), PORT));
    let (mut rates, mut times) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..ROUNDS {
        for (way, to) in [direct, through].into_iter().enumerate() {
            rates[way].push(connect(to.into())?);
            times[way].push(exchange(to.into())?);
        }
    }
    let pairs = |all: &[Vec<f64>; 2], by: fn(f64, f64) -> f64| -> Vec<f64> {
        all[0].iter().zip(&all[1]).map(|(direct, through)| by(*direct, *through)).collect()
    };
    let share = pairs(&rates, |direct, through| through / direct);
    let added = pairs(&times, |direct, through| through - direct);
    let ([direct, through], [direct_time, through_time]) = (rates, times);
    Ok(vec![
        ("new connections, direct", "1/s", direct),
        ("new connections, virtual address", "1/s", through),
        ("new connections, virtual address : direct", "", share),
        ("exchange p50, direct", "us", direct_time),
        ("exchange p50, virtual address", "us", through_time),
        ("exchange p50, added by the virtual address", "us", added),
    ])
}

/// Connections with one exchange each, per second.
fn connect(to: SocketAddr) -> io::Result<f64> {
    let begun = Instant::now();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(to)?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        // Closed by a reset: the port is free for the next round.
        let none = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&stream, sockopt::Linger, &none)?;
    }
    Ok(CONNECTIONS as f64 / begun.elapsed().as_secs_f64())
}

/// Microseconds that half of the exchanges on one connection take at most.
fn exchange(to: SocketAddr) -> io::Result<f64> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let mut times = Vec::with_capacity(EXCHANGES);
    for _ in 0..EXCHANGES {
        let begun = Instant::now();
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[EXCHANGES / 2])
}

/// Everything made for the measurement; removed with it.
struct Bed {
    folder: PathBuf,
}

impl Bed {
    /// Namespaces of clients: on the other node than the server's, and on the same.
    async fn build(&self) -> Outcome<[NetNs; 2]> {
        let hub = Links::open(&NetNs::create(&self.folder.join("hub")).await?).await?;
        let bridge = hub.add_bridge("br0").await?;
        let mut nodes = vec![];
        for number in 0..2 {
            nodes.push(self.node(&hub, bridge, number).await?);
        }
        for (number, node) in (0..).zip(&nodes) {
            node.apply(table(number)).await?;
        }
        let client = container(&nodes[0], 10).await?;
        let server = container(&nodes[1], SERVER).await?;
        let near = container(&nodes[1], 12).await?;
        let listener = server.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))).await??;
        std::thread::spawn(move || serve(&listener));
        Ok([client, near])
    }

    async fn node(&self, hub: &Links, bridge: u32, number: u8) -> Outcome<NodeNet> {
        let name = format!("node{number}");
        let path = self.folder.join(&name);
        let ns = NetNs::create(&path).await?;
        let veth = Veth {
            name: &name,
            mac: None,
            controller: Some(bridge),
            peer: "eth0",
            peer_mac: None,
            peer_ns: &ns,
            mtu: None,
        };
        hub.add_veth(&veth).await?;
        let links = Links::open(&ns).await?;
        links.set_up("lo").await?;
        links.add_address("eth0", underlay(number).into(), 24).await?;
        links.set_up("eth0").await?;
        hub.wait_ready(&name).await?;
        let config = NetConfig {
            run_dir: self.folder.join(format!("run{number}")),
            underlay: underlay(number).into(),
            vxlan_port: VXLAN_PORT,
            host_netns: Some(path),
        };
        Ok(NodeNet::open(config).await?)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        unpin(&self.folder);
    }
}

fn unpin(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            unpin(&path);
        } else if netns::is_pinned(&path) {
            // What cannot be removed is left for whoever empties the folder of temporary files.
            let _ = netns::delete(&path);
        }
    }
}

async fn container(node: &NodeNet, last: u8) -> Outcome<NetNs> {
    let attachment = Attachment { network_id: "bench".into(), address: address(last).into() };
    let made = node.create_sandbox(&format!("c{last}"), vec![attachment], vec![]).await?;
    Ok(NetNs::open(&made.netns)?)
}

fn table(number: u8) -> NetworkTable {
    let other = 1 - number;
    let on_other =
        |last: &u8| RemoteEndpoint { address: address(*last), underlay: underlay(other).into() };
    let remote: &[u8] = if number == 0 { &[SERVER, 12] } else { &[10] };
    NetworkTable {
        id: "bench".into(),
        name: "bench".into(),
        vni: 4096,
        subnet: ipnet::Ipv4Net::new_assert(address(0), 24),
        more: vec![],
        six: None,
        gateway: address(1),
        node_address: address(200 + number),
        mtu: None,
        internal: false,
        ingress: false,
        peers: vec![Peer {
            underlay: underlay(other).into(),
            node_address: address(200 + other),
            mtu: None,
        }],
        endpoints: remote.iter().map(on_other).collect(),
        services: vec![Vip {
            address: address(VIRTUAL),
            backends: vec![address(SERVER)],
            balance: Balance::default(),
        }],
    }
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 9, last)
}

fn underlay(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, number + 1)
}

/// One thread answers one client at a time: the client asks no more.
fn serve(listener: &TcpListener) {
    for mut stream in listener.incoming().flatten() {
        // Without it, an answer would wait for the client's next word.
        let _ = stream.set_nodelay(true);
        let mut byte = [0];
        while stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte)).is_ok() {}
    }
}
