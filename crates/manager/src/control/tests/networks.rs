//! Networks at the door: subnets, growth, and what is refused.

use super::*;

fn service_on(name: &str, networks: &[&str]) -> CreateServiceRequest {
    let attach = |n: &&str| NetworkAttachmentConfig { target: (*n).into(), ..Default::default() };
    let task = TaskSpec {
        container: Some(ContainerSpec { image: "web:1".into(), ..ContainerSpec::default() }),
        networks: networks.iter().map(attach).collect(),
        ..TaskSpec::default()
    };
    let spec =
        ServiceSpec { annotations: annotations(name), task: Some(task), ..ServiceSpec::default() };
    CreateServiceRequest { spec: Some(spec), ..CreateServiceRequest::default() }
}

async fn refused(door: &Door, change: impl FnOnce(&mut NetworkSpec)) -> String {
    let mut spec = NetworkSpec { annotations: annotations("net"), ..NetworkSpec::default() };
    change(&mut spec);
    let request = CreateNetworkRequest { spec: Some(spec), ..CreateNetworkRequest::default() };
    network::create(door, request).await.unwrap_err().to_string()
}

fn subnet(text: &str) -> IpamConfig {
    IpamConfig { subnet: text.into(), ..IpamConfig::default() }
}

#[tokio::test]
async fn networks_may_overlap_but_not_where_one_service_is_on_both() {
    let door = door().await;
    make_network(&door, "front", "10.9.0.0/16").await.unwrap();
    let spec = NetworkSpec {
        annotations: annotations("back"),
        ipam: vec![subnet("10.9.1.0/24")],
        ..NetworkSpec::default()
    };
    let request = CreateNetworkRequest { spec: Some(spec), ..CreateNetworkRequest::default() };
    let warnings = network::create(&door, request).await.unwrap().warnings;
    let wanted = "subnet 10.9.1.0/24 overlaps with subnet 10.9.0.0/16 of network front: no service \
                  can be on both";
    assert_eq!(warnings, [wanted]);
    let both = service_on("both", &["front", "back"]);
    let text = service::create(&door, both).await.unwrap_err().to_string();
    assert!(text.contains("front") && text.contains("back") && text.contains("10.9.1.0/24"));
    service::create(&door, service_on("one", &["back"])).await.unwrap();
    door.write(|tx| {
        let mut ingress = tx.view().get::<Network>("in").cloned().unwrap();
        ingress.subnet = "10.0.0.0/20".into();
        Ok(tx.update(ingress)?)
    })
    .await
    .unwrap();
    let text = make_network(&door, "low", "10.0.1.0/24").await.unwrap_err().to_string();
    assert_eq!(
        text,
        "subnet 10.0.1.0/24 of network low overlaps with subnet 10.0.0.0/20 of network ingress"
    );
}

#[tokio::test]
async fn names_that_are_taken_or_predefined_are_refused() {
    let door = door().await;
    make_network(&door, "front", "").await.unwrap();
    let text = make_network(&door, "front", "").await.unwrap_err().to_string();
    assert_eq!(text, "network with name front already exists");
    let text = make_network(&door, "host", "").await.unwrap_err().to_string();
    assert_eq!(text, "operation is not permitted on predefined host network");
}

