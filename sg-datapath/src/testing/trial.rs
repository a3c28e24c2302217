//! Trials: the loaded programs run on made-up frames (BPF_PROG_TEST_RUN), with nothing attached. For
//! the tests, which compare what comes of it with the reference evaluator.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::Ordering,
};

use sg_common::{
    control::IMAGE_ALIGN,
    counter::{Counter, CounterRow},
    flow::Tick,
    reason::REASONS,
    usage::Table,
};

use super::test_run;
use crate::{
    bpf::syscall::Mapping,
    datapath::Datapath,
    error::Error,
    flows::usage::UsageRows,
    maps::{arena::Arena, region::Region},
};

/// The programs that judge packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    Xdp,
    TcIn,
    TcOut,
}

/// A frame as a program gets it.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    pub program: Program,
    pub ifindex: u32,
    pub frame: &'a [u8],
    /// TC: many segments in one packet.
    pub gso: bool,
    /// XDP: bytes in the linear part, the rest in fragments (kernel 6.18+).
    pub linear: Option<u32>,
}

/// See [`Datapath::trials`].
#[derive(Debug)]
pub struct Trials {
    xdp: OwnedFd,
    tc_in: OwnedFd,
    tc_out: OwnedFd,
}

impl Trials {
    /// Runs a program once.
    ///
    /// # Errors
    /// The kernel's refusal of the test run.
    pub fn run(&self, trial: &Trial<'_>) -> io::Result<Verdict> {
        let program = match trial.program {
            Program::Xdp => &self.xdp,
            Program::TcIn => &self.tc_in,
            Program::TcOut => &self.tc_out,
        };
        run(program.as_fd(), trial)
    }
}

fn run(fd: BorrowedFd<'_>, trial: &Trial<'_>) -> io::Result<Verdict> {
    let Trial { program, ifindex, frame, gso, linear } = *trial;
    let test_run::Ran { returned, is_untouched } = match program {
        Program::Xdp => test_run::run_xdp(fd, frame, ifindex, linear)?,
        Program::TcIn | Program::TcOut => test_run::run_skb(fd, frame, ifindex, gso)?,
    };
    // XDP_PASS, XDP_DROP; TC_ACT_UNSPEC, TC_ACT_SHOT.
    Ok(match (program, returned as i32) {
        _ if !is_untouched => Verdict::Modified,
        (Program::Xdp, 2) | (Program::TcIn | Program::TcOut, -1) => Verdict::Pass,
        (Program::Xdp, 1) | (Program::TcIn | Program::TcOut, 2) => Verdict::Drop,
        (_, other) => Verdict::Other(other),
    })
}

/// Where in the counters something moved, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub slot: u16,
    /// See [`sg_common::counter::index`].
    pub index: usize,
    pub by: Counter,
}

/// Where an image is.
#[derive(Clone, Copy, Debug)]
pub struct Place(u16);

/// Words that an image may waste at its end.
const PAGE: usize = IMAGE_ALIGN / size_of::<u32>();

/// Counters, tables and how much of these is used, mapped for as long as trials go on.
#[derive(Debug)]
pub struct Bench {
    counters: Mapping,
    tables: Vec<(Mapping, usize)>,
    slots: usize,
    last: Vec<Counter>,
    now: Vec<Counter>,
}

impl Datapath {
    /// Runs a program once.
    ///
    /// # Errors
    /// The kernel's refusal of the test run, for a frame that is too short, say.
    pub fn trial(&self, trial: &Trial<'_>) -> io::Result<Verdict> {
        run(self.program(trial.program)?, trial)
    }

