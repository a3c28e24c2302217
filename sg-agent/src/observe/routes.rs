//! Through which interfaces packets of a peer come and go.

use std::{io, net::IpAddr, time::Duration};

use anyhow::Context as _;
use nix::sys::socket::SockProtocol;
use sg_datapath::netlink::{self, Deadline, attribute, word};

use super::tunnels::is_tunnel;

const RTM_GETLINK: u16 = 18;
const RTM_GETROUTE: u16 = 26;
/// Lengths of struct ifinfomsg and struct rtmsg; attributes follow.
const IFINFOMSG: usize = 16;
const RTMSG: usize = 12;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;

/// A look-up or a list takes at most this long.
const LIMIT: Duration = Duration::from_secs(2);

/// The interfaces below an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layer {
    ifindex: u32,
    /// The bridge or bond that it is a port of; 0: none.
    master: u32,
    /// The device that it is on top of; 0: none.
    parent: u32,
}

/// The interfaces through which packets to `peer` from `local` leave, and through which its
/// packets come where routing is the same both ways. They are the one that the routes name, and those below it
/// (the ports of a bridge or bond, the parent of a VLAN).
///
/// # Errors
/// There is no route, or rtnetlink does not answer.
pub async fn ways(peer: IpAddr, local: IpAddr) -> anyhow::Result<Vec<u32>> {
    let find = move || {
        let out = interface_to(peer, local).context("cannot look up a route")?;
        let layers = layers().context("cannot list the interfaces")?;
        Ok(with_lower(out.context("no route")?, &layers))
    };
    tokio::task::spawn_blocking(find).await.context("a look-up panicked")?
}

fn interface_to(peer: IpAddr, local: IpAddr) -> io::Result<Option<u32>> {
    let mut out = None;
    let take = |message: netlink::Message<'_>| {
        let oif = message.body.get(RTMSG..).and_then(|list| attribute(list, RTA_OIF));
        out = out.or(oif.map(|oif| word(oif, 0)));
    };
    let (protocol, deadline) = (SockProtocol::NetlinkRoute, Deadline::after(LIMIT));
    netlink::get(protocol, RTM_GETROUTE, &route_request(peer, local), deadline, take)?;
    Ok(out.filter(|ifindex| *ifindex != 0))
}

fn route_request(peer: IpAddr, local: IpAddr) -> Vec<u8> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (peer, local) = (octets(peer), octets(local));
    let mut request = vec![0; RTMSG];
    request[0] = if peer.len() == 4 { libc::AF_INET } else { libc::AF_INET6 } as u8;
    // Lengths of both prefixes in bits.
    request[1] = peer.len() as u8 * 8;
    request[2] = local.len() as u8 * 8;
    for (kind, address) in [(RTA_DST, &peer), (RTA_SRC, &local)] {
        request.extend((4 + address.len() as u16).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(address);
    }
    request
}

fn layers() -> io::Result<Vec<Layer>> {
    let mut layers = Vec::new();
    let take = |message: netlink::Message<'_>| layers.extend(layer_of(message.body));
    let (protocol, deadline) = (SockProtocol::NetlinkRoute, Deadline::after(LIMIT));
    netlink::dump(protocol, RTM_GETLINK, &[0; IFINFOMSG], deadline, take)?;
    Ok(layers)
}

/// A veth names its peer as its parent, in whichever namespace that is, and a tunnel the device that its
/// outer packets take.
fn layer_of(body: &[u8]) -> Option<Layer> {
    let list = body.get(IFINFOMSG..)?;
    let info = attribute(list, IFLA_LINKINFO).unwrap_or_default();
    let kind = attribute(info, IFLA_INFO_KIND).unwrap_or_default();
    let kind = kind.strip_suffix(b"\0").unwrap_or(kind);
    let hides = kind == b"veth" || is_tunnel(kind);
    let number = |kind| attribute(list, kind).map_or(0, |value| word(value, 0));
    let parent = if hides { 0 } else { number(IFLA_LINK) };
    Some(Layer { ifindex: word(body, 4), master: number(IFLA_MASTER), parent })
}

fn with_lower(first: u32, layers: &[Layer]) -> Vec<u32> {
    let mut all = vec![first];
    let mut at = 0;
    while let Some(&upper) = all.get(at) {
        at += 1;
        for layer in layers {
            let lower = match layer {
                Layer { ifindex, master, .. } if *master == upper => *ifindex,
                Layer { ifindex, parent, .. } if *ifindex == upper && *parent != 0 => *parent,
                _ => continue,
            };
            if !all.contains(&lower) {
                all.push(lower);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_a_bridge_or_vlan_come_by_what_is_below_it() {
        let layer = |ifindex, master, parent| Layer { ifindex, master, parent };
        // A VLAN on a bridge with two ports, and an interface beside them.
        let layers =
            [layer(2, 5, 0), layer(3, 5, 0), layer(4, 0, 0), layer(5, 0, 0), layer(6, 0, 5)];
        assert_eq!(with_lower(6, &layers), [6, 5, 2, 3]);
        assert_eq!(with_lower(4, &layers), [4]);
        // An interface below itself is no loop without end.
        assert_eq!(with_lower(7, &[layer(7, 0, 8), layer(8, 0, 7)]), [7, 8]);
    }

    #[test]
    fn a_peer_of_a_veth_and_a_tunnels_way_are_not_below_it() {
        let attribute = |kind: u16, value: &[u8]| {
            let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let of = |kind: &[u8]| {
            let mut body = vec![0; IFINFOMSG];
            body[4] = 7;
            body.extend(attribute(IFLA_LINK, &[3, 0, 0, 0]));
            body.extend(attribute(IFLA_MASTER, &[9, 0, 0, 0]));
            body.extend(attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, kind)));
            layer_of(&body)
        };
        assert_eq!(of(b"vlan\0"), Some(Layer { ifindex: 7, master: 9, parent: 3 }));
        for kind in [b"veth\0".as_slice(), b"vxlan\0"] {
            assert_eq!(of(kind), Some(Layer { ifindex: 7, master: 9, parent: 0 }));
        }
        assert_eq!(layer_of(&[0; 4]), None);
    }
}
