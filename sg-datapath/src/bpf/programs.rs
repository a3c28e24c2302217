//! The BPF object: embedded by `cargo xtask build`, loaded by aya over maps of our own.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, IntoRawFd as _},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::Map,
    programs::{Program, ProgramFd, ProgramInfo},
};
use memchr::memmem;
use nix::fcntl::OFlag;
use sg_common::{
    counter::CounterRow,
    event::{Event, Head, events_size, heads_size},
    flow::{Addresses4, Addresses6, Bucket, buckets_in, marks_size},
    kernel::{self, access, skb},
};

use super::{btf::Kernel, retry};
use crate::{
    advice,
    attach::hook::Receiver,
    error::Error,
    maps::{layout::Maps, region::Region},
};

/// Empty where the agent was built without the BPF toolchain (`cargo check`).
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("SG_BPF_OBJECT"));

/// Names of the TC programs.
pub const TC_IN: &str = "sg_tc_in";
pub const TC_META: &str = "sg_tc_meta";
pub const TC_OUT: &str = "sg_tc_out";

/// Bytes of an instruction (struct bpf_insn).
const INSTRUCTION: u32 = 8;

/// Time and other costs of loading a program.
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

/// Reads programs. It knows the kernel's types, which take 15 to 50 ms to read.
#[derive(Debug)]
pub struct Loader {
    loader: EbpfLoader<'static>,
    kernel: Kernel,
}

impl Loader {
    pub fn get_ready() -> Self {
        // aya asks for the kernel's features once, and caches them; do it here.
        let _ = aya::features();
        Self { loader: EbpfLoader::new(), kernel: Kernel::ask() }
    }

    /// Gets one ready while `action` runs.
    pub fn beside<T>(action: impl FnOnce() -> T) -> (Self, T) {
        let thread = std::thread::Builder::new().name("loader".into()).spawn(Self::get_ready);
        let done = action();
        let loader = thread.ok().and_then(|thread| thread.join().ok());
        (loader.unwrap_or_else(Self::get_ready), done)
    }
}

/// The programs. Verifying one keeps a CPU busy for about 100 ms, so they are loaded side by side
/// from the start on. A caller waits only for the program that it asks for.
#[derive(Clone, Debug)]
pub struct Programs(Arc<LazyPrograms>);

#[derive(Debug)]
struct LazyPrograms {
    xdp: LazyProgram,
    tc_in: LazyProgram,
    tc_meta: LazyProgram,
    tc_out: LazyProgram,
    probe: LazyProgram,
    shows_metadata: bool,
}

/// A program, loaded when first wanted. Then nothing is kept of aya's object; a descriptor keeps the
/// program alive.
#[derive(Debug)]
struct LazyProgram {
    name: &'static str,
    /// One for each program: aya has no way to load two at once from one.
    object: Mutex<Option<Ebpf>>,
    /// Or the reason why it cannot be.
    loaded: OnceLock<Result<Loaded, String>>,
}

impl Programs {
    /// Begins to load the programs over `maps`, with the maps' sizes as constants. Returns when the
    /// program that every interface needs is loaded. `first` says which program for received
    /// packets is loaded first.
    ///
    /// # Errors
    /// A program cannot be loaded.
    pub fn load(
        loader: Loader,
        maps: &Maps,
        tick_shift: u32,
        first: Receiver,
        loaded: fn(),
    ) -> Result<Self, Error> {
        if OBJECT.is_empty() {
            return Err(Error::Other(
                "this sg-agent was built without its BPF object; build it with `cargo xtask build`"
                    .into(),
            ));
        }
        let failed = |error| Error::kernel("loading the BPF programs", error);
        let programs = Self::prepare(loader, maps, tick_shift).map_err(failed)?;
        let others: [ProgramGetter; 3] = match first {
            Receiver::Xdp => [Self::xdp, Self::tc_in, Self::probe],
            Receiver::Tc => [Self::tc_in, Self::xdp, Self::probe],
        };
        programs.load_aside(others, loaded);
        programs.tc_out().map_err(failed)?;
        Ok(programs)
    }

    /// Reads the object, and has its programs use `maps`.
    fn prepare(loader: Loader, maps: &Maps, tick_shift: u32) -> io::Result<Self> {
        let constants = constants(maps, tick_shift);
        let Loader { mut loader, kernel } = loader;
        loader.override_global("SKB", &kernel.skb[..], true);
        for (name, value) in &constants {
            loader.override_global(name, value, true);
        }
        let object = with_cast(OBJECT, kernel.cast);
        let mut program = |name| {
            let object = loader.load(&object);
            let object =
                object.map_err(|error| io::Error::other(failed("the BPF object", &error)))?;
            substitute_maps(&object, maps)?;
            Ok::<LazyProgram, io::Error>(LazyProgram::new(name, object))
        };
        let (xdp, tc_in) = (program("sg_xdp")?, program(TC_IN)?);
        let (tc_out, probe) = (program(TC_OUT)?, program("sg_probe")?);
        let tc_meta = program(TC_META)?;
        let shows_metadata = kernel.skb[skb::ACCESS] != access::NONE;
        Ok(Self(Arc::new(LazyPrograms { xdp, tc_in, tc_meta, tc_out, probe, shows_metadata })))
    }

    /// Loads programs one after the other in a thread, then calls `loaded`. Without a thread, they are
    /// loaded when wanted.
    fn load_aside(&self, these: [ProgramGetter; 3], loaded: fn()) {
        let programs = self.clone();
        let thread = std::thread::Builder::new().name("load".into());
        // An error is kept for the caller that asks for the program.
        let load = move || {
            these.iter().for_each(|get| drop(get(&programs)));
            loaded();
        };
        if let Err(error) = thread.spawn(load) {
            tracing::debug!(%error, "programs are loaded when they are wanted");
        }
    }

