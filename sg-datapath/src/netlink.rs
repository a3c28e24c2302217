//! Netlink dumps in a bounded time, and their attributes: for what is here, and for whoever asks the
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
const NLM_F_DUMP: u16 = 0x300;
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

/// Asks for everything of a kind; `each` gets the message type and what follows the header.
pub fn dump(
    protocol: SockProtocol,
    kind: u16,
    request: &[u8],
    deadline: Deadline,
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(100))?;
    ask(&socket, kind, request)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        deadline.check()?;
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => length,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((kind, body, next)) = message(rest) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return Err(io::Error::from_raw_os_error(-(word(body, 0) as i32))),
                _ => each(body),
            }
            rest = next;
        }
    }
}

fn ask(socket: &OwnedFd, kind: u16, request: &[u8]) -> io::Result<()> {
    let mut message = Vec::with_capacity(HEADER + request.len());
    message.extend(((HEADER + request.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(request);
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    Ok(())
}

/// Type and body of the first message, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = word(bytes.get(..HEADER)?, 0) as usize;
    let body = bytes.get(HEADER..length)?;
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((u16::from_ne_bytes([bytes[4], bytes[5]]), body, next))
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

/// The value of an attribute in a list of them.
pub fn attribute(mut list: &[u8], wanted: u16) -> Option<&[u8]> {
    const HEADER: usize = 4;
    /// NLA_F_NESTED and NLA_F_NET_BYTEORDER.
    const FLAGS: u16 = 0xc000;
    while list.len() >= HEADER {
        let length = usize::from(u16::from_ne_bytes([list[0], list[1]]));
        let kind = u16::from_ne_bytes([list[2], list[3]]) & !FLAGS;
        let value = list.get(HEADER..length)?;
        if kind == wanted {
            return Some(value);
        }
        list = list.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
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
        let (kind, body, rest) = message(&bytes).unwrap();
        assert_eq!((kind, body, rest.len()), (20, &[9][..], 16));
        assert!(message(rest).is_some_and(|(_, body, rest)| body.is_empty() && rest.is_empty()));
        for length in 0..16 {
            assert!(message(&bytes[..length]).is_none());
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
