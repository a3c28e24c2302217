//! Rules of one kind for all contenders, each of which writes them in its own language.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sg_common::Family;

use crate::{
    packets::{everyone, senders},
    prober::FROM,
};

/// A port that no rule of [`Rules::Scattered`] has.
pub const CLOSED: u16 = 9;
/// The port of the other rules.
pub const OPEN: u16 = 7;

/// Services that are allowed in. Everything is allowed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// A number of rules, each for TCP, with a network and a port of its own.
    Scattered(u32),
    /// One rule for TCP to 443, with so many networks.
    List(u32),
    /// UDP and TCP to [`OPEN`] from all that send here.
    Senders,
    /// The same from everyone.
    Everyone,
}

/// Rules and what may be different from one apply to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruleset {
    pub rules: Rules,
    pub family: Family,
    /// Each network and port is another.
    pub other: bool,
    /// Whether UDP to [`OPEN`] is allowed from [`FROM`], by a rule more.
    pub probe: bool,
}

/// A rule: services and peers.
#[derive(Clone, Copy, Debug)]
pub enum Allow {
    Tcp(IpNet, u16),
    Udp(IpNet, u16),
    /// TCP from the networks of [`Ruleset::list`].
    List(u16),
}

impl Rules {
    pub const fn of(self, family: Family) -> Ruleset {
        Ruleset { rules: self, family, other: false, probe: false }
    }
}

impl Ruleset {
    /// Rule by rule.
    pub fn allows(&self) -> Vec<Allow> {
        let all = |text: &str| {
            let network = text.parse().expect("a network");
            vec![Allow::Tcp(network, OPEN), Allow::Udp(network, OPEN)]
        };
        let mut allows = match self.rules {
            Rules::Scattered(count) => {
                (0..count).map(|i| Allow::Tcp(self.network(i), self.port(i))).collect()
            }
            Rules::List(_) => vec![Allow::List(443)],
            Rules::Senders => all(senders(self.family)),
            Rules::Everyone => all(everyone(self.family)),
        };
        if self.probe {
            allows.push(Allow::Udp(FROM.parse().expect("a network"), OPEN));
        }
        allows
    }

    /// The networks that [`Allow::List`] stands for.
    pub fn list(&self) -> Vec<IpNet> {
        match self.rules {
            Rules::List(count) => (0..count).map(|i| self.network(i)).collect(),
            _ => Vec::new(),
        }
    }

    /// Number `i` of networks that do not overlap, because not everyone takes such, spread over the
    /// addresses that packets come from, of four lengths.
    fn network(&self, i: u32) -> IpNet {
        // 2^17 blocks; an odd factor scatters and brings no two together.
        let block = i.wrapping_mul(0x9e37_79b1) & 0x1_ffff;
        let within = i.wrapping_mul(0x85eb_ca6b);
        let which = (i + u32::from(self.other)) as usize % 4;
        match self.family {
            Family::V4 => {
                let address = Ipv4Addr::from_bits(0x4000_0000 | block << 12 | within & 0xfff);
                let length = [32, 28, 24, 20][which];
                Ipv4Net::new(address, length).expect("a length").trunc().into()
            }
            Family::V6 => {
                let (block, low) = (u64::from(block), u64::from(within & 0x7fff));
                let high = 0x2001_0db8_0000_0000 | block << 15 | low;
                let address = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(within));
                let length = [128, 64, 56, 49][which];
                Ipv6Net::new(address, length).expect("a length").trunc().into()
            }
        }
    }

    fn port(&self, i: u32) -> u16 {
        (1024 + (i + u32::from(self.other)) % 60_000) as u16
    }

    /// As rules.toml, with an entry for interfaces of that name; `more` are further keys of it.
    pub fn toml(&self, interface: &str, more: &str) -> String {
        let (list, allows) = (self.list(), self.allows());
        // Round, so that a rule more changes nothing but that rule.
        let quota = (allows.len() / 100 + 1) * 100 + list.len();
        let mut text = format!(
            "[settings.quotas]\nrules_per_group = {quota}\ngroups_per_interface = 1\n\
             rules_per_interface = {quota}\n"
        );
        if !list.is_empty() {
            text += "[[prefix_list]]\nname = \"list\"\nentries = [\n";
            for network in list {
                let _ = writeln!(text, "\"{network}\",");
            }
            text += "]\n";
        }
        text += "[[security_group]]\nname = \"bench\"\ningress = [\n";
        for allow in &allows {
            let (protocol, port, peer) = match allow {
                Allow::Tcp(network, port) => ("tcp", port, format!("cidrs = [\"{network}\"]")),
                Allow::Udp(network, port) => ("udp", port, format!("cidrs = [\"{network}\"]")),
                Allow::List(port) => ("tcp", port, "prefix_lists = [\"list\"]".to_owned()),
            };
            // Writing to a String does not fail.
            let _ = writeln!(text, "{{ protocol = \"{protocol}\", ports = {port}, {peer} }},");
        }
        text + &format!("]\n[[interface]]\nname = \"{interface}\"\ngroups = [\"bench\"]\n{more}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// nft refuses sets whose elements overlap.
    #[test]
    fn networks_do_not_overlap_and_are_where_packets_come_from() {
        for family in Family::BOTH {
            let all: IpNet = senders(family).parse().expect("a network");
            let mut networks = Rules::List(100_000).of(family).list();
            networks.sort_unstable();
            assert!(networks.iter().all(|network| all.contains(network)));
            assert!(networks.windows(2).all(|pair| !pair[0].contains(&pair[1])), "{family:?}");
        }
    }

    #[test]
    fn other_rules_are_all_others() {
        for family in Family::BOTH {
            let list = Rules::List(1000).of(family);
            let others = Ruleset { other: true, ..list }.list();
            let all = list.list();
            let same: Vec<_> = all.iter().filter(|network| others.contains(network)).collect();
            assert!(same.is_empty(), "{same:?}");
        }
    }

    #[test]
    fn rules_are_valid() {
        for rules in [Rules::Scattered(500), Rules::List(500), Rules::Senders, Rules::Everyone] {
            for family in Family::BOTH {
                let text = Ruleset { probe: true, ..rules.of(family) }.toml("nic0", "");
                sg_policy::parse("rules.toml", text.as_bytes()).expect("valid rules");
            }
        }
    }
}
