//! The link between one container and one network: a veth, addresses and routes at both ends.
//! Called when a sandbox is made and when an apply finds the link missing.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::error::Result;
use crate::link::{Links, Neighbour, Neighbour6, Route, Route6, Select, Veth};
use crate::naming;
use crate::record::NetworkRecord;
use crate::sysctl;
use crate::table::Six;

/// One attachment of a sandbox.
#[derive(Clone, Debug)]
pub(crate) struct Plug<'a> {
    pub network: &'a NetworkRecord,
    pub sandbox: &'a str,
    pub position: usize,
    pub address: Ipv4Addr,
    pub default_route: bool,
}

impl Plug<'_> {
    /// Makes the link; one left by a crash is replaced. `outer` speaks to the network's
    /// namespace, `inner` to the sandbox's.
    pub async fn insert(&self, outer: &Links, inner: &Links) -> Result<()> {
        let (near, far) = (self.near(), naming::inner(self.position));
        let veth = Veth {
            name: &near,
            mac: Some(naming::ROUTER_MAC),
            controller: None,
            peer: &far,
            peer_mac: Some(naming::endpoint_mac(self.address)),
            peer_ns: inner.ns(),
            mtu: Some(self.network.mtu),
        };
        let link = outer.add_veth(&veth).await?;
        let to = Ipv4Net::from(self.address);
        let mac = naming::endpoint_mac(self.address);
        outer.set_route(to, Route::Link { link }).await?;
        outer.set_neighbour(link, Neighbour::Address { address: self.address, mac }).await?;
        if let Some(six) = self.network.six {
            let address = six.of(self.address);
            outer.set_routes6(vec![(Ipv6Net::from(address), Route6::Link { link })]).await?;
            outer.set_neighbour6(link, Neighbour6 { address, mac }).await?;
        }
        self.configure(inner, &far).await?;
        outer.wait_ready(&near).await
    }

    /// Makes both ends take packets as large as the network does now.
    pub async fn resize(&self, outer: &Links, inner: &Links) -> Result<()> {
        inner.set_mtu(&naming::inner(self.position), self.network.mtu).await?;
        outer.set_mtu(&self.near(), self.network.mtu).await
    }

    /// True when both ends are there.
    pub async fn is_inserted(&self, outer: &Links, inner: &Links) -> Result<bool> {
        let far = naming::inner(self.position);
        Ok(outer.find(&self.near()).await?.is_some() && inner.find(&far).await?.is_some())
    }

    /// Name of the network's end.
    pub fn near(&self) -> String {
        naming::port(&self.network.id, self.sandbox)
    }

    /// Everything goes to the gateway, also what is for the own subnet: no address resolution.
    async fn configure(&self, inner: &Links, far: &str) -> Result<()> {
        let link = inner.index(far).await?;
        let (gateway, subnet) = (self.network.gateway, self.network.subnet);
        let subnet = self.network.subnets().find(|s| s.contains(&self.address)).unwrap_or(subnet);
        let address = IpAddr::V4(self.address);
        inner.add_address_at(link, address, subnet.prefix_len(), true).await?;
        inner.set_up(far).await?;
        let mac = naming::ROUTER_MAC;
        inner.set_neighbour(link, Neighbour::Address { address: gateway, mac }).await?;
        inner.set_route(Ipv4Net::from(gateway), Route::Link { link }).await?;
        self.route_subnets(inner).await?;
        if let Some(six) = self.network.six {
            self.configure_six(inner, far, six).await?;
        }
        let out = Route::Via { gateway, link };
        if self.default_route {
            inner.set_route(Ipv4Net::default(), out).await?;
        }
        if self.network.ingress {
            // Also to clients whose address is in another network of the container.
            inner.set_detour(Select::Source(self.address), Some(out)).await?;
        }
        Ok(())
    }

    /// Leads to all subnets of the network, also those that it got since the container was made.
    pub async fn route_subnets(&self, inner: &Links) -> Result<()> {
        let link = inner.index(&naming::inner(self.position)).await?;
        let via = Route::Via { gateway: self.network.gateway, link };
        let routes = self.network.subnets().map(|subnet| (subnet.trunc(), via)).collect();
        inner.set_routes(routes).await
    }

    /// The IPv6 address that goes with the other, and the way into its network. There is none out.
    async fn configure_six(&self, inner: &Links, far: &str, six: Six) -> Result<()> {
        sysctl::sandbox_link_six(inner.ns(), far).await?;
        let link = inner.index(far).await?;
        let address = IpAddr::V6(six.of(self.address));
        inner.add_address_at(link, address, six.subnet.prefix_len(), true).await?;
        let (gateway, mac) = (six.gateway, naming::ROUTER_MAC);
        inner.set_neighbour6(link, Neighbour6 { address: gateway, mac }).await?;
        let subnet = (six.subnet.trunc(), Route6::Via { gateway, link });
        inner.set_routes6(vec![(Ipv6Net::from(gateway), Route6::Link { link }), subnet]).await?;
        inner.wait_local6(six.of(self.address)).await
    }
}
