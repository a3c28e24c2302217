//! The devices of this network namespace with their aliases, and where default routes lead, by rtnetlink.
//!
//! An event only says that something has changed. Names, aliases and addresses are then read anew, because a
//! read is one moment and events can be lost. A full table of routes is read at the start and after a loss
//! only; afterwards events say where a default route leads.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv,
        setsockopt, socket, sockopt::RcvBuf,
    },
};
use sg_datapath::netlink::{self, Deadline, address, attribute, word};
use tokio::io::{Interest, unix::AsyncFd};

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
/// Lengths of struct ifinfomsg, struct ifaddrmsg and struct rtmsg; attributes follow.
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;
const RTMSG: usize = 12;
const IFLA_IFNAME: u16 = 3;
const IFLA_IFALIAS: u16 = 20;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
/// RTN_UNICAST
const UNICAST: u8 = 1;
/// Length of struct rtnexthop, with the ifindex in its second word.
const NEXTHOP: usize = 8;

const RECEIVE_BUFFER: usize = 1 << 20;
const LONGEST: usize = 64 << 10;
/// Each read of one kind takes at most this long.
const LIMIT: Duration = Duration::from_secs(5);
/// In a storm of events, time between two reads.
const APART: Duration = Duration::from_millis(10);

/// A device that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    pub ifindex: u32,
    pub name: String,
    /// Empty where there is none.
    pub alias: String,
    pub addresses: Vec<IpAddr>,
}

/// Devices as they are, and the events that change them.
#[derive(Debug)]
pub struct Devices {
    events: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
    devices: Vec<Device>,
    /// Devices that a default route leads through, or once led through.
    uplinks: BTreeSet<u32>,
}

/// The sum of the events that were there.
#[derive(Debug, Default)]
struct Heard {
    is_lost: bool,
    has_changed: bool,
}

impl Devices {
    /// Subscribes, then reads, so that nothing falls in between. Within a runtime.
    ///
    /// # Errors
    /// The kernel refuses the socket or a read.
    pub fn open() -> anyhow::Result<Self> {
        let socket = subscribe().context("cannot follow devices by rtnetlink")?;
        // SAFETY: the socket is open, and `AsyncFd` owns it alone from here on.
        let events = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        let events = events.map_err(io::Error::from).context("cannot wait for rtnetlink")?;
        let mut devices = Self {
            events,
            buffer: vec![0; LONGEST],
            devices: Vec::new(),
            uplinks: BTreeSet::new(),
        };
        devices.read_routes().context("cannot list routes")?;
        devices.devices = read().context("cannot list devices")?;
        Ok(devices)
    }

    pub fn all(&self) -> &[Device] {
        &self.devices
    }

    /// Names of the devices that a default route leads through, or once led through.
    pub fn uplinks(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| self.uplinks.contains(&device.ifindex))
    }

    /// Waits until devices, aliases, addresses or default routes have changed.
    ///
    /// # Errors
    /// The socket broke, or the devices cannot be read.
    pub async fn changed(&mut self) -> anyhow::Result<()> {
        loop {
            self.events.readable().await.context("the rtnetlink socket broke")?.clear_ready();
            let uplinks = self.uplinks.clone();
            let heard = self.hear().context("the rtnetlink socket broke")?;
            if heard.is_lost {
                self.read_routes().context("cannot list routes")?;
            }
            let now = if heard.has_changed || heard.is_lost {
                read().context("cannot list devices")?
            } else {
                self.devices.clone()
            };
            if now != self.devices || uplinks != self.uplinks {
                self.devices = now;
                return Ok(());
            }
            tokio::time::sleep(APART).await;
        }
    }

    /// Takes in all events that are there.
    fn hear(&mut self) -> io::Result<Heard> {
        let mut heard = Heard::default();
        loop {
            match recv(self.events.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    let mut rest = self.buffer.get(..length).unwrap_or_default();
                    while let Some((kind, body, next)) = message(rest) {
                        match kind {
                            RTM_NEWROUTE => self.uplinks.extend(default_route(body)),
                            RTM_DELROUTE => {}
                            _ => heard.has_changed = true,
                        }
                        rest = next;
                    }
                }
                Err(Errno::EAGAIN) => return Ok(heard),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => heard.is_lost = true,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read_routes(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        dump(RTM_GETROUTE, RTMSG, |body| found.extend(default_route(body)))?;
        self.uplinks.extend(found);
        Ok(())
    }
}

fn subscribe() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let family = AddressFamily::Netlink;
    let socket = socket(family, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    // The kernel caps it at net.core.rmem_max.
    setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    Ok(socket)
}

/// A dump may lack what changes meanwhile: an event of it follows, and then all is read again.
fn dump(kind: u16, header: usize, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let (protocol, deadline) = (SockProtocol::NetlinkRoute, Deadline::after(LIMIT));
    netlink::dump(protocol, kind, &vec![0; header], deadline, |message| each(message.body))?;
    Ok(())
}

/// Every device, by number.
fn read() -> io::Result<Vec<Device>> {
    let mut devices = BTreeMap::new();
    dump(RTM_GETLINK, IFINFOMSG, |body| {
        if let Some(device) = link(body) {
            devices.insert(device.ifindex, device);
        }
    })?;
    dump(RTM_GETADDR, IFADDRMSG, |body| {
        if let Some((ifindex, address)) = own_address(body)
            && let Some(device) = devices.get_mut(&ifindex)
        {
            device.addresses.push(address);
        }
    })?;
    for device in devices.values_mut() {
        device.addresses.sort_unstable();
    }
    Ok(devices.into_values().collect())
}

fn link(body: &[u8]) -> Option<Device> {
    let attributes = body.get(IFINFOMSG..)?;
    let text = |kind| {
        let value = attribute(attributes, kind)?;
        // The kernel ends a name with a zero, and an alias does not count its own.
        let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(value).into_owned())
    };
    let (ifindex, name) = (word(body, 4), text(IFLA_IFNAME)?);
    let alias = text(IFLA_IFALIAS).unwrap_or_default();
    Some(Device { ifindex, name, alias, addresses: Vec::new() })
}

