//! Follows the interfaces of the network namespace by rtnetlink.
//!
//! The kernel queues events for a socket and drops them when its queue is full, which it says once (ENOBUFS). By
//! then older events are still queued. They are thrown away before everything is read anew, because the
//! dump is newer than they are. An event that comes between that and the dump is taken in after the
//! dump, in its order, and leads to the same end.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    net::if_::if_indextoname,
    sys::socket::{
        AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt,
        socket,
        sockopt::{RcvBuf, RcvBufForce},
    },
};
use sg_datapath::netlink::{self, Consistency, Deadline, Message, messages};
use tokio::io::{Interest, unix::AsyncFd};
use tracing::{error, warn};

use super::{
    decode::{Undecodable, decode},
    interfaces::{Device, Event, Tracker, View},
    name::Name,
};

/// Room for bursts of events. The kernel caps it at net.core.rmem_max without CAP_NET_ADMIN.
const RECEIVE_BUFFER: usize = 1 << 20;
/// More than any event: the kernel sends no longer ones (NLMSG_GOODSIZE).
const LONGEST: usize = 64 << 10;
/// Events that are taken in before the view is told to others, however many more there are.
const AT_ONCE: usize = 8192;
/// A dump takes at most this long.
const DUMP_TIME: Duration = Duration::from_secs(10);
/// Dumps that are tried until one shows a single moment.
const DUMPS: u32 = 10;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;

/// An up-to-date view, and the events that change it.
#[derive(Debug)]
pub struct Watch {
    events: AsyncFd<OwnedFd>,
    tracker: Tracker,
    buffer: Vec<u8>,
}

/// The result of an attempt to receive.
enum Received {
    /// Bytes that are in the buffer.
    Bytes(usize),
    /// The kernel dropped events.
    Lost,
}

impl Watch {
    /// Subscribes, then dumps, so that nothing falls in between. Within a runtime.
    ///
    /// # Errors
    /// The kernel refuses the socket or the dump.
    pub async fn open() -> anyhow::Result<Self> {
        let socket = subscribe().context("cannot follow interfaces by rtnetlink")?;
        // SAFETY: the socket is ours, valid, and closed by nobody else while the other end of this owns it.
        let events = unsafe { AsyncFd::register(socket) };
        let events = events.map_err(io::Error::from).context("cannot wait for rtnetlink")?;
        let mut watch = Self { events, tracker: Tracker::default(), buffer: vec![0; LONGEST] };
        watch.read_all().await?;
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
            let Self { events, buffer, .. } = self;
            let first = events.async_io(Interest::READABLE, |socket| receive(socket, buffer)).await;
            if self.take_all(first).await? {
                return Ok(self.tracker.view());
            }
        }
    }

    /// Takes the received message, and all others that wait. Returns true if the view has changed.
    async fn take_all(&mut self, first: io::Result<Received>) -> anyhow::Result<bool> {
        let (mut received, mut changed) = (first, false);
        for _ in 0..AT_ONCE {
            match received {
                Ok(Received::Bytes(length)) => changed |= self.take(length),
                Ok(Received::Lost) => {
                    warn!("rtnetlink events were lost; reading all interfaces anew");
                    self.read_all().await?;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("the rtnetlink socket broke"),
            }
            received = receive(self.events.get_ref(), &mut self.buffer);
        }
        Ok(changed)
    }

    /// Takes in the messages in the buffer.
    fn take(&mut self, length: usize) -> bool {
        let mut changed = false;
        for message in messages(self.buffer.get(..length).unwrap_or_default()) {
            if let Some(event) = event_of(decode(message)) {
                changed |= self.tracker.take(event);
            }
        }
        changed
    }

    /// Replaces the view by a new dump. Events that were queued before are older, and are thrown
    /// away.
    async fn read_all(&mut self) -> anyhow::Result<()> {
        let mut events = Vec::new();
        for attempt in 1..=DUMPS {
            self.discard()?;
            let found = tokio::task::spawn_blocking(dump).await.context("a dump panicked")?;
            let (found, consistency) = found.context("cannot list the interfaces")?;
            events = found;
            if consistency == Consistency::Whole {
                break;
            }
            if attempt == DUMPS {
                warn!("interfaces come and go too fast to be listed at one moment");
            }
        }
        self.tracker.replace(events);
        Ok(())
    }

    fn discard(&mut self) -> anyhow::Result<()> {
        loop {
            match receive(self.events.get_ref(), &mut self.buffer) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("the rtnetlink socket broke"),
            }
        }
    }
}

fn subscribe() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let protocol = SockProtocol::NetlinkRoute;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    let enlarged = setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER)
        .or_else(|_| setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER));
    if let Err(error) = enlarged {
        warn!(%error, "rtnetlink keeps its small receive buffer");
    }
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    Ok(socket)
}

/// Receives without waiting.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Received> {
    loop {
        return match recvfrom::<NetlinkAddr>(socket.as_raw_fd(), buffer) {
            // Only the kernel knows.
            Ok((_, Some(sender))) if sender.pid() != 0 => continue,
            // It may have been longer.
            Ok((length, _)) if length == buffer.len() => Ok(Received::Lost),
            Ok((length, _)) => Ok(Received::Bytes(length)),
            Err(Errno::EINTR) => continue,
            Err(Errno::ENOBUFS) => Ok(Received::Lost),
            Err(error) => Err(error.into()),
        };
    }
}

/// Reports what cannot be decoded. An interface is not missed for that: its name is asked for by its number.
fn event_of(decoded: Result<Option<Event>, Undecodable>) -> Option<Event> {
    let Undecodable { ifindex, is_link } = match decoded {
        Ok(event) => return event,
        Err(undecodable) => undecodable,
    };
    let Some(ifindex) = ifindex else {
        error!("a message of rtnetlink is too short to say which interface it is about");
        return None;
    };
    error!(ifindex, "a message of rtnetlink about this interface cannot be decoded");
    let name = is_link.then(|| if_indextoname(ifindex).ok()).flatten()?;
    let name = Name::of(name.to_bytes());
    Some(Event::Interface { ifindex, device: Device { name, ethernet: true, ..Device::default() } })
}

/// All interfaces with their addresses.
fn dump() -> io::Result<(Vec<Event>, Consistency)> {
    let mut events = Vec::new();
    let mut consistency = Consistency::Whole;
    // Struct ifinfomsg or ifaddrmsg, of all families.
    for (kind, request) in [(RTM_GETLINK, &[0u8; 16][..]), (RTM_GETADDR, &[0u8; 8][..])] {
        let deadline = Deadline::after(DUMP_TIME);
        let take = |message: Message<'_>| events.extend(event_of(decode(message)));
        let found = netlink::dump(SockProtocol::NetlinkRoute, kind, request, deadline, take)?;
        if found == Consistency::Interrupted {
            consistency = found;
        }
    }
    Ok((events, consistency))
}
