//! Frames of one's own making, past the kernel's IP stack.

use std::{
    io::{self, ErrorKind, Read as _},
    mem::MaybeUninit,
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::net::if_::if_nametoindex;
use socket2::{Domain, SockAddr, Socket, Type};

use super::vnet::Header;
use crate::NetNs;

/// include/uapi/linux/if_packet.h
const PACKET_VNET_HDR: i32 = 15;

/// An interface to send frames from.
#[derive(Debug)]
pub struct Link(Socket);

impl Link {
    #[track_caller]
    pub fn open(namespace: &NetNs, interface: &str) -> Self {
        let opened = || -> io::Result<Socket> {
            // Protocol 0: it receives nothing.
            let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
            socket.bind(&address(if_nametoindex(interface)?, 0)?)?;
            Ok(socket)
        };
        Self(namespace.run(opened).unwrap_or_else(|error| panic!("{interface}: {error}")))
    }

    /// Frames have a virtio-net header before them; see [`Self::send_with`].
    #[track_caller]
    pub fn open_with_headers(namespace: &NetNs, interface: &str) -> Self {
        let Self(socket) = Self::open(namespace, interface);
        let on = 1i32;
        // SAFETY: an int, as packet(7) wants one.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_VNET_HDR,
                (&raw const on).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
        Self(socket)
    }

    /// Sends a frame of which the header says more.
    ///
    /// # Errors
    /// The kernel takes no such header.
    pub fn send_with(&self, header: Header, frame: &[u8]) -> io::Result<()> {
        or_dropped(self.0.send(&[&header.bytes(), frame].concat()))
    }

    /// The same of one that the kernel is told to be of this protocol, whatever the frame says.
    ///
    /// # Errors
    /// The kernel takes no such header.
    pub fn send_as(&self, protocol: u16, header: Header, frame: &[u8]) -> io::Result<()> {
        let bound = self.0.local_addr()?;
        // SAFETY: the socket is a packet socket, so its address is one of these.
        let ifindex = unsafe { (*bound.as_ptr().cast::<libc::sockaddr_ll>()).sll_ifindex };
        let to = address(ifindex.cast_unsigned(), protocol.to_be())?;
        or_dropped(self.0.send_to(&[&header.bytes(), frame].concat(), &to))
    }

    pub(super) fn into_socket(self) -> Socket {
        self.0
    }

    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        match self.0.send(frame) {
            // The sender's error when TC drops its frame on the way out.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            sent => assert_eq!(sent.expect("a frame to send"), frame.len()),
        }
    }
}

/// TC may drop a frame on the way out, of which its sender is told.
fn or_dropped(sent: io::Result<usize>) -> io::Result<()> {
    match sent {
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
        sent => sent.map(drop),
    }
}

/// Looks at the frames that pass an interface.
#[derive(Debug)]
pub struct Watch {
    largest: JoinHandle<usize>,
    /// Ends the thread when it goes.
    _running: Receiver<()>,
}

impl Watch {
    #[track_caller]
    pub fn open(namespace: &NetNs, interface: &str) -> Self {
        let socket = listen(namespace, interface);
        let (running, ends) = mpsc::sync_channel(0);
        let watch = move || {
            let mut largest = 0;
            let mut frame = vec![0; 1 << 20];
            loop {
                // Frames that have come by the end count, read or not.
                let ends = running.try_send(()) == Err(mpsc::TrySendError::Disconnected(()));
                match (&socket).read(&mut frame) {
                    Ok(length) => largest = largest.max(length),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
                }
                if ends && is_empty(&socket) {
                    return largest;
                }
            }
        };
        Self { largest: thread::spawn(watch), _running: ends }
    }

    /// Bytes of the largest frame until now.
    pub fn largest(self) -> usize {
        let Self { largest, _running: running } = self;
        drop(running);
        largest.join().expect("no panic")
    }
}

/// Counts frames that pass an interface and that `which` says; until the process ends.
#[track_caller]
pub fn count(
    namespace: &NetNs,
    interface: &str,
    which: impl Fn(&[u8]) -> bool + Send + 'static,
) -> Arc<AtomicU64> {
    let socket = listen(namespace, interface);
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    thread::spawn(move || {
        let mut frame = vec![0; 1 << 16];
        loop {
            match (&socket).read(&mut frame) {
                Ok(length) if which(&frame[..length]) => {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
    });
    seen
}

/// Gets all frames that pass an interface.
#[track_caller]
fn listen(namespace: &NetNs, interface: &str) -> Socket {
    let opened = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let all = (libc::ETH_P_ALL as u16).to_be();
        socket.bind(&address(if_nametoindex(interface)?, all)?)?;
        Ok(socket)
    };
    namespace.run(opened).unwrap_or_else(|error| panic!("{interface}: {error}"))
}

/// See packet(7).
fn address(ifindex: u32, protocol: u16) -> io::Result<SockAddr> {
    let link = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol,
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

/// Whether nothing waits to be read.
fn is_empty(socket: &Socket) -> bool {
    socket.peek(&mut [MaybeUninit::uninit()]).is_err()
}