    fn program(&self, program: Program) -> io::Result<BorrowedFd<'_>> {
        match program {
            Program::Xdp => self.programs.xdp(),
            Program::TcIn => self.programs.tc_in(),
            Program::TcOut => self.programs.tc_out(),
        }
    }

    /// The programs by themselves, for trials on several CPUs at once and while rules change.
    ///
    /// # Errors
    /// No more descriptors to be had.
    pub fn trials(&self) -> io::Result<Trials> {
        let program = |program| self.program(program)?.try_clone_to_owned();
        Ok(Trials {
            xdp: program(Program::Xdp)?,
            tc_in: program(Program::TcIn)?,
            tc_out: program(Program::TcOut)?,
        })
    }

    /// Moves the data path's clock on: nothing else needs time to pass.
    pub fn advance_clock(&self, ticks: u32) {
        self.arena.clock_offset().fetch_add(ticks, Ordering::Relaxed);
    }

    /// Makes the data path's clock say `tick`, from where it goes on.
    pub fn set_clock(&self, tick: Tick) {
        let raw = self.clock.now();
        self.arena.clock_offset().store(tick.wrapping_sub(raw), Ordering::Relaxed);
    }

    /// Publishes without the agent's part in ending flows, as if it had died right afterwards.
    pub fn publish_and_die(&mut self, image: &[u32]) -> Result<(), Error> {
        self.put_in_force(image, None)
    }

    /// Writes images beside each other, so that [`Self::switch`] changes between them in no time.
    /// The places are good until something is published.
    pub fn lay_out(&mut self, images: &[&[u32]]) -> Result<Vec<Place>, Error> {
        let size = Arena::size_for(images.iter().map(|image| image.len() + PAGE).sum());
        if size > self.maps.arena.size {
            self.grow(size)?;
        }
        let place = |image: &&[u32]| self.arena.keep(&self.maps.arena, image).map(Place);
        images.iter().map(place).collect()
    }

    /// Lanes that count for a slot, by [`sg_common::usage::Table`].
    pub fn usage(&self, slot: u16) -> Result<[u32; 4], Error> {
        let rows = UsageRows::map(&self.maps.usage)?;
        Ok(Table::ALL.map(|table| rows.get(slot, table)))
    }

    /// Makes the count of a slot wrong by `number`.
    pub fn miscount(&self, slot: u16, table: Table, number: i32) -> Result<(), Error> {
        UsageRows::map(&self.maps.usage)?.add(slot, table, number);
        Ok(())
    }

    pub fn switch(&self, place: Place) {
        self.arena.switch(place.0);
    }

    pub fn bench(&self) -> Result<Bench, Error> {
        let whole = |region: &Region| Ok((region.map(0, region.size)?.0, region.size));
        let maps = &self.maps;
        let count = maps.counters.size / size_of::<Counter>();
        let mut bench = Bench {
            counters: whole(&maps.counters)?.0,
            tables: [&maps.flows4, &maps.flows6, &maps.fragments4, &maps.fragments6, &maps.usage]
                .into_iter()
                .map(whole)
                .collect::<Result<_, Error>>()?,
            slots: maps.slots,
            last: vec![Counter::default(); count],
            now: vec![Counter::default(); count],
        };
        bench.moved();
        Ok(bench)
    }
}

/// A program's verdict on a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Drop,
    /// The frame was changed, which none of our programs does; the verdict does not matter.
    Modified,
    /// Nothing that a program of ours returns.
    Other(i32),
}

impl Bench {
    /// All counters that moved since the last call.
    pub fn moved(&mut self) -> Vec<Moved> {
        let source = self.counters.at::<Counter>(0).cast_const();
        // SAFETY: all of the mapping; the programs are not running now.
        unsafe { std::ptr::copy_nonoverlapping(source, self.now.as_mut_ptr(), self.now.len()) };
        let mut moved = Vec::new();
        const ROW: usize = size_of::<CounterRow>() / size_of::<Counter>();
        const { assert!(ROW == 2 * REASONS) };
        let rows = self.now.chunks_exact(ROW).zip(self.last.chunks_exact(ROW)).enumerate();
        for (row, (now, last)) in rows.filter(|(_, (now, last))| now != last) {
            for (index, (now, last)) in now.iter().zip(last).enumerate() {
                // Not what the flow log had no room for, which nobody makes here.
                let is_reason = index % REASONS != 0;
                if is_reason && now != last {
                    let by = Counter {
                        packets: now.packets.wrapping_sub(last.packets),
                        bytes: now.bytes.wrapping_sub(last.bytes),
                    };
                    moved.push(Moved { slot: (row % self.slots) as u16, index, by });
                }
            }
        }
        std::mem::swap(&mut self.now, &mut self.last);
        moved
    }

    /// Forgets every flow and every fragment.
    pub fn clear_tables(&mut self) {
        for (mapping, size) in &self.tables {
            // SAFETY: all of the mapping; the programs are not running now.
            unsafe { std::ptr::write_bytes(mapping.at::<u8>(0), 0, *size) };
        }
    }
}
