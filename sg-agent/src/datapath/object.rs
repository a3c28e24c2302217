//! The BPF object: embedded by `cargo xtask build`, loaded by aya over the agent's own maps.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use aya::{
    EbpfLoader,
    programs::{Program, ProgramFd, ProgramInfo},
};
use sg_common::{
    counter::CounterRow,
    event::{Event, Head, events_size, heads_size},
    flow::{Addresses4, Addresses6, Bucket, buckets_in, marks_size},
};

use super::{
    Error, advice,
    maps::{Maps, Region},
};

/// Empty where the agent was built without the BPF toolchain (`cargo check`).
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("SG_BPF_OBJECT"));

/// Names of the TC programs.
pub const TC_IN: &str = "sg_tc_in";
pub const TC_OUT: &str = "sg_tc_out";

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

/// Loaded when first wanted, or the reason why it cannot be.
type Slot = OnceLock<Result<Loaded, String>>;

/// The programs. Verifying one keeps a CPU busy for about 100 ms, so they are loaded side by side
/// from the start on, and whoever wants one waits for that one only. Of aya's object nothing is kept;
/// descriptors keep programs alive.
#[derive(Clone, Debug)]
pub struct Programs(Arc<Slots>);

#[derive(Debug)]
struct Slots {
    source: Source,
    xdp: Slot,
    tc_in: Slot,
    tc_out: Slot,
    probe: Slot,
}

/// What all programs are made from.
#[derive(Debug)]
struct Source {
    constants: [(&'static str, u32); 16],
    /// Pins by the map's name in the object.
    maps: [(&'static str, PathBuf); 7],
}

impl Programs {
    /// Begins to load the programs over `maps`, with the maps' sizes as constants. Done when the one
    /// that every interface needs is loaded.
    ///
    /// # Errors
    /// That one cannot be loaded.
    pub fn load(maps: &Maps, tick_shift: u32) -> Result<Self, Error> {
        if OBJECT.is_empty() {
            return Err(Error::Other(
                "this sg-agent was built without its BPF object; build it with `cargo xtask build`"
                    .into(),
            ));
        }
        let [xdp, tc_in, tc_out, probe] = [const { OnceLock::new() }; 4];
        let source = Source::new(maps, tick_shift);
        let programs = Self(Arc::new(Slots { source, xdp, tc_in, tc_out, probe }));
        programs.load_aside(&[Self::tc_in]);
        programs.load_aside(&[Self::xdp, Self::probe]);
        match programs.tc_out() {
            Ok(_) => Ok(programs),
            Err(error) => Err(Error::kernel("loading the BPF programs", error)),
        }
    }

    /// Loads programs one after the other in a thread. Without one, they are loaded when wanted.
    fn load_aside(&self, these: &'static [Want]) {
        let programs = self.clone();
        let thread = std::thread::Builder::new().name("load".into());
        // An error is kept for whoever wants the program.
        let load = move || {
            these.iter().for_each(|want| drop(want(&programs)));
            crate::memory::give_back();
        };
        if let Err(error) = thread.spawn(load) {
            tracing::debug!(%error, "programs are loaded when they are wanted");
        }
    }

    /// # Errors
    /// The program cannot be loaded; so for each of these.
    pub fn xdp(&self) -> io::Result<BorrowedFd<'_>> {
        fd(self.0.xdp.get_or_init(|| self.0.source.load("sg_xdp")))
    }

    pub fn tc_in(&self) -> io::Result<BorrowedFd<'_>> {
        fd(self.0.tc_in.get_or_init(|| self.0.source.load(TC_IN)))
    }

    pub fn tc_out(&self) -> io::Result<BorrowedFd<'_>> {
        fd(self.0.tc_out.get_or_init(|| self.0.source.load(TC_OUT)))
    }

    pub fn probe(&self) -> io::Result<BorrowedFd<'_>> {
        fd(self.0.probe.get_or_init(|| self.0.source.load("sg_probe")))
    }

    /// Returns when nothing is being loaded any more: the pins that programs find their maps by may
    /// change then.
    pub fn settle(&self) -> io::Result<()> {
        [Self::xdp, Self::tc_in, Self::tc_out, Self::probe]
            .map(|want: Want| want(self).map(drop))
            .into_iter()
            .collect()
    }

    /// Of all programs; waits for them.
    pub fn costs(&self) -> io::Result<[LoadCost; 4]> {
        self.settle()?;
        let Slots { xdp, tc_in, tc_out, probe, .. } = &*self.0;
        let cost = |slot: &Slot| slot.get().and_then(|loaded| Some(loaded.as_ref().ok()?.cost));
        let costs = [xdp, tc_in, tc_out, probe].map(cost);
        Ok(costs.map(|cost| cost.expect("loaded above")))
    }
}

/// How one of the programs is asked for.
pub type Want = fn(&Programs) -> io::Result<BorrowedFd<'_>>;

fn fd(loaded: &Result<Loaded, String>) -> io::Result<BorrowedFd<'_>> {
    loaded.as_ref().map(|loaded| loaded.fd.as_fd()).map_err(|text| io::Error::other(text.clone()))
}

impl Source {
    fn new(maps: &Maps, tick_shift: u32) -> Self {
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
            ("COUNTERS_MASK", last(maps.counters.size, size_of::<CounterRow>())),
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
        Self { constants, maps: maps.named().map(|(name, region)| (name, region.pin.clone())) }
    }

    /// Loads one program, with an object of its own: aya has no way to load two at once from one.
    fn load(&self, name: &'static str) -> Result<Loaded, String> {
        let mut loader = EbpfLoader::new();
        for (name, value) in &self.constants {
            loader.override_global(name, value, true);
        }
        for (name, pin) in &self.maps {
            loader.map_pin_path(name, pin);
        }
        let mut object = loader.load(OBJECT).map_err(|error| failed("the BPF object", &error))?;
        let program = object
            .program_mut(name)
            .ok_or_else(|| format!("the BPF object has no program {name}"))?;
        let failed = |error| failed(name, &error);
        let began = Instant::now();
        match program {
            Program::Xdp(program) => program.load().map_err(failed)?,
            Program::SchedClassifier(program) => program.load().map_err(failed)?,
            _ => return Err(format!("{name} is a program of another kind")),
        }
        let took = began.elapsed();
        let fd = program.fd().map_err(failed)?;
        let fd = fd.try_clone().map_err(|error| format!("duplicating {name}: {error}"))?;
        let cost = LoadCost::new(name, &program.info().map_err(failed)?, took);
        tracing::debug!(?cost, "program loaded");
        Ok(Loaded { fd, cost })
    }
}

impl LoadCost {
    fn new(name: &'static str, info: &ProgramInfo, took: Duration) -> Self {
        Self {
            name,
            // Kernels before 5.16 do not tell it.
            verified: info.verified_instruction_count().unwrap_or_default(),
            instructions: info.size_translated().unwrap_or_default() / INSTRUCTION,
            machine_code: info.size_jitted(),
            took,
        }
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

/// An error with all its causes, because aya's say least in the first line, and what to do.
fn failed(what: &str, error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("loading {what}: {error}");
    let mut advice = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        if let Some(error) = error.downcast_ref() {
            advice = advice::on(error);
        }
        cause = error.source();
    }
    format!("{text}{advice}{}", advice::on_loading())
}
