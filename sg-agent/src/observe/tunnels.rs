//! Interfaces that are no wire: their packets leave the host inside other packets, or not at all.

use std::{collections::BTreeMap, io, net::IpAddr};

use nix::sys::socket::SockProtocol;
use sg_common::flow::UDP;
use sg_datapath::netlink::{self, Deadline, attribute, word};

use super::name::Name;

const RTM_GETLINK: u16 = 18;
/// struct ifinfomsg before the attributes.
const HEADER: usize = 16;
const IFF_LOOPBACK: u32 = 8;
const GRE: u8 = 47;
/// IPv4 and IPv6 in IP.
const IPIP: u8 = 4;
const IPV6: u8 = 41;

/// Attributes, as include/uapi/linux/if_link.h and if_tunnel.h number them.
mod ifla {
    pub const IFNAME: u16 = 3;
    pub const LINKINFO: u16 = 18;
    pub const INFO_KIND: u16 = 1;
    pub const INFO_DATA: u16 = 2;
    pub const TUN_TYPE: u16 = 3;
}

/// How packets of an interface get to their next host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// Packets leave as they are.
    Wire,
    /// They stay on this host.
    Loopback,
    Tunnel(Tunnel),
    /// In packets that the interface's settings do not tell: a program's, WireGuard's, IPsec's.
    Hidden,
}

/// The outer packets of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    pub encapsulation: Encapsulation,
    /// Unspecified where the kernel chooses.
    pub local: IpAddr,
    pub remote: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// To this UDP port in both directions, from any port: each direction is a flow of its own.
    Udp {
        port: u16,
    },
    Gre,
    /// The protocol is that of the inner packet's family.
    Ip,
}

