//! Frames with a virtio-net header, in which a sender says what the kernel is to do to them: a guest by its
//! tap, a container by a packet socket.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
};

use crate::NetNs;

/// struct virtio_net_hdr (include/uapi/linux/virtio_net.h), of this machine's byte order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Header {
    /// Start of what a checksum covers, and where from there it is to be written.
    pub unfinished: Option<(u16, u16)>,
    /// What the packet is to be cut into: kind, bytes of headers, bytes of payload.
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

impl Header {
    pub fn bytes(self) -> [u8; LENGTH] {
        const NEEDS_CSUM: u8 = 1;
        let (kind, headers, size) = self.segments.unwrap_or_default();
        let (start, offset) = self.unfinished.unwrap_or_default();
        let flags = if self.unfinished.is_some() { NEEDS_CSUM } else { 0 };
        let mut bytes = [flags, kind, 0, 0, 0, 0, 0, 0, 0, 0];
        for (at, field) in [headers, size, start, offset].into_iter().enumerate() {
            bytes[2 + 2 * at..][..2].copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }
}

/// A guest's NIC, of which a test is the guest: an interface, and what goes into it.
#[derive(Debug)]
pub struct Tap(File);

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;

impl Tap {
    /// Makes the interface, which goes with it.
    #[track_caller]
    pub fn open(namespace: &NetNs, interface: &str) -> Self {
        let mut request = [0u8; 40];
        request[..interface.len()].copy_from_slice(interface.as_bytes());
        request[16..18].copy_from_slice(&(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR).to_ne_bytes());
        let opened = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
            let file = options.open("/dev/net/tun")?;
            // SAFETY: a struct ifreq with a name and flags.
            match unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) } {
                0 => Ok(file),
                _ => Err(io::Error::last_os_error()),
            }
        };
        Self(namespace.run(opened).unwrap_or_else(|error| panic!("{interface}: {error}")))
    }

    /// Sends what the guest sends.
    ///
    /// # Errors
    /// The kernel takes no such header.
    pub fn send(&self, header: Header, frame: &[u8]) -> io::Result<()> {
        (&self.0).write_all(&[&header.bytes(), frame].concat())
    }
}
