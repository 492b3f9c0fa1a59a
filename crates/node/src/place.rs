//! Where this node is, looked up anew at every start: a host gets another address, or its daemon is told another one.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::address::{self, AddressError, Interface};
use crate::args::Args;
use crate::state::Settings;

/// Addresses as somebody asked for them: addresses or names of interfaces, with or without port. Empty: to be found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// To bind.
    pub listen: String,
    /// To be told others.
    pub advertise: String,
    /// For traffic of overlays.
    pub data_path: String,
}

impl Wish {
    /// What the daemon's command line asks for.
    pub fn of(args: &Args) -> Self {
        Self {
            listen: args.listen_addr.clone(),
            advertise: args.advertise_addr.clone().unwrap_or_default(),
            data_path: args.data_path_addr.clone().unwrap_or_default(),
        }
    }

    /// Where nothing is asked for, what `other` asks for.
    pub fn or(self, other: &Self) -> Self {
        let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
        Self {
            listen: or(self.listen, &other.listen),
            advertise: or(self.advertise, &other.advertise),
            data_path: or(self.data_path, &other.data_path),
        }
    }
}

/// Three addresses of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub listen: SocketAddr,
    pub advertise: SocketAddr,
    pub data_path: IpAddr,
}

/// What `wish` comes to on a host with these interfaces.
pub fn find(wish: &Wish, interfaces: &[Interface]) -> Result<Place, AddressError> {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let listen = address::parse(&wish.listen, interfaces)?;
    let advertise = address::advertised(given(&wish.advertise).as_deref(), listen, interfaces)?;
    let data_path = match given(&wish.data_path) {
        Some(text) => address::parse(&text, interfaces)?.ip(),
        None => advertise.ip(),
    };
    Ok(Place { listen, advertise, data_path })
}

/// The settings for this start: a command line that has changed since the last one counts, else what was asked for then. An
/// address that was found by itself stays as long as the host has it, and one that cannot be found is as it was.
pub fn renewed(saved: &Settings, flags: &Wish, interfaces: &[Interface]) -> Settings {
    let mut settings = saved.clone();
    let newer = |flag: &str, before: &str, asked: &str| {
        // A flag that is not given any more takes nothing back.
        if flag.is_empty() || flag == before { asked.to_owned() } else { flag.to_owned() }
    };
    let Settings { asked, flags: before, .. } = saved;
    settings.asked = Wish {
        listen: newer(&flags.listen, &before.listen, &asked.listen),
        advertise: newer(&flags.advertise, &before.advertise, &asked.advertise),
        data_path: newer(&flags.data_path, &before.data_path, &asked.data_path),
    };
    settings.flags.clone_from(flags);
    let wish = held(&settings.asked, saved, interfaces);
    match find(&wish, interfaces) {
        Ok(place) => {
            settings.listen_addr = place.listen.to_string();
            settings.advertise_addr = place.advertise.to_string();
            settings.data_path_addr = place.data_path.to_string();
        }
        Err(error) => tracing::warn!(%error, "the addresses of this node stay as they were"),
    }
    for manager in &mut settings.managers {
        if *manager == saved.advertise_addr {
            manager.clone_from(&settings.advertise_addr);
        }
    }
    settings
}

/// The wish, with the address that was found last as long as it is there: another one may just have been added.
fn held(wish: &Wish, saved: &Settings, interfaces: &[Interface]) -> Wish {
    let mut wish = wish.clone();
    let last = saved.advertise_addr.parse::<SocketAddr>().ok();
    let still = last.filter(|last| interfaces.iter().any(|(_, ip)| *ip == last.ip()));
    let listens_anywhere =
        address::parse(&wish.listen, interfaces).is_ok_and(|listen| listen.ip().is_unspecified());
    if let Some(last) = still
        && wish.advertise.is_empty()
        && listens_anywhere
    {
        wish.advertise = last.ip().to_string();
    }
    wish
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(addresses: &[&str]) -> Vec<Interface> {
        let interface = |(n, ip): (usize, &&str)| (format!("eth{n}"), ip.parse().unwrap());
        addresses.iter().enumerate().map(interface).collect()
    }

    fn wish(listen: &str, advertise: &str) -> Wish {
        Wish { listen: listen.into(), advertise: advertise.into(), data_path: String::new() }
    }

    fn saved(asked: Wish, flags: Wish) -> Settings {
        Settings {
            listen_addr: "0.0.0.0:2377".into(),
            advertise_addr: "192.0.2.1:2377".into(),
            data_path_addr: "192.0.2.1".into(),
            data_path_port: 4789,
            managers: vec!["192.0.2.1:2377".into(), "192.0.2.9:2377".into()],
            asked,
            flags,
        }
    }

    const ANY: &str = "0.0.0.0:2377";

    #[test]
    fn a_host_with_another_address_is_found_there_and_in_its_own_list_of_managers() {
        let saved = saved(wish(ANY, ""), wish(ANY, ""));
        let now = renewed(&saved, &wish(ANY, ""), &host(&["192.0.2.7"]));
        assert_eq!(now.advertise_addr, "192.0.2.7:2377");
        assert_eq!(now.data_path_addr, "192.0.2.7");
        assert_eq!(now.managers, ["192.0.2.7:2377", "192.0.2.9:2377"]);
    }

    #[test]
    fn an_address_that_is_still_there_stays_and_one_that_is_not_to_be_found_too() {
        let saved = saved(wish(ANY, ""), wish(ANY, ""));
        for addresses in [&["198.51.100.1", "192.0.2.1"][..], &[], &["192.0.2.7", "192.0.2.8"]] {
            assert_eq!(renewed(&saved, &wish(ANY, ""), &host(addresses)), saved, "{addresses:?}");
        }
    }

    #[test]
    fn an_interface_stands_for_the_address_that_it_has_now() {
        let saved = saved(wish(ANY, "eth0"), wish(ANY, ""));
        let now = renewed(&saved, &wish(ANY, ""), &host(&["192.0.2.7"]));
        assert_eq!(now.advertise_addr, "192.0.2.7:2377");
    }

    #[test]
    fn what_init_was_told_outlives_a_command_line_that_is_the_same_and_yields_to_a_new_one() {
        let saved = saved(wish(ANY, "192.0.2.1"), wish(ANY, "203.0.113.1"));
        let here = host(&["192.0.2.7"]);
        let same = renewed(&saved, &wish(ANY, "203.0.113.1"), &here);
        assert_eq!(same.advertise_addr, "192.0.2.1:2377");
        let told = renewed(&saved, &wish("192.0.2.7:99", "192.0.2.7"), &here);
        assert_eq!(
            (told.listen_addr.as_str(), told.advertise_addr.as_str()),
            ("192.0.2.7:99", "192.0.2.7:99")
        );
        // And so it stays.
        assert_eq!(renewed(&told, &wish("192.0.2.7:99", "192.0.2.7"), &here), told);
    }
}
