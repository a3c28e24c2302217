//! Frames that their sender can still write to after it has sent them: PACKET_TX_RING, whose pages go into
//! the packet.

use std::{
    io,
    os::fd::AsRawFd as _,
    ptr,
    sync::atomic::{AtomicU16, AtomicU32, Ordering},
};

use socket2::Socket;

use super::link::Link;
use crate::NetNs;

/// include/uapi/linux/if_packet.h
const PACKET_VERSION: i32 = 10;
const PACKET_TX_RING: i32 = 13;
const TPACKET_V2: libc::c_int = 1;
const TP_STATUS_SEND_REQUEST: u32 = 1;
/// Where a frame begins behind a struct tpacket2_hdr, and where that has the frame's length.
const DATA: usize = 32;
const FRAME_LENGTH: usize = 4;
/// One frame, one block: a page.
const PAGE: usize = 4096;

/// A ring of one frame.
#[derive(Debug)]
pub struct Ring {
    socket: Socket,
    page: *mut u8,
}

// SAFETY: the page is shared with the kernel anyway; every access through it is atomic.
unsafe impl Sync for Ring {}

impl Ring {
    #[track_caller]
    pub fn open(namespace: &NetNs, interface: &str, frame: &[u8]) -> Self {
        let socket = Link::open(namespace, interface).into_socket();
        // struct tpacket_req: size and number of blocks, size and number of frames.
        let request = [PAGE as libc::c_uint, 1, PAGE as libc::c_uint, 1];
        set(&socket, PACKET_VERSION, &TPACKET_V2);
        set(&socket, PACKET_TX_RING, &request);
        // SAFETY: a new mapping of the socket's ring.
        let page = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(ptr::null_mut(), PAGE, access, libc::MAP_SHARED, socket.as_raw_fd(), 0)
        };
        assert_ne!(page, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        let ring = Self { socket, page: page.cast() };
        assert!(frame.len() <= PAGE - DATA, "a frame in a page");
        // SAFETY: within the page, which the kernel does not look at before it is asked.
        unsafe {
            ptr::copy_nonoverlapping(frame.as_ptr(), ring.page.add(DATA), frame.len());
            ring.page.add(FRAME_LENGTH).cast::<u32>().write(frame.len() as u32);
        }
        ring
    }

    /// Two bytes of the frame, of the network's order; written while it is on its way.
    ///
    /// # Panics
    /// `at` is odd, or beyond a page.
    pub fn write(&self, at: usize, value: u16) {
        assert!(at.is_multiple_of(2) && at < PAGE - DATA);
        // SAFETY: aligned and within the page.
        let half = unsafe { AtomicU16::from_ptr(self.page.add(DATA + at).cast()) };
        half.store(value.to_be(), Ordering::Relaxed);
    }

    /// Sends the frame as it is now, and waits until the kernel has done with it.
    ///
    /// # Errors
    /// The kernel refuses the frame.
    pub fn send(&self) -> io::Result<()> {
        // SAFETY: the first word of the page, which is aligned.
        let status = unsafe { AtomicU32::from_ptr(self.page.cast()) };
        status.store(TP_STATUS_SEND_REQUEST, Ordering::Release);
        match self.socket.send(&[]) {
            // TC dropped it on the way out.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
            sent => sent.map(drop),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nothing uses any more.
        unsafe { libc::munmap(self.page.cast(), PAGE) };
    }
}

#[track_caller]
fn set<T>(socket: &Socket, option: i32, value: &T) {
    // SAFETY: the value is what the option wants, see packet(7).
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}
