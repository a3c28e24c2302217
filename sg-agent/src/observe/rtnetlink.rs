//! Follows the interfaces by rtnetlink. The only module that knows the rtnetlink crate.

use std::{net::IpAddr, time::Duration};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _};
use rtnetlink::{
    Handle, MulticastGroup, new_connection, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        address::{AddressAttribute, AddressMessage},
        link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage},
        route::{RouteAddress, RouteAttribute, RouteMessage},
    },
    sys::AsyncSocket as _,
};
use tracing::warn;

use crate::observe::{
    interfaces::{Event, Tracker, View},
    tunnels::is_tunnel,
};

/// Room for bursts of events; the kernel caps it at net.core.rmem_max.
const RECEIVE_BUFFER: usize = 1 << 20;
/// A dump that takes longer has lost its end and is asked for anew.
const DUMP_TIMEOUT: Duration = Duration::from_secs(10);

type Events = futures_util::stream::BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>;

/// An up-to-date view, and the events that change it.
pub struct Watch {
    events: Events,
    /// Dumps go over a socket of their own, whose answers no flood of events can push out.
    dumps: Handle,
    tracker: Tracker,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("tracker", &self.tracker).finish_non_exhaustive()
    }
}

impl Watch {
    /// Subscribes, then dumps, so that nothing falls in between.
    ///
    /// # Errors
    /// The kernel refuses the sockets or the dump.
    pub async fn open() -> anyhow::Result<Self> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (mut connection, _, events) =
            new_multicast_connection(&groups).context("cannot follow interfaces by rtnetlink")?;
        if let Err(error) = connection.socket_mut().socket_mut().set_rx_buf_sz(RECEIVE_BUFFER) {
            warn!(%error, "rtnetlink keeps its small receive buffer");
        }
        tokio::spawn(connection);
        let (connection, dumps, _) = new_connection().context("cannot open an rtnetlink socket")?;
        tokio::spawn(connection);
        let events = events.map(|(message, _)| message).boxed();
        let mut watch = Self { events, dumps, tracker: Tracker::default() };
        watch.resync().await?;
        Ok(watch)
    }

    pub fn view(&self) -> &View {
        self.tracker.view()
    }

    /// Waits until the view has changed. All events that are there by then are taken in at once.
    ///
    /// # Errors
    /// The socket broke.
    pub async fn changed(&mut self) -> anyhow::Result<&View> {
        loop {
            let message = self.events.next().await.context("the rtnetlink socket broke")?;
            let mut changed = self.take(message).await?;
            while let Some(Some(message)) =
                futures_util::FutureExt::now_or_never(self.events.next())
            {
                changed |= self.take(message).await?;
            }
            if changed {
                return Ok(self.tracker.view());
            }
        }
    }

    async fn take(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) -> anyhow::Result<bool> {
        match message.payload {
            NetlinkPayload::InnerMessage(message) => {
                let mut changed = false;
                for event in events_of(&message) {
                    changed |= self.tracker.take(event);
                }
                Ok(changed)
            }
            NetlinkPayload::Overrun(_) => {
                warn!("rtnetlink events were lost; reading all interfaces anew");
                self.resync().await
            }
            _ => Ok(false),
        }
    }

    async fn resync(&mut self) -> anyhow::Result<bool> {
        for _ in 0..3 {
            if let Ok(dump) = tokio::time::timeout(DUMP_TIMEOUT, dump(&self.dumps)).await {
                return Ok(self.tracker.replace(dump?));
            }
        }
        anyhow::bail!("rtnetlink does not answer")
    }
}

/// The interfaces through which packets to `peer` from `local` leave, and so, routing being what it
/// mostly is, through which its packets come: the one that the routes name, and those below it (the
/// ports of a bridge or bond, the parent of a VLAN).
///
/// # Errors
/// There is no route, or rtnetlink does not answer.
pub async fn ways(peer: IpAddr, local: IpAddr) -> anyhow::Result<Vec<u32>> {
    let (connection, handle, _) = new_connection().context("cannot open an rtnetlink socket")?;
    tokio::spawn(connection);
    let mut routes = handle.route().get(to(peer, local)).execute();
    let route = routes.try_next().await.context("cannot look up a route")?;
    let out = route.into_iter().flat_map(|route| route.attributes).find_map(|attribute| {
        if let RouteAttribute::Oif(ifindex) = attribute { Some(ifindex) } else { None }
    });
    let mut links = Vec::new();
    let mut all = handle.link().get().execute();
    while let Some(link) = all.try_next().await.context("cannot list interfaces")? {
        links.push(link);
    }
    Ok(with_lower(out.context("no route")?, &links))
}

fn to(peer: IpAddr, local: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    let (family, length) = match peer {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.header.source_prefix_length = length;
    let address = |address: IpAddr| match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    };
    message.attributes.push(RouteAttribute::Destination(address(peer)));
    message.attributes.push(RouteAttribute::Source(address(local)));
    message
}

