//! How large a packet may be between the nodes: looked up by the routes that tunnels take, and
//! remembered for a moment, since it is asked for each network.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::error::{NetError, Result};
use crate::link::{Link, Links};
use crate::table::{NetworkTable, Peer};

/// How long what was looked up is believed: shorter than the time between two repairs.
const BELIEVED: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(3) };
/// Bytes that VXLAN over IPv4 adds to a packet.
pub(crate) const VXLAN_OVERHEAD: u32 = 50;
/// Largest packet of a link that has no real limit.
const ETHERNET_MTU: u32 = 1500;
/// Only the loopback link has more than any wire, and nothing goes over it to another node.
const NO_REAL_LIMIT: u32 = 65_000;
/// The smallest that leaves room for what every host must take.
const LEAST: u32 = 576;

/// The underlay as this node sees it.
#[derive(Debug)]
pub(crate) struct Underlay {
    address: Ipv4Addr,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    at: Option<Instant>,
    links: Vec<Link>,
    own: u32,
    paths: BTreeMap<Ipv4Addr, u32>,
}

impl Underlay {
    /// Of the host whose data-path address is `address`; fails if that is on none of its links.
    pub async fn open(links: &Links, address: Ipv4Addr) -> Result<Self> {
        let underlay = Self { address, known: Mutex::default() };
        underlay.own(links).await?;
        Ok(underlay)
    }

    /// Largest packet of the link that has the data-path address, in bytes.
    pub async fn own(&self, links: &Links) -> Result<u32> {
        let mut known = self.known.lock().await;
        self.refresh(links, &mut known).await?;
        Ok(known.own)
    }

    /// Largest packet of a container of the network: what fits on the ways to all its nodes, and
    /// into theirs, or what was asked for. Refuses what was asked for and does not fit, unless the
    /// network is there already.
    pub async fn fitting(&self, links: &Links, table: &NetworkTable, fresh: bool) -> Result<u32> {
        let mut known = self.known.lock().await;
        self.refresh(links, &mut known).await?;
        if table.vni == 0 {
            return Ok(table.mtu.unwrap_or(known.own));
        }
        let (mut least, mut to) = (known.own, None);
        for peer in &table.peers {
            let path = path(links, &mut known, peer).await?;
            if path < least {
                (least, to) = (path, Some(peer.underlay));
            }
        }
        let most = least.saturating_sub(VXLAN_OVERHEAD).max(LEAST);
        match table.mtu {
            Some(asked) if asked > most && fresh => {
                let name = &table.name;
                let way = to.map_or_else(String::new, |to| format!(" to {to}"));
                Err(NetError::Invalid(format!(
                    "network {name}: mtu {asked} does not fit: the underlay{way} carries {least} \
                     bytes, of which VXLAN takes {VXLAN_OVERHEAD}, so {most} is the most"
                )))
            }
            asked => Ok(asked.unwrap_or(most)),
        }
    }

    async fn refresh(&self, links: &Links, known: &mut Known) -> Result<()> {
        if known.at.is_some_and(|at| at.elapsed() < BELIEVED) {
            return Ok(());
        }
        let all = links.list().await?;
        let here = |(index, address): (u32, Ipv4Addr)| (address == self.address).then_some(index);
        let index = links.addresses().await?.into_iter().find_map(here);
        let own = match (index.and_then(|index| mtu_of(&all, index)), known.at) {
            (Some(mtu), _) => mtu,
            // Gone for a moment: what was right is as good as any.
            (None, Some(_)) => known.own,
            (None, None) => {
                let address = self.address;
                let why = format!("data-path address {address} is on no link of this host");
                return Err(NetError::Invalid(why));
            }
        };
        *known = Known { at: Some(Instant::now()), links: all, own, paths: BTreeMap::new() };
        Ok(())
    }
}

/// The least of what the route to the peer carries and what the peer's own link does.
async fn path(links: &Links, known: &mut Known, peer: &Peer) -> Result<u32> {
    let IpAddr::V4(to) = peer.underlay else { return Ok(known.own) };
    let route = match known.paths.get(&to) {
        Some(mtu) => *mtu,
        None => {
            let found = links.path(to).await;
            // A node that cannot be reached now says nothing about the way to it.
            let mtu = found.map_or(known.own, |path| {
                let link = mtu_of(&known.links, path.link).unwrap_or(known.own);
                path.mtu.unwrap_or(link).min(link)
            });
            known.paths.insert(to, mtu);
            mtu
        }
    };
    Ok(peer.mtu.map_or(route, |theirs| theirs.min(route)))
}

fn mtu_of(links: &[Link], index: u32) -> Option<u32> {
    let link = links.iter().find(|link| link.index == index)?;
    Some(if link.mtu < NO_REAL_LIMIT { link.mtu } else { ETHERNET_MTU })
}
