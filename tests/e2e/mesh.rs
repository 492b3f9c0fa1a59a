//! What the balance promises: whom tasks see, where ports are open, how long connections last, and that nothing is lost when
//! tasks stop.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{Cluster, Container, eventually, get};

/// The client's own address and the one that the server saw; or why there is no answer.
type Asked = Result<(IpAddr, String), String>;

const PATIENCE: Duration = Duration::from_secs(3);

/// Serves in a container, until the test ends: connections and datagrams are answered with the client's address.
fn tell_clients(container: &Container, tcp: u16, udp: u16) {
    let (listener, socket) = container.in_network(|| {
        let listener = TcpListener::bind(("0.0.0.0", tcp)).unwrap();
        (listener, UdpSocket::bind(("0.0.0.0", udp)).unwrap())
    });
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let peer = stream.peer_addr().map(|peer| peer.ip().to_string());
            let _ = stream.write_all(peer.unwrap_or_default().as_bytes());
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(peer.ip().to_string().as_bytes(), peer);
        }
    });
}

fn over_tcp(address: &str, port: u16) -> Asked {
    let ask = || {
        let to = format!("{address}:{port}").parse().unwrap();
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut seen = String::new();
        stream.read_to_string(&mut seen)?;
        Ok((stream.local_addr()?.ip(), seen))
    };
    ask().map_err(|error: std::io::Error| error.to_string())
}

fn over_udp(address: &str, port: u16) -> Asked {
    let ask = || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect((address, port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"?")?;
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer)?;
        Ok((socket.local_addr()?.ip(), String::from_utf8_lossy(&buffer[..length]).into_owned()))
    };
    ask().map_err(|error: std::io::Error| error.to_string())
}

#[test]
fn a_task_sees_its_clients_own_address_whichever_node_they_ask() {
    let cluster = Cluster::with_busybox(1, 2);
    cluster.shell("m1", "swarmctl network create net").ok();
    let flags = "--network net --publish 8090:80 --publish 5390:5300/udp";
    cluster.sleepers("seer", &format!("{flags} --constraint node.hostname==w1"));
    cluster.wait_running("m1", "seer", 1);
    tell_clients(&cluster.container("seer", "w1"), 80, 5300);
    for node in ["m1", "w1", "w2"] {
        let address = cluster.address(node);
        for (port, ask) in [(8090, over_tcp as fn(&str, u16) -> _), (5390, over_udp)] {
            let asked = |ask: fn(&str, u16) -> Asked| {
                let (own, seen) = ask(&address, port)?;
                if own.to_string() == seen { Ok(()) } else { Err(format!("{own} seen as {seen}")) }
            };
            eventually(&format!("port {port} of {node}"), || asked(ask));
            // A client on the node itself, and one on another.
            for from in [node, if node == "m1" { "w2" } else { "m1" }] {
                let seen = cluster.lab().in_network(from, || asked(ask)).unwrap();
                assert_eq!(seen, Ok(()), "port {port} of {node} from {from}");
            }
        }
        let inner = cluster.lab().in_network(node, || over_tcp("127.0.0.1", 8090)).unwrap();
        inner.unwrap();
    }
}