fn with_lower(first: u32, links: &[LinkMessage]) -> Vec<u32> {
    let mut all = vec![first];
    let mut at = 0;
    while let Some(&upper) = all.get(at) {
        at += 1;
        for lower in links.iter().filter_map(|link| lower_of(upper, link)) {
            if !all.contains(&lower) {
                all.push(lower);
            }
        }
    }
    all
}

/// What `link` says to be below `upper`. A veth names its peer as its parent, in whichever namespace
/// that is, and a tunnel the device that its outer packets take.
fn lower_of(upper: u32, link: &LinkMessage) -> Option<u32> {
    let attributes = &link.attributes;
    let hides = |info: &LinkInfo| match info {
        LinkInfo::Kind(InfoKind::Veth) => true,
        LinkInfo::Kind(kind) => is_tunnel(kind.to_string().as_bytes()),
        _ => false,
    };
    let hides = attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().any(hides),
        _ => false,
    });
    attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(of) if *of == upper => Some(link.header.index),
        LinkAttribute::Link(parent) if link.header.index == upper && !hides && *parent != 0 => {
            Some(*parent)
        }
        _ => None,
    })
}

async fn dump(handle: &Handle) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await.context("cannot list interfaces")? {
        events.extend(events_of(&RouteNetlinkMessage::NewLink(link)));
    }
    let mut addresses = handle.address().get().execute();
    while let Some(address) = addresses.try_next().await.context("cannot list addresses")? {
        events.extend(events_of(&RouteNetlinkMessage::NewAddress(address)));
    }
    Ok(events)
}

fn events_of(message: &RouteNetlinkMessage) -> Vec<Event> {
    match message {
        RouteNetlinkMessage::NewLink(link) => of_link(link).into_iter().collect(),
        RouteNetlinkMessage::DelLink(link) if !is_bridge_port(link) => {
            vec![Event::Gone { ifindex: link.header.index }]
        }
        RouteNetlinkMessage::NewAddress(message) => {
            let ifindex = message.header.index;
            address_of(message)
                .map(|address| Event::Address { ifindex, address })
                .into_iter()
                .collect()
        }
        RouteNetlinkMessage::DelAddress(message) => {
            let ifindex = message.header.index;
            address_of(message)
                .map(|address| Event::AddressGone { ifindex, address })
                .into_iter()
                .collect()
        }
        _ => Vec::new(),
    }
}

/// A bridge tells of its ports in the same message types: a "deleted link" of this family is a port
/// that left its bridge (net/bridge/br_netlink.c, br_ifinfo_notify).
fn is_bridge_port(link: &LinkMessage) -> bool {
    link.header.interface_family == AddressFamily::Bridge
}

fn of_link(link: &LinkMessage) -> Option<Event> {
    if is_bridge_port(link) {
        return None;
    }
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    // As in the kernel's eth_type_trans: these two alone carry an Ethernet header.
    let ethernet =
        matches!(link.header.link_layer_type, LinkLayerType::Ether | LinkLayerType::Loopback);
    Some(Event::Interface { ifindex: link.header.index, name, ethernet })
}

/// On a point-to-point interface IFA_ADDRESS is the other end and IFA_LOCAL our own.
fn address_of(message: &AddressMessage) -> Option<std::net::IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(family: AddressFamily, kind: LinkLayerType) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.interface_family = family;
        link.header.index = 7;
        link.header.link_layer_type = kind;
        link.attributes = vec![LinkAttribute::IfName("tap0".into())];
        link
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_still_there() {
        let gone =
            |family| events_of(&RouteNetlinkMessage::DelLink(link(family, LinkLayerType::Ether)));
        assert_eq!(gone(AddressFamily::Bridge), []);
        assert_eq!(gone(AddressFamily::Unspec), [Event::Gone { ifindex: 7 }]);
        let new = link(AddressFamily::Bridge, LinkLayerType::Ether);
        assert_eq!(events_of(&RouteNetlinkMessage::NewLink(new)), []);
    }

    #[test]
    fn only_ethernet_and_loopback_have_an_ethernet_header() {
        let has = |kind| {
            let events =
                events_of(&RouteNetlinkMessage::NewLink(link(AddressFamily::Unspec, kind)));
            matches!(events[..], [Event::Interface { ethernet: true, .. }])
        };
        assert!(has(LinkLayerType::Ether) && has(LinkLayerType::Loopback));
        for kind in [LinkLayerType::None, LinkLayerType::Tunnel, LinkLayerType::Sit] {
            assert!(!has(kind), "{kind:?}");
        }
    }

    #[test]
    fn the_own_end_of_a_point_to_point_address_counts() {
        let mut message = AddressMessage::default();
        message.attributes = vec![
            AddressAttribute::Address("10.0.0.2".parse().unwrap()),
            AddressAttribute::Local("10.0.0.1".parse().unwrap()),
        ];
        assert_eq!(address_of(&message), Some("10.0.0.1".parse().unwrap()));
        message.attributes.pop();
        assert_eq!(address_of(&message), Some("10.0.0.2".parse().unwrap()));
    }
}
