//! Names as containers see them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use support::{Cluster, Container, eventually};

fn addresses_of(cluster: &Cluster, service: &str) -> BTreeSet<String> {
    cluster.containers_of(service).iter().map(Container::address).collect()
}

/// Waits until a name has exactly these addresses.
fn wait_resolved(container: &Container, name: &str, wanted: &BTreeSet<String>) {
    eventually(&format!("{name} is {wanted:?}"), || {
        let found = container.resolve(name)?;
        if found == *wanted { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn services_tasks_and_aliases_have_names_in_the_networks_they_share() {
    let cluster = Cluster::with_busybox(1, 1);
    cluster.shell("m1", "swarmctl network create net").ok();
    cluster.sleepers("web", "--network name=net,alias=www --replicas 3");
    cluster.sleepers("client", "--network net --mode global");
    cluster.wait_running("m1", "web", 3);
    cluster.wait_running("m1", "client", 2);
    let tasks = addresses_of(&cluster, "web");
    assert_eq!(tasks.len(), 3);
    for node in ["m1", "w1"] {
        let client = cluster.container("client", node);
        wait_resolved(&client, "tasks.web", &tasks);
        let service = client.resolve("web").unwrap();
        assert_eq!(service.len(), 1);
        assert!(service.is_disjoint(&tasks), "one address of its own: {service:?}");
        for name in ["www", "web.net", "WEB", "www.net"] {
            assert_eq!(client.resolve(name).as_ref(), Ok(&service), "{name} on {node}");
        }
        for name in ["tasks.web.net", "tasks.www"] {
            assert_eq!(client.resolve(name).as_ref(), Ok(&tasks), "{name} on {node}");
        }
        for task in cluster.containers_of("web") {
            let own = BTreeSet::from([task.address()]);
            assert_eq!(client.resolve(&task.task).as_ref(), Ok(&own), "{}", task.task);
        }
        let pointer = client.run(&format!("nslookup {}", tasks.first().unwrap())).ok();
        assert!(pointer.contains("name = web."), "{pointer}");
    }
    let resolv = cluster.container("client", "m1").run("cat /etc/resolv.conf").ok();
    assert!(resolv.starts_with("nameserver 127.0.0.11"), "{resolv}");
}

#[test]
fn names_follow_the_tasks() {
    let cluster = Cluster::with_busybox(1, 1);
    cluster.shell("m1", "swarmctl network create net").ok();
    cluster.sleepers("web", "--network net --replicas 1 --update-monitor 1ms");
    cluster.sleepers("client", "--network net --constraint node.hostname==m1");
    cluster.wait_running("m1", "web", 1);
    cluster.wait_running("m1", "client", 1);
    let client = cluster.container("client", "m1");
    let service = client.resolve("web").unwrap();
    for replicas in [4, 2] {
        cluster.shell("m1", &format!("swarmctl service scale web={replicas}")).ok();
        eventually("as many containers as replicas", || {
            let now = cluster.containers_of("web").len();
            if now == replicas { Ok(()) } else { Err(format!("{now}")) }
        });
        wait_resolved(&client, "tasks.web", &addresses_of(&cluster, "web"));
    }
    assert_eq!(client.resolve("web"), Ok(service), "the service's address stays");
    cluster.shell("m1", "swarmctl service rm web").ok();
    eventually("the name is gone", || match client.resolve("web") {
        Ok(found) => Err(format!("{found:?}")),
        Err(_) => Ok(()),
    });
}

#[test]
fn a_service_without_virtual_address_is_all_its_tasks() {
    let cluster = Cluster::with_busybox(1, 1);
    cluster.shell("m1", "swarmctl network create net").ok();
    cluster.sleepers("web", "--network net --replicas 3 --endpoint-mode dnsrr");
    cluster.sleepers("client", "--network net --constraint node.hostname==m1");
    cluster.wait_running("m1", "web", 3);
    cluster.wait_running("m1", "client", 1);
    let client = cluster.container("client", "m1");
    let tasks = addresses_of(&cluster, "web");
    wait_resolved(&client, "web", &tasks);
    wait_resolved(&client, "tasks.web", &tasks);
    let published = "swarmctl service create -d --name p --endpoint-mode dnsrr --publish 8080:80 \
                     busybox sleep 1";
    let refused = cluster.shell("m1", published).refused();
    assert!(refused.contains("dnsrr") || refused.contains("ingress"), "{refused}");
}

#[test]
fn an_unknown_name_fails_at_once_and_one_of_another_network_is_unknown() {
    let cluster = Cluster::with_busybox(1, 0);
    cluster.shell("m1", "swarmctl network create net && swarmctl network create other").ok();
    cluster.sleepers("hidden", "--network other");
    cluster.sleepers("plain", "");
    cluster.sleepers("client", "--network net");
    for service in ["hidden", "plain", "client"] {
        cluster.wait_running("m1", service, 1);
    }
    let client = cluster.container("client", "m1");
    for name in ["nosuch", "hidden", "tasks.hidden", "hidden.other", "plain", "www.example.com"] {
        let start = Instant::now();
        let error = client.resolve(name).expect_err(name);
        assert!(error.contains("NXDOMAIN") || error.contains("SERVFAIL"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(2), "{name} took {:?}", start.elapsed());
    }
    let own = client.resolve("client").unwrap();
    assert_eq!(own.len(), 1, "its own name is known everywhere it is");
}

#[test]
fn a_task_is_named_only_when_it_is_healthy() {
    let cluster = Cluster::with_busybox(1, 0);
    cluster.shell("m1", "swarmctl network create net").ok();
    cluster.sleepers("client", "--network net");
    let flags = "--network net --health-interval 200ms --health-start-period 60s \
                 --health-cmd 'test -e /tmp/ready'";
    cluster.sleepers("web", flags);
    cluster.wait_running("m1", "client", 1);
    let client = cluster.container("client", "m1");
    let web = cluster.container("web", "m1");
    cluster.wait_state("m1", "web", "Starting");
    let error = client.resolve("tasks.web").expect_err("not before it is healthy");
    assert!(!error.contains("SERVFAIL"), "{error}");
    web.run("touch /tmp/ready").ok();
    wait_resolved(&client, "tasks.web", &BTreeSet::from([web.address()]));
    cluster.wait_running("m1", "web", 1);
}
