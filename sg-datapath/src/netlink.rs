//! Netlink dumps in a bounded time, and their attributes. The agent uses them, too, to ask the
//! kernel about connections.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
        sockopt::ReceiveTimeout,
    },
    time::{TimeVal, TimeValLike as _},
};

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
/// The table changed while it was dumped: entries may be missing.
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The kernel fills at most this much at once (NLMSG_GOODSIZE and above, net/netlink/af_netlink.c).
const BUFFER: usize = 32 << 10;

/// Where it starts to be too long.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    fn check(self) -> io::Result<()> {
        if Instant::now() < self.0 { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }
}

/// Whether a dump shows one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    Whole,
    /// The kernel changed the table meanwhile, so that the dump may lack entries.
    Interrupted,
}

/// Asks for everything of a kind; `each` gets each message.
pub fn dump(
    protocol: SockProtocol,
    kind: u16,
    request: &[u8],
    deadline: Deadline,
    each: impl FnMut(Message<'_>),
) -> io::Result<Consistency> {
    exchange(protocol, kind, NLM_F_DUMP, request, deadline, each)
}

/// Asks for one thing.
pub fn get(
    protocol: SockProtocol,
    kind: u16,
    request: &[u8],
    deadline: Deadline,
    each: impl FnMut(Message<'_>),
) -> io::Result<()> {
    exchange(protocol, kind, NLM_F_ACK, request, deadline, each).map(drop)
}

fn exchange(
    protocol: SockProtocol,
    kind: u16,
    flags: u16,
    request: &[u8],
    deadline: Deadline,
    mut each: impl FnMut(Message<'_>),
) -> io::Result<Consistency> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(100))?;
    ask(&socket, kind, flags, request)?;
    let mut buffer = vec![0; BUFFER];
    let mut consistency = Consistency::Whole;
    loop {
        deadline.check()?;
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => length,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for message in messages(buffer.get(..length).unwrap_or_default()) {
            if message.flags & NLM_F_DUMP_INTR != 0 {
                consistency = Consistency::Interrupted;
            }
            match message.kind {
                NLMSG_DONE => return Ok(consistency),
                NLMSG_ERROR => match word(message.body, 0) as i32 {
                    0 => return Ok(consistency),
                    error => return Err(io::Error::from_raw_os_error(-error)),
                },
                _ => each(message),
            }
        }
    }
}

fn ask(socket: &OwnedFd, kind: u16, flags: u16, request: &[u8]) -> io::Result<()> {
    let mut message = Vec::with_capacity(HEADER + request.len());
    message.extend(((HEADER + request.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(request);
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    Ok(())
}

/// A netlink message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub kind: u16,
    flags: u16,
    /// The bytes after the header.
    pub body: &'a [u8],
}

/// The messages of one receive call, up to the first one that is cut off.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = word(bytes.get(..HEADER)?, 0) as usize;
        let body = bytes.get(HEADER..length)?;
        let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let message = Message { kind: half(4), flags: half(6), body };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The native word at `at`; 0 where there is none.
pub fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_ne_bytes)
}

/// The big-endian half word at `at`, as ports are sent.
pub fn port(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]))
}

/// The address at the start of `bytes`: 4 bytes of it or 16.
pub fn address(bytes: &[u8], is_ipv6: bool) -> Option<IpAddr> {
    Some(if is_ipv6 {
        Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(..16)?).ok()?).into()
    } else {
        Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?).into()
    })
}

/// The attributes in a list, with their kinds, up to the first one that is cut off.
pub fn attributes(mut list: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const HEADER: usize = 4;
    /// NLA_F_NESTED and NLA_F_NET_BYTEORDER.
    const FLAGS: u16 = 0xc000;
    std::iter::from_fn(move || {
        let header = list.get(..HEADER)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & !FLAGS;
        let value = list.get(HEADER..length)?;
        list = list.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a kind in a list of them.
pub fn attribute(list: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(list).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_attributes_end_where_they_say() {
        let mut bytes = vec![0; 16];
        bytes[0] = 17;
        bytes[4] = 20;
        bytes.extend([9, 0, 0, 0, 16, 0, 0, 0]);
        bytes.extend([0; 12]);
        let found: Vec<_> = messages(&bytes).map(|message| (message.kind, message.body)).collect();
        assert_eq!(found, [(20, &[9][..]), (0, &[][..])]);
        for length in 0..16 {
            assert_eq!(messages(&bytes[..length]).count(), 0);
        }
        let list = [5, 0, 1, 0x80, 7, 0, 0, 0, 6, 0, 2, 0, 1, 2];
        assert_eq!(attribute(&list, 1), Some(&[7][..]));
        assert_eq!(attribute(&list, 2), Some(&[1, 2][..]));
        assert_eq!(attribute(&list, 3), None);
        // Shorter than its own header: nothing, and no loop without end.
        assert_eq!(attribute(&[0, 0, 9, 0, 5, 0, 2, 0, 1], 2), None);
        assert_eq!(attribute(&[255, 0, 2, 0, 5], 2), None);
    }
}
