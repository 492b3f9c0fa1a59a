//! A network with many services: one change stays one change. Times are printed, never judged.

use std::time::Instant;

use super::world::*;
use crate::table::{Attachment, Balance, RemoteEndpoint, Vip};

const SERVICES: u16 = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn one_endpoint_more_among_a_thousand_services_is_a_few_changes() {
    let world = World::new(2).await;
    let net = &world.hosts[0].net;
    let mut table = world.table(1, 0, &[]);
    table.subnet = "10.0.0.0/16".parse().unwrap();
    let at = |n: u16| std::net::Ipv4Addr::new(10, 0, 100 + (n / 250) as u8, (n % 250) as u8);
    for n in 0..SERVICES {
        let backends: Vec<_> = (0..3).map(|b| at(SERVICES + n * 3 + b)).collect();
        let underlay = underlay(1).into();
        table.endpoints.extend(backends.iter().map(|a| RemoteEndpoint { address: *a, underlay }));
        table.services.push(Vip { address: at(n), backends, balance: Balance::default() });
    }
    let start = Instant::now();
    net.apply(table.clone()).await.unwrap();
    println!("first apply: {:?}", start.elapsed());
    for n in 0..5 {
        let address = at(SERVICES * 4 + n);
        table.endpoints.push(RemoteEndpoint { address, underlay: underlay(1).into() });
        table.services[7].backends.push(address);
        let start = Instant::now();
        let applied = net.apply(table.clone()).await.unwrap();
        println!("one endpoint more: {:?}", start.elapsed());
        assert_eq!(applied.changes, 2);
    }
    let start = Instant::now();
    assert_eq!(net.apply(table).await.unwrap().changes, 0);
    println!("nothing to do: {:?}", start.elapsed());
    world.apply(2, &[], |_| {}).await;
    for last in 10..30 {
        let attachment = Attachment { network_id: "net2".into(), address: address(2, last).into() };
        let start = Instant::now();
        net.create_sandbox(&format!("c{last}"), vec![attachment], vec![]).await.unwrap();
        println!("sandbox: {:?}", start.elapsed());
    }
}