    /// # Errors
    /// The program cannot be loaded; so for each of these.
    pub fn xdp(&self) -> io::Result<BorrowedFd<'_>> {
        self.0.xdp.fd()
    }

    pub fn tc_in(&self) -> io::Result<BorrowedFd<'_>> {
        self.0.tc_in.fd()
    }

    pub fn tc_meta(&self) -> io::Result<BorrowedFd<'_>> {
        self.0.tc_meta.fd()
    }

    /// The same without loading it: few interfaces need it.
    pub fn tc_meta_if_loaded(&self) -> Option<BorrowedFd<'_>> {
        let loaded = self.0.tc_meta.loaded.get()?.as_ref();
        loaded.ok().map(|loaded| loaded.fd.as_fd())
    }

    pub fn tc_out(&self) -> io::Result<BorrowedFd<'_>> {
        self.0.tc_out.fd()
    }

    pub fn probe(&self) -> io::Result<BorrowedFd<'_>> {
        self.0.probe.fd()
    }

    /// Whether TC programs see what lies beside a packet's bytes.
    pub fn show_metadata(&self) -> bool {
        self.0.shows_metadata
    }

    /// Returns when those are loaded that most interfaces need.
    ///
    /// # Errors
    /// One cannot be.
    pub fn settle(&self) -> io::Result<()> {
        let LazyPrograms { xdp, tc_in, tc_out, probe, .. } = &*self.0;
        [xdp, tc_in, tc_out, probe].into_iter().try_for_each(|program| program.get().map(drop))
    }

    /// The costs of all programs; waits until they are loaded.
    pub fn costs(&self) -> io::Result<[LoadCost; 5]> {
        let LazyPrograms { xdp, tc_in, tc_meta, tc_out, probe, .. } = &*self.0;
        let cost = |program: &LazyProgram| program.get().map(|loaded| loaded.cost);
        Ok([cost(xdp)?, cost(tc_in)?, cost(tc_meta)?, cost(tc_out)?, cost(probe)?])
    }
}

/// How one of the programs is asked for.
pub type ProgramGetter = fn(&Programs) -> io::Result<BorrowedFd<'_>>;

impl LazyProgram {
    fn new(name: &'static str, object: Ebpf) -> Self {
        Self { name, object: Mutex::new(Some(object)), loaded: OnceLock::new() }
    }

    fn get(&self) -> io::Result<&Loaded> {
        let loaded = self.loaded.get_or_init(|| self.load());
        loaded.as_ref().map_err(|text| io::Error::other(text.clone()))
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.get()?.fd.as_fd())
    }

    fn load(&self) -> Result<Loaded, String> {
        let name = self.name;
        let object = self.object.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut object = object.ok_or_else(|| format!("{name} was being loaded already"))?;
        let program = object
            .program_mut(name)
            .ok_or_else(|| format!("the BPF object has no program {name}"))?;
        let failed = |error| failed(name, &error);
        let began = Instant::now();
        match program {
            Program::Xdp(program) => retry::load(|| program.load()).map_err(failed)?,
            Program::SchedClassifier(program) => {
                retry::load(|| program.load()).map_err(failed)?;
            }
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

/// Has the programs of an object use the agent's maps. To aya these are sections of data, which makes
/// their addresses constants in the programs, where a map would be looked up in each time. It has made a
/// small map for each, whose descriptor's number the instructions have: the number becomes that of ours.
fn substitute_maps(object: &Ebpf, maps: &Maps) -> io::Result<()> {
    for (name, region) in maps.named() {
        let section = format!(".bss.{name}");
        let Some(Map::Array(standin)) = object.map(&section) else {
            return Err(io::Error::other(format!("the BPF object has no section {section}")));
        };
        let (ours, standin) = (region.fd.as_fd(), standin.fd().as_fd().as_raw_fd());
        // SAFETY: the number stays open, and stays aya's to close.
        let same = unsafe { nix::unistd::dup3_raw(ours, standin, OFlag::O_CLOEXEC)? };
        // The number is not to be closed here.
        let _ = same.into_raw_fd();
    }
    Ok(())
}

/// The object with the kernel's own context where its programs ask for it, if there is any to be had.
fn with_cast(object: &[u8], number: Option<u32>) -> Vec<u8> {
    let mut object = object.to_vec();
    let (asked, given) = (kernel::cast(kernel::CAST), number.map_or(kernel::NO_CAST, kernel::cast));
    let places: Vec<_> = memmem::find_iter(&object, &asked).collect();
    for at in places {
        object[at..at + given.len()].copy_from_slice(&given);
    }
    object
}

fn constants(maps: &Maps, tick_shift: u32) -> [(&'static str, u32); 17] {
    let last = |size: usize, element: usize| (size - element) as u32;
    [
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
        ("USAGE_MASK", last(maps.usage.size, size_of::<u32>())),
        ("TICK_SHIFT", tick_shift),
        ("EVENTS_SLOTS", maps.event_slots as u32),
        ("EVENTS_HEADS_MASK", last(heads_size(maps.cpus), size_of::<Head>())),
        ("EVENTS_START", heads_size(maps.cpus) as u32),
        ("EVENTS_MASK", last(events_size(maps.cpus, maps.event_slots.max(1)), size_of::<Event>())),
    ]
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
