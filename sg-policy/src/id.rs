//! Rule ids: the same for the same rule of the same group on every host and in every run.

use ipnet::IpNet;
use sg_common::Direction;
use sha2::{Digest, Sha256};

use crate::model::{IcmpMatch, Peer, PortRange, RuleId, Services};

/// Gives the ids of one group's rules of one direction.
#[derive(Clone, Debug)]
pub struct RuleIds(Sha256);

impl RuleIds {
    /// `group` as its definition spells it.
    pub fn new(group: &str, direction: Direction) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"sg rule 1\0");
        text(&mut hash, group);
        hash.update([direction as u8]);
        Self(hash)
    }

    /// Every field is of fixed length or preceded by its length, so different rules never hash the
    /// same bytes. The encoding is for ever: ids are in people's scripts and logs.
    pub fn id(&self, services: Services, peer: &Peer) -> RuleId {
        let mut hash = self.0.clone();
        hash.update(encode(services));
        match peer {
            Peer::Cidr(IpNet::V4(net)) => {
                hash.update([4, net.prefix_len()]);
                hash.update(net.network().octets());
            }
            Peer::Cidr(IpNet::V6(net)) => {
                hash.update([6, net.prefix_len()]);
                hash.update(net.network().octets());
            }
            Peer::Group(name) => {
                hash.update(b"g");
                text(&mut hash, name);
            }
            Peer::PrefixList(name) => {
                hash.update(b"l");
                text(&mut hash, name);
            }
        }
        let digest = hash.finalize();
        let high = digest[..16].iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte));
        RuleId(high >> (128 - 68))
    }
}

fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text);
}

fn encode(services: Services) -> [u8; 5] {
    let ports = |kind, PortRange { from, to }: PortRange| {
        let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
        [kind, a, b, c, d]
    };
    let icmp = |kind, IcmpMatch { kind: icmp_type, code }: IcmpMatch| {
        let flags = u8::from(icmp_type.is_some()) | u8::from(code.is_some()) << 1;
        [kind, flags, icmp_type.unwrap_or(0), code.unwrap_or(0), 0]
    };
    match services {
        Services::All => [0; 5],
        Services::Tcp(range) => ports(1, range),
        Services::Udp(range) => ports(2, range),
        Services::Icmp(matched) => icmp(3, matched),
        Services::Icmpv6(matched) => icmp(4, matched),
        Services::Protocol(number) => [5, number, 0, 0, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Peer {
        Peer::Cidr(text.parse().expect("a CIDR"))
    }

    #[test]
    fn ids_are_for_ever() {
        let https = Services::Tcp(PortRange { from: 443, to: 443 });
        let ping = Services::Icmp(IcmpMatch { kind: Some(8), code: None });
        let table = [
            ("web", Direction::Ingress, https, cidr("0.0.0.0/0"), "sgr-34758cb46a6733be5"),
            ("web", Direction::Egress, https, cidr("0.0.0.0/0"), "sgr-7e29aecb7f0aed943"),
            ("Web", Direction::Ingress, https, cidr("0.0.0.0/0"), "sgr-25dc7a9269d9fccaf"),
            ("web", Direction::Ingress, https, cidr("::/0"), "sgr-41ae1b03b62776536"),
            ("web", Direction::Ingress, ping, Peer::Group("db".into()), "sgr-051fd54b568de62be"),
            (
                "web",
                Direction::Ingress,
                ping,
                Peer::PrefixList("db".into()),
                "sgr-c14942c6b23e867ab",
            ),
            (
                "web",
                Direction::Ingress,
                Services::Protocol(47),
                cidr("10.0.0.0/8"),
                "sgr-03d41388d6ec99bcd",
            ),
            ("web", Direction::Ingress, Services::All, cidr("10.0.0.0/8"), "sgr-157d1ef5708a95f1d"),
        ];
        for (group, direction, services, peer, expected) in table {
            let id = RuleIds::new(group, direction).id(services, &peer);
            assert_eq!(id.to_string(), expected, "{group} {direction:?} {services:?} {peer:?}");
        }
    }
}