#[test]
fn a_port_of_an_address_is_open_there_and_a_local_one_where_a_task_is() {
    let cluster = Cluster::with_busybox(1, 1);
    let on_w1 = "--constraint node.hostname==w1";
    let publish = "--publish 127.0.0.1:8091:80 --publish published=8092,target=80,mode=local";
    cluster.web("web", &format!("{publish} {on_w1}"));
    cluster.wait_running("m1", "web", 1);
    let local = |node: &str, address: &str, port| {
        cluster.lab().in_network(node, || get(address, port)).map_err(|e| e.to_string())?
    };
    for node in ["m1", "w1"] {
        eventually(&format!("the loopback of {node}"), || local(node, "127.0.0.1", 8091));
        get(&cluster.address(node), 8091).unwrap_err();
        local(node, &cluster.address(node), 8091).unwrap_err();
    }
    eventually("the task's node", || get(&cluster.address("w1"), 8092));
    get(&cluster.address("m1"), 8092).unwrap_err();
    let ports = cluster.shell("m1", "swarmctl service ls --format '{{.Ports}}'").ok();
    assert_eq!(ports, "*:8092->80/tcp, 127.0.0.1:8091->80/tcp");
    let shown = cluster.shell("m1", "swarmctl service inspect --pretty web").ok();
    assert!(shown.contains("127.0.0.1:8091 -> 80/tcp (ingress)"), "{shown}");
    assert!(shown.contains("8092 -> 80/tcp (local)"), "{shown}");
    // The same number of another address is another port.
    let own = cluster.address("m1");
    cluster.web("other", &format!("--publish {own}:8091:80 {on_w1}"));
    cluster.wait_running("m1", "other", 1);
    eventually("the other service", || get(&own, 8091));
    local("m1", "127.0.0.1", 8091).unwrap();
    let create = "swarmctl service create -d --name third --publish";
    let taken = cluster.shell("m1", &format!("{create} 8091:80 busybox sleep 1")).refused();
    assert!(taken.contains("8091") && taken.contains("third"), "{taken}");
    assert!(taken.contains("'web'") || taken.contains("'other'"), "{taken}");
    for (port, why) in [
        ("here:80:80", "want an IP address"),
        ("80:80/sctp", "not built"),
        ("[::1]:80:80", "IPv6"),
        ("published=80,target=80,proxy=v2", "PROXY protocol is not built"),
        ("published=80,target=80,mode=both", "'ingress', 'host' or 'local'"),
    ] {
        let said = cluster.shell("m1", &format!("{create} {port} busybox sleep 1")).refused();
        assert!(said.contains(why), "{port}: {said}");
    }
}

#[test]
fn a_silent_connection_is_reset_after_its_idle_timeout_and_policies_are_checked() {
    let cluster = Cluster::with_busybox(1, 1);
    cluster.shell("m1", "swarmctl network create net").ok();
    let flags = "--network net --idle-timeout 1s --lb-policy source-hash --publish 8093:80";
    cluster.sleepers("db", &format!("{flags} --constraint node.hostname==w1"));
    cluster.sleepers("client", "--network net --constraint node.hostname==m1");
    cluster.wait_running("m1", "db", 1);
    cluster.wait_running("m1", "client", 1);
    let listener = cluster.container("db", "w1").in_network(|| TcpListener::bind("0.0.0.0:80"));
    let listener = listener.unwrap();
    std::thread::spawn(move || {
        let open: Vec<TcpStream> = listener.incoming().flatten().collect();
        drop(open);
    });
    let client = cluster.container("client", "m1");
    let virtual_address = client.resolve("db").unwrap().pop_first().unwrap();
    let reset = |address: &str, port: u16| {
        let mut stream = TcpStream::connect((address, port)).map_err(|e| e.to_string())?;
        // Silence, for as long as nothing is read.
        stream.set_read_timeout(Some(Duration::from_millis(2500))).unwrap();
        let silent = stream.read(&mut [0]).unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::WouldBlock, "{silent}");
        stream.write_all(b"late").map_err(|e| e.to_string())?;
        match stream.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    eventually("in the network", || client.in_network(|| reset(&virtual_address, 80)));
    eventually("from outside", || reset(&cluster.address("m1"), 8093));
    let shown = cluster.shell("m1", "swarmctl service inspect --pretty db").ok();
    assert!(shown.contains("source-hash") && shown.contains("1s"), "{shown}");
    cluster.shell("m1", "swarmctl service update -q --idle-timeout 0s db").ok();
    let shown = cluster.shell("m1", "swarmctl service inspect --pretty db").ok();
    assert!(!shown.contains("Idle Timeout"), "{shown}");
    let create = "swarmctl service create -d --name other";
    for (flags, why) in [
        ("--lb-policy least-conn", "does not count them by backend"),
        ("--lb-policy fastest", "round-robin, random or source-hash"),
        ("--idle-timeout 500ms", "whole seconds from 1s to 120h"),
        ("--idle-timeout 121h", "whole seconds from 1s to 120h"),
        ("--idle-timeout 1h --endpoint-mode dnsrr", "can't be used with dnsrr"),
    ] {
        let said = cluster.shell("m1", &format!("{create} {flags} busybox sleep 1")).refused();
        assert!(said.contains(why), "{flags}: {said}");
    }
}