impl Tunnel {
    /// Protocol and destination port of outer packets. `inner`: an address of the packets inside.
    pub fn service(&self, inner: IpAddr) -> (u8, u16) {
        match self.encapsulation {
            Encapsulation::Udp { port } => (UDP, port),
            Encapsulation::Gre => (GRE, 0),
            Encapsulation::Ip if inner.is_ipv4() => (IPIP, 0),
            Encapsulation::Ip => (IPV6, 0),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: Name,
    pub medium: Medium,
}

/// All interfaces, by ifindex.
///
/// # Errors
/// rtnetlink does not answer, or not in time.
pub fn devices(deadline: Deadline) -> io::Result<BTreeMap<u32, Device>> {
    let mut devices = BTreeMap::new();
    netlink::dump(SockProtocol::NetlinkRoute, RTM_GETLINK, &[0; HEADER], deadline, |message| {
        devices.extend(parse(message.body));
    })?;
    Ok(devices)
}

fn parse(message: &[u8]) -> Option<(u32, Device)> {
    let list = message.get(HEADER..)?;
    let name = attribute(list, ifla::IFNAME)?;
    let name = Name::of(name);
    let info = attribute(list, ifla::LINKINFO).unwrap_or_default();
    let kind = attribute(info, ifla::INFO_KIND).unwrap_or_default();
    let data = attribute(info, ifla::INFO_DATA).unwrap_or_default();
    let medium = if word(message, 8) & IFF_LOOPBACK != 0 {
        Medium::Loopback
    } else {
        medium(kind.strip_suffix(b"\0").unwrap_or(kind), data)
    };
    Some((word(message, 4), Device { name, medium }))
}

/// Whether an interface of this kind puts its packets into others, so that the device below it, if it names
/// one, sees none of them.
pub fn is_tunnel(kind: &[u8]) -> bool {
    !matches!(medium(kind, &[]), Medium::Wire)
}

/// The medium of an interface, by its kind and the kind's attributes.
fn medium(kind: &[u8], data: &[u8]) -> Medium {
    let number = |kind| attribute(data, kind).map_or(0, |value| netlink::port(value, 0));
    let layout = match kind {
        b"vxlan" => Layout { local: [4, 17], remote: [2, 16], external: 25 },
        b"geneve" => Layout { local: [0, 0], remote: [2, 7], external: 6 },
        b"gre" | b"gretap" | b"erspan" => Layout { local: [6, 0], remote: [7, 0], external: 18 },
        b"ip6gre" | b"ip6gretap" | b"ip6erspan" => {
            Layout { local: [0, 6], remote: [0, 7], external: 18 }
        }
        b"ipip" | b"sit" => Layout { local: [2, 0], remote: [3, 0], external: 19 },
        b"ip6tnl" => Layout { local: [0, 2], remote: [0, 3], external: 19 },
        // A TAP device is a guest's NIC, mostly.
        b"tun" => return if is_tap(data) { Medium::Wire } else { Medium::Hidden },
        b"wireguard" | b"xfrm" | b"vti" | b"vti6" | b"bareudp" | b"gtp" | b"amt" | b"ovpn" => {
            return Medium::Hidden;
        }
        _ => return Medium::Wire,
    };
    let encapsulation = match kind {
        b"vxlan" => Encapsulation::Udp { port: number(15) },
        b"geneve" => Encapsulation::Udp { port: number(5) },
        b"ipip" | b"sit" | b"ip6tnl" => Encapsulation::Ip,
        _ => Encapsulation::Gre,
    };
    // IFLA_IPTUN_ENCAP_TYPE, IFLA_GRE_ENCAP_TYPE: UDP around it, whose ports are not looked at here.
    let is_wrapped = match encapsulation {
        Encapsulation::Udp { .. } => false,
        Encapsulation::Gre => attribute(data, 14).is_some_and(|kind| kind != [0, 0]),
        Encapsulation::Ip => attribute(data, 15).is_some_and(|kind| kind != [0, 0]),
    };
    match layout.ends(data) {
        Some((local, remote)) if !is_wrapped => {
            Medium::Tunnel(Tunnel { encapsulation, local, remote })
        }
        _ => Medium::Hidden,
    }
}

/// Which attributes say where a tunnel leads. 0: there is none.
struct Layout {
    /// The attribute with the local address, for IPv4 and IPv6.
    local: [u16; 2],
    remote: [u16; 2],
    /// A flag: somebody else says so for each packet.
    external: u16,
}

impl Layout {
    /// `None` where there is not one far end.
    fn ends(&self, data: &[u8]) -> Option<(IpAddr, IpAddr)> {
        let is_external = attribute(data, self.external).is_some_and(|flag| flag != [0]);
        let find = |kinds: [u16; 2]| {
            let [v4, v6] = kinds;
            let find = |kind, is_ipv6| {
                (kind != 0).then(|| netlink::address(attribute(data, kind)?, is_ipv6)).flatten()
            };
            find(v4, false).or_else(|| find(v6, true))
        };
        let remote = find(self.remote)?;
        let is_one = !remote.is_unspecified() && !remote.is_multicast() && !is_external;
        let unspecified: IpAddr = if remote.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
        is_one.then(|| (find(self.local).unwrap_or(unspecified), remote))
    }
}

fn is_tap(data: &[u8]) -> bool {
    const TAP: u8 = 2;
    attribute(data, ifla::TUN_TYPE).and_then(<[u8]>::first) == Some(&TAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of attributes.
    fn list(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut list = Vec::new();
        for (kind, value) in attributes {
            list.extend((4 + value.len() as u16).to_ne_bytes());
            list.extend(kind.to_ne_bytes());
            list.extend_from_slice(value);
            list.resize(list.len().next_multiple_of(4), 0);
        }
        list
    }

    fn to(encapsulation: Encapsulation, local: &str, remote: &str) -> Medium {
        let [local, remote] = [local, remote].map(|address| address.parse().unwrap());
        Medium::Tunnel(Tunnel { encapsulation, local, remote })
    }

    const NEAR: &[u8] = &[192, 0, 2, 1];
    const FAR: &[u8] = &[192, 0, 2, 9];
    const FAR6: &[u8] = &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];

    #[test]
    fn settings_tell_the_outer_packets() {
        let vxlan = Encapsulation::Udp { port: 4789 };
        let port: (u16, &[u8]) = (15, &[0x12, 0xb5]);
        for (kind, attributes, expected) in [
            ("vxlan", &[(2, FAR), (4, NEAR), port][..], to(vxlan, "192.0.2.1", "192.0.2.9")),
            ("vxlan", &[(16, FAR6), port], to(vxlan, "::", "fd00::9")),
            // By multicast, by a table of its own, by somebody's program.
            ("vxlan", &[(2, &[239, 0, 0, 1]), port], Medium::Hidden),
            ("vxlan", &[port], Medium::Hidden),
            ("vxlan", &[(2, FAR), port, (25, &[1])], Medium::Hidden),
            ("vxlan", &[(2, FAR), port, (25, &[0])], to(vxlan, "0.0.0.0", "192.0.2.9")),
            (
                "geneve",
                &[(2, FAR), (5, &[0x17, 0xc1])],
                to(Encapsulation::Udp { port: 6081 }, "0.0.0.0", "192.0.2.9"),
            ),
            ("gre", &[(6, NEAR), (7, FAR)], to(Encapsulation::Gre, "192.0.2.1", "192.0.2.9")),
            ("gretap", &[(6, NEAR), (7, &[0; 4])], Medium::Hidden),
            ("ip6gre", &[(7, FAR6)], to(Encapsulation::Gre, "::", "fd00::9")),
            ("ipip", &[(2, NEAR), (3, FAR)], to(Encapsulation::Ip, "192.0.2.1", "192.0.2.9")),
            // Foo over UDP.
            ("ipip", &[(2, NEAR), (3, FAR), (15, &[1, 0])], Medium::Hidden),
            ("ip6tnl", &[(3, FAR6)], to(Encapsulation::Ip, "::", "fd00::9")),
            ("tun", &[(3, &[1])], Medium::Hidden),
            ("tun", &[(3, &[2])], Medium::Wire),
            ("wireguard", &[], Medium::Hidden),
            ("veth", &[], Medium::Wire),
            ("", &[], Medium::Wire),
        ] {
            let medium = medium(kind.as_bytes(), &list(attributes));
            assert_eq!(medium, expected, "{kind} {attributes:?}");
            assert_eq!(is_tunnel(kind.as_bytes()), !["veth", ""].contains(&kind), "{kind}");
        }
    }

    #[test]
    fn the_inner_family_is_the_protocol_of_plain_tunnels() {
        let [four, six]: [IpAddr; 2] = ["10.0.0.1", "fd00::1"].map(|it| it.parse().unwrap());
        let tunnel = |encapsulation| Tunnel { encapsulation, local: four, remote: four };
        assert_eq!(tunnel(Encapsulation::Ip).service(four), (4, 0));
        assert_eq!(tunnel(Encapsulation::Ip).service(six), (41, 0));
        assert_eq!(tunnel(Encapsulation::Gre).service(six), (47, 0));
        assert_eq!(tunnel(Encapsulation::Udp { port: 4789 }).service(six), (17, 4789));
    }

    /// This host's own loopback.
    #[test]
    fn the_kernel_is_read() {
        let devices = devices(Deadline::after(std::time::Duration::from_secs(5))).unwrap();
        let expected = Device { name: "lo".into(), medium: Medium::Loopback };
        assert_eq!(devices.get(&1), Some(&expected));
    }
}