#[tokio::test]
async fn subnets_that_cannot_be_right_are_refused_by_their_value() {
    let door = door().await;
    let cases: [(&str, &[&str], bool); 7] = [
        ("nonsense", &["subnet nonsense is not valid"], false),
        ("10.1.0.0/30", &["10.1.0.0/30 is too small", "/29"], false),
        ("10.1.0.1/24", &["did you mean 10.1.0.0/24"], false),
        ("fd00::/64", &["fd00::/64 needs IPv6", "--ipv6"], false),
        ("fd00::/112", &["fd00::/112 is too small", "/96"], true),
        ("fd00::1/64", &["did you mean fd00::/64"], true),
        ("", &["every ip-range or gateway must have a corresponding subnet"], false),
    ];
    for (text, words, ipv6) in cases {
        let said = refused(&door, |spec| {
            spec.ipv6 = ipv6;
            spec.ipam = vec![subnet(text)];
        });
        let said = said.await;
        assert!(words.iter().all(|word| said.contains(word)), "{text}: {said}");
    }
    let said = refused(&door, |s| s.ipam = vec![subnet("10.1.0.0/16"), subnet("10.1.1.0/24")]);
    assert!(said.await.contains("multiple overlapping subnet configuration is not supported"));
    let outside = IpamConfig {
        reserved: [("a".to_owned(), "10.2.0.1".to_owned())].into(),
        ..subnet("10.1.0.0/16")
    };
    let said = refused(&door, |s| s.ipam = vec![outside]).await;
    assert!(said.contains("aux-address 10.2.0.1 is not valid or not in 10.1.0.0/16"), "{said}");
}

#[tokio::test]
async fn an_mtu_out_of_range_is_refused_with_the_range() {
    let door = door().await;
    for (key, value) in [("mtu", "100"), ("com.docker.network.driver.mtu", "70000"), ("mtu", "x")] {
        let said = refused(&door, |s| {
            s.driver_opts.insert(key.into(), value.into());
        });
        let said = said.await;
        assert!(
            said.contains(&format!("mtu {value} is out of range, want 576 to 65485")),
            "{said}"
        );
    }
}

async fn update(
    door: &Door,
    name: &str,
    edit: impl FnOnce(&mut NetworkSpec),
) -> Result<Network, Refusal> {
    let request = GetNetworkRequest { network: name.into() };
    let network = network::get(door, request).await.unwrap().network.unwrap();
    let mut spec = network.spec.clone().unwrap();
    edit(&mut spec);
    let request = UpdateNetworkRequest {
        network_id: network.id,
        version: network.meta.unwrap().version,
        spec: Some(spec),
    };
    Ok(network::update(door, request).await?.network.unwrap())
}

#[tokio::test]
async fn a_network_grows_and_never_shrinks() {
    let door = door().await;
    let made = make_network(&door, "front", "10.9.0.0/24").await.unwrap();
    door.write(|tx| {
        let mut network = tx.view().get::<Network>(&made.id).cloned().unwrap();
        (network.subnet, network.gateway) = ("10.9.0.0/24".into(), "10.9.0.1".into());
        Ok(tx.update(network)?)
    })
    .await
    .unwrap();
    let grown = update(&door, "front", |s| s.ipam.push(subnet("10.77.0.0/24"))).await.unwrap();
    assert_eq!(grown.asked_subnets().len(), 2);
    update(&door, "front", |s| s.ipam[0] = subnet("10.9.0.0/16")).await.unwrap();
    for shrunk in ["10.9.0.0/25", "10.10.0.0/16"] {
        let text = update(&door, "front", |s| s.ipam[0] = subnet(shrunk)).await.unwrap_err();
        assert!(text.to_string().contains("10.9.0.0/24 can only grow"), "{text}");
    }
    let text = update(&door, "front", |s| s.internal = true).await.unwrap_err().to_string();
    assert_eq!(text, "network front: only updates to labels, and subnets that grow, are allowed");
    let labelled = update(&door, "front", |s| {
        s.annotations.as_mut().unwrap().labels.insert("a".into(), "b".into());
    });
    assert_eq!(labelled.await.unwrap().labels().unwrap()["a"], "b");
}

#[tokio::test]
async fn a_network_does_not_grow_into_another_one_of_the_same_service() {
    let door = door().await;
    make_network(&door, "front", "10.9.0.0/24").await.unwrap();
    make_network(&door, "back", "10.9.1.0/24").await.unwrap();
    service::create(&door, service_on("both", &["front", "back"])).await.unwrap();
    let text = update(&door, "front", |s| s.ipam[0] = subnet("10.9.0.0/16")).await.unwrap_err();
    let text = text.to_string();
    assert!(text.contains("back") && text.contains("service both is on both"), "{text}");
}
