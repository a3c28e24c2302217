//! The time of a program, by test runs (BPF_PROG_TEST_RUN) that give it another packet each time.
//! For the tests and the bench.
//!
//! The kernel repeats a test run with one and the same frame, whose rules and flows would soon be
//! in the innermost cache. A small program of ours therefore goes first ([`super::varying`]). It
//! writes another source into the frame and tail-calls the program that is measured.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use super::{
    test_run,
    trial::Program,
    varying::{NextAction, Sources, Varying, program_type},
};
use crate::{bpf::syscall, datapath::Datapath};

/// A program behind one that varies the packets, or alone.
#[derive(Debug)]
pub struct Stopwatch {
    varying: Option<Varying>,
    /// The program to run if nothing varies; else keeps the tail-called program alive.
    called: OwnedFd,
    program: Program,
    ifindex: u32,
    frame: Vec<u8>,
}

impl Datapath {
    /// A program that is to judge copies of `frame` (see [`super::varying`]) on an interface.
    ///
    /// # Errors
    /// The kernel's refusal of the program in front.
    pub fn stopwatch(
        &self,
        program: Program,
        ifindex: u32,
        frame: &[u8],
        sources: Sources,
    ) -> io::Result<Stopwatch> {
        let measured = match program {
            Program::Xdp => self.programs.xdp()?,
            Program::TcIn => self.programs.tc_in()?,
            Program::TcOut => self.programs.tc_out()?,
        };
        Stopwatch::new(measured, program, ifindex, frame, sources)
    }
}

impl Stopwatch {
    /// The same of a program that does nothing, for what the measuring itself costs.
    ///
    /// # Errors
    /// As above.
    pub fn of_nothing(
        program: Program,
        ifindex: u32,
        frame: &[u8],
        sources: Sources,
    ) -> io::Result<Self> {
        Self::new(nothing(program)?.as_fd(), program, ifindex, frame, sources)
    }

    /// A program that does nothing with one and the same packet: how fast this machine is.
    ///
    /// # Errors
    /// As above.
    pub fn of_least(program: Program, ifindex: u32, frame: &[u8]) -> io::Result<Self> {
        let called = nothing(program)?;
        Ok(Self { varying: None, called, program, ifindex, frame: frame.to_vec() })
    }

    fn new(
        measured: BorrowedFd<'_>,
        program: Program,
        ifindex: u32,
        frame: &[u8],
        sources: Sources,
    ) -> io::Result<Self> {
        let calls = test_run::create_program_array(measured)?;
        let varying = Varying::load(program, frame, sources, &NextAction::TailCall(calls.as_fd()))?;
        let varying = Some(varying);
        Ok(Self { varying, called: calls, program, ifindex, frame: frame.to_vec() })
    }

    /// Begins again with the first source; of random ones, with those of this seed.
    pub fn restart(&self, seed: u64) {
        if let Some(varying) = &self.varying {
            varying.restart(seed);
        }
    }

    /// Nanoseconds of the calling thread for each of `packets` packets. The figure includes a share
    /// of the system call, which is the same for all programs. The kernel's own figure would have
    /// no fractions. Wall-clock time would hold a grace period (`bpf_prog_change_xdp`).
    ///
    /// # Errors
    /// The kernel's refusal of the test run.
    pub fn run(&self, packets: u32) -> io::Result<f64> {
        let program = self.varying.as_ref().map_or(&self.called, |varying| &varying.program);
        let (program, frame) = (program.as_fd(), &self.frame[..]);
        let start = thread_time();
        match self.program {
            Program::Xdp => test_run::repeat_xdp(program, frame, self.ifindex, packets)?,
            Program::TcIn | Program::TcOut => {
                test_run::repeat_skb(program, frame, self.ifindex, packets)?;
            }
        }
        Ok((thread_time() - start).as_nanos() as f64 / f64::from(packets))
    }
}

fn nothing(program: Program) -> io::Result<OwnedFd> {
    // r0 = 1; exit
    syscall::load_program(program_type(program), &[0xb7 | 1 << 32, 0x95])
}

/// CPU time of the calling thread.
fn thread_time() -> Duration {
    let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
    clock.now().map(Duration::from).unwrap_or_default()
}
