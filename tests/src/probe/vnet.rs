//! Frames with a virtio-net header, in which a sender says what the kernel is to do to them: a guest by its
//! tap, a container by a packet socket.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
};

use crate::NetNs;

/// struct virtio_net_hdr (include/uapi/linux/virtio_net.h), of this machine's byte order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Header {
    /// Start of what a checksum covers, and where from there it is to be written.
    pub unfinished: Option<(u16, u16)>,
    /// How the packet is to be cut: kind, bytes of headers, bytes of payload.
    pub segments: Option<(u8, u16, u16)>,
}

pub const TCP4: u8 = 1;
/// Fragments.
pub const UFO: u8 = 3;
pub const TCP6: u8 = 4;
/// Datagrams; from Linux 6.2 on.
pub const USO: u8 = 5;

/// Bytes of a header.
pub const LENGTH: usize = 10;

const NEEDS_CSUM: u8 = 1;

impl Header {
    pub fn bytes(self) -> [u8; LENGTH] {
        let (kind, headers, size) = self.segments.unwrap_or_default();
        let (start, offset) = self.unfinished.unwrap_or_default();
        let flags = if self.unfinished.is_some() { NEEDS_CSUM } else { 0 };
        let mut bytes = [flags, kind, 0, 0, 0, 0, 0, 0, 0, 0];
        for (at, field) in [headers, size, start, offset].into_iter().enumerate() {
            bytes[2 + 2 * at..][..2].copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    /// struct virtio_net_hdr_v1_hash_tunnel, of a packet in a UDP tunnel over IPv4; from Linux 6.17 on.
    ///
    /// `outer` is the offset of the tunnel's UDP header, `inner` that of the inner IP header.
    pub fn in_tunnel(self, outer: u16, inner: u16) -> [u8; TUNNEL_LENGTH] {
        const UDP_TUNNEL_IPV4: u8 = 0x20;
        let mut bytes = [0; TUNNEL_LENGTH];
        bytes[..LENGTH].copy_from_slice(&self.bytes());
        bytes[1] |= UDP_TUNNEL_IPV4;
        bytes[20..22].copy_from_slice(&outer.to_le_bytes());
        bytes[22..24].copy_from_slice(&inner.to_le_bytes());
        bytes
    }
}

/// Bytes of a header with a tunnel's offsets.
pub const TUNNEL_LENGTH: usize = 24;

/// Work that the reader of a tap takes over from the kernel (include/uapi/linux/if_tun.h).
pub mod offload {
    use libc::c_ulong;

    pub const NONE: c_ulong = 0;
    pub const CHECKSUM: c_ulong = 0x01;
    pub const TCP: c_ulong = CHECKSUM | 0x02 | 0x04;
    /// Datagrams; from Linux 6.2 on.
    pub const UDP: c_ulong = 0x20 | 0x40;
    /// Packets in UDP tunnels; from Linux 6.17 on.
    pub const UDP_TUNNEL: c_ulong = 0x80;
}

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
const TUNSETVNETHDRSZ: libc::c_ulong = 0x4004_54d8;
const IFF_TUN: u16 = 0x0001;
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;

/// A guest's NIC, of which a test is the guest: an interface, and what goes into it.
#[derive(Debug)]
pub struct Tap(File);

/// The interface of a VPN's program, of which a test is the program: plain IP packets.
#[track_caller]
pub fn tun(namespace: &NetNs, interface: &str) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    device(namespace, interface, IFF_TUN | IFF_NO_PI, &options)
}

#[track_caller]
fn device(namespace: &NetNs, interface: &str, flags: u16, options: &OpenOptions) -> File {
    let mut request = [0u8; 40];
    request[..interface.len()].copy_from_slice(interface.as_bytes());
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    let opened = || {
        let file = options.open("/dev/net/tun")?;
        // SAFETY: a struct ifreq with a name and flags.
        match unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) } {
            0 => Ok(file),
            _ => Err(io::Error::last_os_error()),
        }
    };
    namespace.run(opened).unwrap_or_else(|error| panic!("{interface}: {error}"))
}

impl Tap {
    /// Makes the interface, which goes with it.
    #[track_caller]
    pub fn open(namespace: &NetNs, interface: &str) -> Self {
        Self::of(namespace, interface, IFF_TAP | IFF_NO_PI)
    }

    /// The same without Ethernet headers, and with a word for each packet; see [`Self::send_as`].
    #[track_caller]
    pub fn open_tun(namespace: &NetNs, interface: &str) -> Self {
        Self::of(namespace, interface, IFF_TUN)
    }

    #[track_caller]
    fn of(namespace: &NetNs, interface: &str, flags: u16) -> Self {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        Self(device(namespace, interface, flags | IFF_VNET_HDR, &options))
    }

    /// The same tap once more.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Tells the kernel which work it may leave to the reader; of [`offload`].
    ///
    /// # Errors
    /// The kernel knows less.
    pub fn negotiate(&self, offload: libc::c_ulong) -> io::Result<()> {
        // SAFETY: the argument is a number.
        done(unsafe { libc::ioctl(self.0.as_raw_fd(), TUNSETOFFLOAD, offload) })
    }

    /// Headers are of [`TUNNEL_LENGTH`] from now on.
    ///
    /// # Errors
    /// The kernel knows no tunnels here.
    pub fn negotiate_tunnels(&self) -> io::Result<()> {
        let length = TUNNEL_LENGTH as libc::c_int;
        // SAFETY: an int, which the kernel reads.
        done(unsafe { libc::ioctl(self.0.as_raw_fd(), TUNSETVNETHDRSZ, &raw const length) })?;
        self.negotiate(offload::TCP | offload::UDP_TUNNEL)
    }

    /// Sends what the guest sends.
    ///
    /// # Errors
    /// The kernel takes no such header.
    pub fn send(&self, header: Header, frame: &[u8]) -> io::Result<()> {
        self.write(&[&header.bytes(), frame].concat())
    }

    /// Sends a packet into a tun, which the kernel is told to be of this protocol.
    ///
    /// # Errors
    /// The kernel takes no such header.
    pub fn send_as(&self, protocol: u16, header: Header, packet: &[u8]) -> io::Result<()> {
        let [high, low] = protocol.to_be_bytes();
        self.write(&[&[0, 0, high, low], &header.bytes()[..], packet].concat())
    }

    /// Sends a header and a frame.
    ///
    /// # Errors
    /// The kernel takes no such header.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    /// The next header and frame for the guest; `None` where nothing waits.
    pub(super) fn read(&self, bytes: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.0).read(bytes) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for that, a moment.
    pub(super) fn wait(&self) {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor. Who finds nothing then comes again.
        unsafe { libc::poll(&raw mut poll, 1, 20) };
    }
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether a header leaves a checksum to its reader.
pub(super) fn is_unfinished(bytes: &[u8]) -> bool {
    bytes[0] & NEEDS_CSUM != 0
}