#[test]
fn a_client_that_keeps_sending_datagrams_is_led_to_a_living_task() {
    let cluster = Cluster::with_busybox(1, 1);
    cluster.shell("m1", "swarmctl network create net").ok();
    let flags = "--network net --replicas 2 --restart-condition none --publish 5394:5300/udp";
    cluster.sleepers("dns", flags);
    cluster.wait_running("m1", "dns", 2);
    let servers = cluster.containers_of("dns");
    for (number, server) in servers.iter().enumerate() {
        let socket = server.in_network(|| UdpSocket::bind("0.0.0.0:5300")).unwrap();
        std::thread::spawn(move || {
            while let Ok((_, peer)) = socket.recv_from(&mut [0; 16]) {
                let _ = socket.send_to(number.to_string().as_bytes(), peer);
            }
        });
    }
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket.connect((cluster.address("m1"), 5394)).unwrap();
    let ask = || {
        socket.send(b"?").map_err(|e| e.to_string())?;
        let mut buffer = [0; 16];
        let length = socket.recv(&mut buffer).map_err(|e| e.to_string())?;
        String::from_utf8_lossy(&buffer[..length]).parse::<usize>().map_err(|e| e.to_string())
    };
    let first = eventually("an answer", ask);
    assert_eq!(ask(), Ok(first), "one client, one task");
    let pid = nix::unistd::Pid::from_raw(servers[first].pid.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("the other task", || match ask()? {
        other if other != first => Ok(()),
        same => Err(format!("still {same}")),
    });
}

#[test]
fn no_request_is_lost_when_tasks_are_killed_the_moment_they_are_to_stop() {
    let cluster = Cluster::with_busybox(1, 2);
    let health = "--health-cmd 'wget -qO- http://127.0.0.1/' --health-interval 200ms";
    let flags = "--publish 8095:80 --replicas 3 --update-order start-first --update-monitor 1ms \
                 --update-parallelism 0";
    // Its helper's stop signal is KILL: what is led to a task that stops is lost.
    cluster.web("web", &format!("{flags} {health}"));
    cluster.wait_running("m1", "web", 3);
    let addresses = ["m1", "w1", "w2"].map(|node| cluster.address(node));
    eventually("every node answers", || {
        addresses.iter().try_for_each(|address| get(address, 8095).map(drop))
    });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking: Vec<_> = addresses
            .iter()
            .map(|address| {
                scope.spawn(|| {
                    let (mut asked, mut failed) = (0, Vec::new());
                    while !stop.load(Ordering::Relaxed) {
                        asked += 1;
                        failed.extend(get(address, 8095).err());
                    }
                    (asked, failed)
                })
            })
            .collect();
        let updates: Vec<_> =
            (0..3).map(|_| cluster.shell("m1", "swarmctl service update -q --force web")).collect();
        stop.store(true, Ordering::Relaxed);
        updates.into_iter().for_each(|update| drop(update.ok()));
        for asker in asking {
            let (asked, failed) = asker.join().unwrap();
            assert!(asked > 50, "{asked}");
            assert!(failed.is_empty(), "{} of {asked} failed: {failed:?}", failed.len());
        }
    });
}