/// On a point-to-point device IFA_ADDRESS is the other end and IFA_LOCAL our own.
fn own_address(body: &[u8]) -> Option<(u32, IpAddr)> {
    let attributes = body.get(IFADDRMSG..)?;
    let value = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS))?;
    let is_ipv6 = i32::from(*body.first()?) == libc::AF_INET6;
    Some((word(body, 4), address(value, is_ipv6)?))
}

/// The devices of a default route, of any table.
fn default_route(body: &[u8]) -> Vec<u32> {
    let is_default = body.get(1) == Some(&0) && body.get(7) == Some(&UNICAST);
    let Some(attributes) = body.get(RTMSG..).filter(|_| is_default) else { return Vec::new() };
    let mut devices = Vec::new();
    devices.extend(attribute(attributes, RTA_OIF).map(|oif| word(oif, 0)));
    let mut hops = attribute(attributes, RTA_MULTIPATH).unwrap_or_default();
    while hops.len() >= NEXTHOP {
        devices.push(word(hops, 4));
        let length = usize::from(u16::from_ne_bytes([hops[0], hops[1]])).max(NEXTHOP);
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    devices
}

/// Type and body of the first message, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    const HEADER: usize = 16;
    let length = word(bytes.get(..HEADER)?, 0) as usize;
    let body = bytes.get(HEADER..length)?;
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((u16::from_ne_bytes([bytes[4], bytes[5]]), body, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(list: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, value) in list {
            bytes.extend((4 + value.len() as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn a_link_has_a_name_and_perhaps_an_alias() {
        let mut body = vec![0; IFINFOMSG];
        body[4] = 7;
        body.extend(attributes(&[(IFLA_IFNAME, b"tap0\0"), (IFLA_IFALIAS, b"eni-1")]));
        let device = link(&body).expect("a link");
        assert_eq!((device.ifindex, &*device.name, &*device.alias), (7, "tap0", "eni-1"));
        assert_eq!(link(&body[..IFINFOMSG]), None, "no name");
    }

    #[test]
    fn a_default_route_names_its_devices() {
        let route = |length: u8, kind: u8, list: &[(u16, &[u8])]| {
            let mut body = vec![0; RTMSG];
            (body[1], body[7]) = (length, kind);
            body.extend(attributes(list));
            default_route(&body)
        };
        let one = 3_u32.to_ne_bytes();
        assert_eq!(route(0, UNICAST, &[(RTA_OIF, &one)]), [3]);
        assert_eq!(route(8, UNICAST, &[(RTA_OIF, &one)]), [0; 0]);
        // RTN_UNREACHABLE
        assert_eq!(route(0, 7, &[(RTA_OIF, &one)]), [0; 0]);
        let hop = |device: u32| {
            let mut hop = 8_u16.to_ne_bytes().to_vec();
            hop.extend([0; 2]);
            hop.extend(device.to_ne_bytes());
            hop
        };
        let hops = [hop(4), hop(5)].concat();
        assert_eq!(route(0, UNICAST, &[(RTA_MULTIPATH, &hops)]), [4, 5]);
    }

    #[tokio::test]
    async fn the_loopback_device_is_there() {
        let devices = Devices::open().expect("rtnetlink");
        assert!(devices.all().iter().any(|device| device.name == "lo"));
    }
}
