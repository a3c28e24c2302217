//! Rules of one kind for all contenders, each of which writes them in its own language.

use std::{fmt::Write, net::Ipv4Addr, net::Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sg_common::Family;

use crate::packets::{everyone, senders};

/// A port that no rule of [`Rules::Scattered`] has.
pub const CLOSED: u16 = 9;
/// The port of the other rules.
pub const OPEN: u16 = 7;

/// What is allowed in; out everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// So many rules, each for TCP, with a network and a port of its own.
    Scattered(u32),
    /// One rule for TCP, with so many networks.
    List(u32),
    /// UDP and TCP to [`OPEN`] from all that send here.
    Senders,
    /// The same from everyone.
    Everyone,
}

/// Rule or entry number `i`: networks that do not overlap, because not everyone takes such, spread over
/// the addresses that packets come from, of four lengths.
pub fn network(family: Family, i: u32) -> IpNet {
    // 2^17 blocks; an odd factor scatters and brings no two together.
    let block = i.wrapping_mul(0x9e37_79b1) & 0x1_ffff;
    let within = i.wrapping_mul(0x85eb_ca6b);
    match family {
        Family::V4 => {
            let address = 0x4000_0000 | block << 12 | within & 0xfff;
            let length = [32, 28, 24, 20][(i % 4) as usize];
            Ipv4Net::new(Ipv4Addr::from_bits(address), length).expect("a length").trunc().into()
        }
        Family::V6 => {
            let high = 0x2001_0db8_0000_0000 | u64::from(block) << 15 | u64::from(within & 0x7fff);
            let length = [128, 64, 56, 49][(i % 4) as usize];
            let address = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(within));
            Ipv6Net::new(address, length).expect("a length").trunc().into()
        }
    }
}

/// The port of rule number `i`.
pub fn port(i: u32) -> u16 {
    (1024 + i % 60_000) as u16
}

impl Rules {
    /// As rules.toml, with an entry for an interface.
    pub fn toml(self, family: Family, interface: &str) -> String {
        self.groups(family) + interface
    }

    /// The same without an entry for an interface: a group `bench`.
    pub fn groups(self, family: Family) -> String {
        let mut text = String::new();
        let all = "{ protocol = \"udp\", ports = 7, cidrs = [\"{}\"] },\n\
                   { protocol = \"tcp\", ports = 7, cidrs = [\"{}\"] },\n";
        let (entries, rules) = match self {
            Self::Scattered(count) => {
                let mut rules = String::new();
                for i in 0..count {
                    let (port, network) = (port(i), network(family, i));
                    writeln!(
                        rules,
                        "{{ protocol = \"tcp\", ports = {port}, cidrs = [\"{network}\"] }},"
                    )
                    .expect("memory");
                }
                (0, rules)
            }
            Self::List(count) => {
                text += "[[prefix_list]]\nname = \"list\"\nentries = [\n";
                for i in 0..count {
                    writeln!(text, "\"{}\",", network(family, i)).expect("memory");
                }
                text += "]\n";
                let rule = "{ protocol = \"tcp\", ports = 443, prefix_lists = [\"list\"] },\n";
                (count, rule.to_owned())
            }
            Self::Senders => (0, all.replace("{}", senders(family))),
            Self::Everyone => (0, all.replace("{}", everyone(family))),
        };
        let quota = entries.max(rules.lines().count() as u32) + 1;
        let quota = quota.max(100);
        format!(
            "[settings.quotas]\nrules_per_group = {quota}\ngroups_per_interface = 1\n\
             rules_per_interface = {quota}\n{text}\
             [[security_group]]\nname = \"bench\"\ningress = [\n{rules}]\n"
        )
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
            let mut networks: Vec<IpNet> = (0..100_000).map(|i| network(family, i)).collect();
            networks.sort_unstable();
            assert!(networks.iter().all(|network| all.contains(network)));
            assert!(networks.windows(2).all(|pair| !pair[0].contains(&pair[1])), "{family:?}");
        }
    }

    #[test]
    fn rules_are_valid() {
        for rules in [Rules::Scattered(500), Rules::List(500), Rules::Senders, Rules::Everyone] {
            for family in Family::BOTH {
                let text =
                    rules.toml(family, "[[interface]]\nname = \"nic0\"\ngroups = [\"bench\"]");
                sg_policy::parse("rules.toml", text.as_bytes()).expect("valid rules");
            }
        }
    }
}
