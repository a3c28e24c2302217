//! Traffic made in the kernel, for the bench: live frames of a test run (BPF_F_TEST_XDP_LIVE_FRAMES)
//! that a program of ours gives another source each ([`super::varying`]) and sends over an interface.
//! And what they meet where no filter is: the least that a program can do.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use super::{
    test_run,
    trial::Program,
    varying::{NextAction, Sources, Varying, instruction, program_type},
};
use crate::bpf::syscall::{self, AttachType, Mapping, PAGE};

/// Sends copies of a frame.
#[derive(Debug)]
pub struct Generator {
    varying: Varying,
    frame: Vec<u8>,
}

impl Generator {
    /// From an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel's refusal of the program.
    pub fn new(ifindex: u32, frame: &[u8], sources: Sources) -> io::Result<Self> {
        let varying = Varying::load(Program::Xdp, frame, sources, &NextAction::Redirect(ifindex))?;
        Ok(Self { varying, frame: frame.to_vec() })
    }

    /// Begins again with the first source; of random ones, with those of this seed.
    pub fn restart(&self, seed: u64) {
        self.varying.restart(seed);
    }

    /// Sends so many packets, from the interface's namespace. Returns nanoseconds for each by the
    /// kernel's clock, which runs from the first packet to the last. The receiver works on this CPU
    /// meanwhile, and has done nearly all of its work when the clock stops.
    ///
    /// # Errors
    /// The kernel's refusal of the test run.
    pub fn send(&self, packets: u32) -> io::Result<u32> {
        test_run::send_live(self.varying.program.as_fd(), &self.frame, packets)
    }
}

/// The least that can be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaselineProgram {
    XdpDrop,
    XdpPass,
    TcDrop,
    /// Behind all other TC programs of the interface's ingress: counts and drops.
    Sink,
}

/// An attached program; off again when dropped.
#[derive(Debug)]
pub struct Attached {
    _link: OwnedFd,
    counter: Mapping,
}

impl BaselineProgram {
    /// Attaches to an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel's refusal of the map or the attachment.
    pub fn attach(self, ifindex: u32) -> io::Result<Attached> {
        let map = syscall::create_map("sunk", PAGE as u32)?;
        let counter = Mapping::new(map.as_fd(), 0, PAGE)?;
        let number = |number| instruction(0xb7, 0, 0, 0, number);
        let exit = instruction(0x95, 0, 0, 0, 0);
        let (program, code) = match self {
            // XDP_DROP, XDP_PASS; TC_ACT_SHOT
            Self::XdpDrop => (Program::Xdp, vec![number(1), exit]),
            Self::XdpPass => (Program::Xdp, vec![number(2), exit]),
            Self::TcDrop => (Program::TcIn, vec![number(2), exit]),
            Self::Sink => {
                let count = [
                    // r1 = address of the map's value; *r1 += 1
                    instruction(0x18, 1, 2, 0, map.as_raw_fd()),
                    0,
                    instruction(0x79, 2, 1, 0, 0),
                    instruction(0x07, 2, 0, 0, 1),
                    instruction(0x7b, 1, 2, 0, 0),
                ];
                (Program::TcIn, [&count[..], &[number(2), exit]].concat())
            }
        };
        let loaded = syscall::load_program(program_type(program), &code)?;
        let link = match self {
            Self::XdpDrop | Self::XdpPass => {
                syscall::create_link(loaded.as_fd(), ifindex, AttachType::Xdp)
            }
            Self::TcDrop => syscall::create_link(loaded.as_fd(), ifindex, AttachType::TcxIngress),
            Self::Sink => {
                test_run::create_last_link(loaded.as_fd(), ifindex, AttachType::TcxIngress)
            }
        }?;
        Ok(Attached { _link: link, counter })
    }
}

impl Attached {
    /// Packets that came to a sink.
    pub fn sunk(&self) -> u64 {
        // SAFETY: within the mapping; the program writes whole words.
        unsafe { self.counter.at::<u64>(0).read_volatile() }
    }
}
