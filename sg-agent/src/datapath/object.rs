//! The BPF object: embedded by `cargo xtask build`, loaded by aya over the agent's own maps.

use std::{
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramError, ProgramFd, ProgramInfo, SchedClassifier, Xdp},
};
use sg_common::{
    counter::Counter,
    counter::CounterRow,
    event::{Event, Head, events_size, heads_size},
    flow::{Addresses4, Addresses6, Bucket, buckets_in, marks_size},
};

use super::{
    Error,
    maps::{Maps, Region},
};

/// Empty where the agent was built without the BPF toolchain (`cargo check`).
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("SG_BPF_OBJECT"));

/// Bytes of an instruction (struct bpf_insn).
const INSTRUCTION: u32 = 8;

/// What it took to load a program.
#[derive(Clone, Copy, Debug)]
pub struct LoadCost {
    pub name: &'static str,
    /// Instructions that the verifier looked at, of the 1,000,000 that it is ready to.
    pub verified: u32,
    /// Instructions of the program, as the verifier left it.
    pub instructions: u32,
    /// Bytes of machine code.
    pub machine_code: u32,
    pub took: Duration,
}

#[derive(Debug)]
struct Loaded {
    fd: ProgramFd,
    cost: LoadCost,
}

/// The loaded programs. aya's object is dropped after loading; descriptors keep programs alive.
#[derive(Debug)]
pub struct Programs {
    xdp: Loaded,
    tc_in: Loaded,
    tc_out: Loaded,
    probe: Loaded,
}

impl Programs {
    /// Loads the programs over `maps`, with the maps' sizes as constants.
    pub fn load(maps: &Maps, tick_shift: u32) -> Result<Self, Error> {
        if OBJECT.is_empty() {
            return Err(Error::Other(
                "this sg-agent was built without its BPF object; build it with `cargo xtask build`"
                    .into(),
            ));
        }
        let last = |size: usize, element: usize| (size - element) as u32;
        let constants = [
            ("ARENA_MASK", last(maps.arena.size, size_of::<u32>())),
            ("FLOWS4_BUCKETS", first_bucket::<Addresses4>(&maps.flows4)),
            ("FLOWS6_BUCKETS", first_bucket::<Addresses6>(&maps.flows6)),
            ("FRAGMENTS4_BUCKETS", first_bucket::<Addresses4>(&maps.fragments4)),
            ("FRAGMENTS6_BUCKETS", first_bucket::<Addresses6>(&maps.fragments6)),
            ("FLOWS4_MASK", last_bucket::<Addresses4>(&maps.flows4)),
            ("FLOWS6_MASK", last_bucket::<Addresses6>(&maps.flows6)),
            ("FRAGMENTS4_MASK", last_bucket::<Addresses4>(&maps.fragments4)),
            ("FRAGMENTS6_MASK", last_bucket::<Addresses6>(&maps.fragments6)),
            ("COUNTERS_MASK", last(maps.counters.size, size_of::<Counter>())),
            ("COUNTERS_CPU_SIZE", (maps.slots * size_of::<CounterRow>()) as u32),
            ("TICK_SHIFT", tick_shift),
            ("EVENTS_SLOTS", maps.event_slots as u32),
            ("EVENTS_HEADS_MASK", last(heads_size(maps.cpus), size_of::<Head>())),
            ("EVENTS_START", heads_size(maps.cpus) as u32),
            (
                "EVENTS_MASK",
                last(events_size(maps.cpus, maps.event_slots.max(1)), size_of::<Event>()),
            ),
        ];
        let mut loader = EbpfLoader::new();
        for (name, value) in &constants {
            loader.override_global(name, value, true);
        }
        for (name, region) in maps.named() {
            loader.map_pin_path(name, region.pin.clone());
        }
        let mut object = loader.load(OBJECT).map_err(|error| failed("the BPF object", &error))?;
        let xdp = load_xdp(&mut object, "sg_xdp")?;
        let probe = load_xdp(&mut object, "sg_probe")?;
        let tc_in = load_classifier(&mut object, "sg_tc_in")?;
        let tc_out = load_classifier(&mut object, "sg_tc_out")?;
        Ok(Self { xdp, tc_in, tc_out, probe })
    }

    pub fn xdp(&self) -> BorrowedFd<'_> {
        self.xdp.fd.as_fd()
    }

    pub fn tc_in(&self) -> BorrowedFd<'_> {
        self.tc_in.fd.as_fd()
    }

    pub fn tc_out(&self) -> BorrowedFd<'_> {
        self.tc_out.fd.as_fd()
    }

    pub fn probe(&self) -> BorrowedFd<'_> {
        self.probe.fd.as_fd()
    }

    pub fn costs(&self) -> [LoadCost; 4] {
        [&self.xdp, &self.tc_in, &self.tc_out, &self.probe].map(|program| program.cost)
    }
}

/// Offset of a table's first bucket.
fn first_bucket<A>(table: &Region) -> u32 {
    marks_size(buckets_in::<A>(table.size)) as u32
}

/// Offset of a table's last bucket from its first.
fn last_bucket<A>(table: &Region) -> u32 {
    ((buckets_in::<A>(table.size) - 1) * size_of::<Bucket<A>>()) as u32
}

/// An error with all its causes: aya's say least in the first line.
fn failed(what: &str, error: &dyn std::error::Error) -> Error {
    let mut text = format!("loading {what}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Error::Other(text)
}

fn load_xdp(object: &mut Ebpf, name: &'static str) -> Result<Loaded, Error> {
    let program: &mut Xdp = find(object, name)?;
    let began = Instant::now();
    program.load().map_err(|error| failed(name, &error))?;
    loaded(name, program.fd(), program.info(), began.elapsed())
}

fn load_classifier(object: &mut Ebpf, name: &'static str) -> Result<Loaded, Error> {
    let program: &mut SchedClassifier = find(object, name)?;
    let began = Instant::now();
    program.load().map_err(|error| failed(name, &error))?;
    loaded(name, program.fd(), program.info(), began.elapsed())
}

fn find<'a, T>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut T, Error>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    object
        .program_mut(name)
        .ok_or_else(|| Error::Other(format!("the BPF object has no program {name}")))?
        .try_into()
        .map_err(|error| failed(name, &error))
}

fn loaded(
    name: &'static str,
    fd: Result<&ProgramFd, ProgramError>,
    info: Result<ProgramInfo, ProgramError>,
    took: Duration,
) -> Result<Loaded, Error> {
    let fd = fd.map_err(|error| failed(name, &error))?;
    let fd = fd.try_clone().map_err(|error| Error::kernel(format!("duplicating {name}"), error))?;
    let info = info.map_err(|error| failed(name, &error))?;
    // Kernels before 5.16 do not tell the first.
    let cost = LoadCost {
        name,
        verified: info.verified_instruction_count().unwrap_or_default(),
        instructions: info.size_translated().unwrap_or_default() / INSTRUCTION,
        machine_code: info.size_jitted(),
        took,
    };
    tracing::debug!(?cost, "program loaded");
    Ok(Loaded { fd, cost })
}
