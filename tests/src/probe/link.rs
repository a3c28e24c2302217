//! Frames of one's own making, past the kernel's IP stack.

use std::io;

use nix::net::if_::if_nametoindex;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::NetNs;

/// An interface to send frames from.
#[derive(Debug)]
pub struct Link(Socket);

impl Link {
    #[track_caller]
    pub fn open(namespace: &NetNs, interface: &str) -> Self {
        let opened = || -> io::Result<Socket> {
            // Protocol 0: it receives nothing.
            let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
            socket.bind(&address(if_nametoindex(interface)?)?)?;
            Ok(socket)
        };
        Self(namespace.run(opened).unwrap_or_else(|error| panic!("{interface}: {error}")))
    }

    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        match self.0.send(frame) {
            // What the sender is told when TC drops its frame on the way out.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            sent => assert_eq!(sent.expect("a frame to send"), frame.len()),
        }
    }
}

/// See packet(7).
fn address(ifindex: u32) -> io::Result<SockAddr> {
    let link = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: ifindex.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: a storage holds any address; its length is that of what is written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<libc::sockaddr_ll>().write(link);
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    Ok(address)
}
