//! From the bytes of rtnetlink's messages to events. Nothing is taken for text: aliases and names may be any bytes.

use std::net::IpAddr;

use sg_datapath::netlink::{Message, address, attribute, attributes, word};

use super::{
    interfaces::{Device, DeviceKind, Event},
    name::Name,
};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;

/// Lengths of struct ifinfomsg and struct ifaddrmsg; attributes follow. Both have the ifindex at 4.
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;
const INDEX: usize = 4;

const IFLA_IFNAME: u16 = 3;
const IFLA_WIRELESS: u16 = 11;
const IFLA_LINKINFO: u16 = 18;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_IPVLAN_MODE: u16 = 1;
const IPVLAN_MODE_L3S: u16 = 2;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

/// A message without a part that it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// The interface that the message is about, if that much can be read.
    pub ifindex: Option<u32>,
    /// Whether it tells of an interface, which must not be missed for that.
    pub is_link: bool,
}

/// The event that a message tells of, if it tells of one.
pub fn decode(message: Message<'_>) -> Result<Option<Event>, Undecodable> {
    let Message { kind, body, .. } = message;
    match kind {
        RTM_NEWLINK | RTM_DELLINK => {
            let bare = Undecodable { ifindex: None, is_link: true };
            let attributes = body.get(IFINFOMSG..).ok_or(bare)?;
            let ifindex = word(body, INDEX);
            // Bridges tell of their ports in the same types: a "deleted" one left its bridge (net/bridge/br_netlink.c,
            // br_ifinfo_notify). Wireless drivers tell of events of theirs.
            let is_partial = i32::from(body[0]) != libc::AF_UNSPEC
                || attribute(attributes, IFLA_WIRELESS).is_some();
            if is_partial {
                return Ok(None);
            }
            if kind == RTM_DELLINK {
                return Ok(Some(Event::Gone { ifindex }));
            }
            let unnamed = Undecodable { ifindex: Some(ifindex), is_link: true };
            let name = attribute(attributes, IFLA_IFNAME).map(Name::of);
            let name = name.filter(|name| !name.as_ref().is_empty()).ok_or(unnamed)?;
            // As in the kernel's eth_type_trans: these two alone carry an Ethernet header.
            let hardware = u16::from_ne_bytes([body[2], body[3]]);
            let device = Device {
                name,
                ethernet: matches!(hardware, ARPHRD_ETHER | ARPHRD_LOOPBACK),
                kind: kind_of(attributes),
                altnames: altnames(attributes),
            };
            Ok(Some(Event::Interface { ifindex, device }))
        }
        RTM_NEWADDR | RTM_DELADDR => {
            let bare = Undecodable { ifindex: None, is_link: false };
            let attributes = body.get(IFADDRMSG..).ok_or(bare)?;
            let ifindex = word(body, INDEX);
            let is_ipv6 = match i32::from(body[0]) {
                libc::AF_INET => false,
                libc::AF_INET6 => true,
                _ => return Ok(None),
            };
            let address = address_of(attributes, is_ipv6)
                .ok_or(Undecodable { ifindex: Some(ifindex), is_link: false })?;
            Ok(Some(match kind {
                RTM_NEWADDR => Event::Address { ifindex, address },
                _ => Event::AddressGone { ifindex, address },
            }))
        }
        _ => Ok(None),
    }
}

fn kind_of(attributes: &[u8]) -> DeviceKind {
    let info = attribute(attributes, IFLA_LINKINFO).unwrap_or_default();
    let kind = attribute(info, IFLA_INFO_KIND).map(Name::of).unwrap_or_default();
    match kind.as_ref() {
        b"vrf" => DeviceKind::Vrf,
        b"macvtap" | b"ipvtap" => DeviceKind::TapOfLower,
        b"ipvlan" => {
            let mode = attribute(info, IFLA_INFO_DATA)
                .and_then(|data| attribute(data, IFLA_IPVLAN_MODE))
                .and_then(|mode| mode.first_chunk());
            match mode.map(|mode| u16::from_ne_bytes(*mode)) {
                Some(IPVLAN_MODE_L3S) => DeviceKind::IpvlanL3s,
                _ => DeviceKind::Other,
            }
        }
        _ => DeviceKind::Other,
    }
}

fn altnames(list: &[u8]) -> Vec<Name> {
    let list = attribute(list, IFLA_PROP_LIST).unwrap_or_default();
    let named = attributes(list).filter(|(kind, _)| *kind == IFLA_ALT_IFNAME);
    named.map(|(_, name)| Name::of(name)).collect()
}

/// On a point-to-point interface IFA_ADDRESS is the other end and IFA_LOCAL our own.
fn address_of(attributes: &[u8], is_ipv6: bool) -> Option<IpAddr> {
    let value = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS));
    address(value?, is_ipv6)
}

#[cfg(test)]
mod tests {
    use sg_datapath::netlink::messages;

    use super::*;

    fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// A message with its header: `fixed` is what stands before the attributes.
    fn decoded(kind: u16, fixed: &[u8], attributes: &[u8]) -> Result<Option<Event>, Undecodable> {
        let mut bytes = ((16 + fixed.len() + attributes.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend([fixed, attributes].concat());
        decode(messages(&bytes).next().unwrap())
    }

    fn ifinfomsg(family: u8, hardware: u16) -> [u8; 16] {
        let mut fixed = [0; 16];
        fixed[0] = family;
        fixed[2..4].copy_from_slice(&hardware.to_ne_bytes());
        fixed[4] = 7;
        fixed
    }

    fn ifaddrmsg(family: u8) -> [u8; 8] {
        [family, 24, 0, 0, 7, 0, 0, 0]
    }

    fn link(name: &[u8], ethernet: bool, kind: DeviceKind, altnames: &[&str]) -> Event {
        let altnames = altnames.iter().map(|name| Name::from(*name)).collect();
        Event::Interface {
            ifindex: 7,
            device: Device { name: Name::of(name), ethernet, kind, altnames },
        }
    }

    #[test]
    fn names_and_aliases_may_be_any_bytes() {
        // IFLA_IFALIAS is 20: "büro" in Latin-1.
        let attributes = [attr(20, b"b\xfcro\0"), attr(IFLA_IFNAME, b"tap\xff\0")].concat();
        let event = decoded(RTM_NEWLINK, &ifinfomsg(0, 1), &attributes);
        assert_eq!(event, Ok(Some(link(b"tap\xff", true, DeviceKind::Other, &[]))));
    }

    #[test]
    fn an_interface_has_its_kind_and_its_other_names() {
        let named =
            |info: Vec<u8>| [attr(IFLA_IFNAME, b"if0\0"), attr(IFLA_LINKINFO, &info)].concat();
        let kind = |name: &[u8], data: &[u8]| {
            let info = [attr(IFLA_INFO_KIND, name), attr(IFLA_INFO_DATA, data)].concat();
            match decoded(RTM_NEWLINK, &ifinfomsg(0, 1), &named(info)) {
                Ok(Some(Event::Interface { device, .. })) => device.kind,
                other => panic!("{other:?}"),
            }
        };
        let mode = |mode: u16| attr(IFLA_IPVLAN_MODE, &mode.to_ne_bytes());
        assert_eq!(kind(b"vrf\0", &[]), DeviceKind::Vrf);
        assert_eq!(kind(b"macvtap\0", &[]), DeviceKind::TapOfLower);
        assert_eq!(kind(b"ipvlan\0", &mode(2)), DeviceKind::IpvlanL3s);
        assert_eq!(kind(b"ipvlan\0", &mode(1)), DeviceKind::Other);
        assert_eq!(kind(b"veth\0", &[]), DeviceKind::Other);
        let list = [attr(IFLA_ALT_IFNAME, b"one\0"), attr(IFLA_ALT_IFNAME, b"two\0")].concat();
        // NLA_F_NESTED
        let attributes =
            [attr(IFLA_IFNAME, b"if0\0"), attr(IFLA_PROP_LIST | 0x8000, &list)].concat();
        let event = decoded(RTM_NEWLINK, &ifinfomsg(0, 65534), &attributes);
        assert_eq!(event, Ok(Some(link(b"if0", false, DeviceKind::Other, &["one", "two"]))));
    }

    #[test]
    fn bridges_and_wireless_drivers_tell_of_other_things() {
        let name = attr(IFLA_IFNAME, b"port0\0");
        let wireless = [name.clone(), attr(IFLA_WIRELESS, &[0; 8])].concat();
        let unspec = ifinfomsg(0, 1);
        assert_eq!(decoded(RTM_NEWLINK, &ifinfomsg(7, 1), &name), Ok(None));
        assert_eq!(decoded(RTM_DELLINK, &ifinfomsg(7, 1), &name), Ok(None));
        assert_eq!(decoded(RTM_NEWLINK, &unspec, &wireless), Ok(None));
        assert_eq!(decoded(RTM_DELLINK, &unspec, &name), Ok(Some(Event::Gone { ifindex: 7 })));
        // RTM_NEWROUTE
        assert_eq!(decoded(24, &[0; 12], &[]), Ok(None));
    }

    #[test]
    fn the_own_address_of_a_point_to_point_interface_counts() {
        let address = |ip: &str| Event::Address { ifindex: 7, address: ip.parse().unwrap() };
        let other = attr(IFA_ADDRESS, &[10, 0, 0, 9]);
        let both = [other.clone(), attr(IFA_LOCAL, &[10, 0, 0, 1])].concat();
        assert_eq!(decoded(RTM_NEWADDR, &ifaddrmsg(2), &other), Ok(Some(address("10.0.0.9"))));
        assert_eq!(decoded(RTM_NEWADDR, &ifaddrmsg(2), &both), Ok(Some(address("10.0.0.1"))));
        let mut six = [0; 16];
        six[15] = 1;
        let event = decoded(RTM_DELADDR, &ifaddrmsg(10), &attr(IFA_ADDRESS, &six));
        let gone = Event::AddressGone { ifindex: 7, address: "::1".parse().unwrap() };
        assert_eq!(event, Ok(Some(gone)));
    }

    #[test]
    fn what_cannot_be_decoded_says_which_interface_it_is_about() {
        let of = |ifindex, is_link| Err(Undecodable { ifindex, is_link });
        let cut = [40, 0, 3, 0, b'x'];
        assert_eq!(decoded(RTM_NEWLINK, &ifinfomsg(0, 1), &[]), of(Some(7), true));
        assert_eq!(decoded(RTM_NEWLINK, &ifinfomsg(0, 1), &cut), of(Some(7), true));
        assert_eq!(decoded(RTM_NEWLINK, &[0; 8], &[]), of(None, true));
        assert_eq!(decoded(RTM_NEWADDR, &ifaddrmsg(2), &[]), of(Some(7), false));
        // An IPv6 address of four bytes.
        let short = attr(IFA_LOCAL, &[10, 0, 0, 1]);
        assert_eq!(decoded(RTM_NEWADDR, &ifaddrmsg(10), &short), of(Some(7), false));
        assert_eq!(decoded(RTM_DELADDR, &[2, 0], &[]), of(None, false));
    }
}
