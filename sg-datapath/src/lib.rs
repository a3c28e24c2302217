//! The kernel side: maps, programs, attachments. The only crate that knows aya and bpf(2).
//!
//! Everything is pinned under `<bpffs>/v<ABI>/`: `maps/`, and `links/` as `attach.rs` says. What is
//! pinned goes on without the agent; the next one takes it over. It knows words of an image, and no
//! rule, group or name behind them.

mod advice;
mod arena;
mod attach;
mod clock;
mod clsact;
mod device;
mod expire;
mod flows;
mod handover;
mod maps;
pub mod netlink;
mod object;
mod others;
mod phase;
mod revoke;
mod seed;
mod sys;
mod table;
pub mod tap;
#[cfg(feature = "testing")]
pub mod testing;
mod types;
mod widen;

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use sg_common::{
    ABI, Direction, Family, Reason,
    counter::{Counter, CounterRow},
    flow::{Addresses4, Addresses6, LANES, Tick},
    handover::TABLES,
    probe::{Answer, IPV6, MAGIC, MIN_FRAME, NO_FLOW, Question},
    reason::REASONS,
};

use self::{
    arena::Arena,
    attach::Links,
    clock::Clock,
    flows::Keep,
    maps::{MAX_ARENA, Maps, NEW_ARENA, Region},
    object::Programs,
};
pub use self::{
    device::HookChoice,
    object::{LoadCost, Loader},
    phase::Phase,
    seed::{Opening, Opens, Seed},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was being done, and what the kernel said.
    #[error("{what}: {source}{}", advice::on(source))]
    Kernel { what: String, source: std::io::Error },
    /// Does not fit into what was allocated; the old state stays in force.
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    Other(String),
}

impl Error {
    fn kernel(what: impl Into<String>, source: io::Error) -> Self {
        Self::Kernel { what: what.into(), source }
    }
}

/// The numbers that tell whether pins can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abi {
    /// See [`ABI`].
    pub number: u32,
    /// See [`sg_common::handover::TABLES`].
    pub tables: u32,
}

impl Abi {
    /// Others are for tests.
    pub const OURS: Self = Self { number: ABI, tables: TABLES };
}

#[derive(Clone, Debug)]
pub struct Options {
    pub abi: Abi,
    /// Pins go into `<bpffs>/v<ABI>/`. Mounted when there is no bpffs.
    pub bpffs: PathBuf,
    /// Flow table capacity per address family.
    pub max_flows: u32,
    /// Interfaces filtered at once.
    pub max_interfaces: u16,
    /// Whether the programs tell of single packets; see [`tap::Tap`].
    pub flow_log: bool,
    /// What interfaces are likely to be attached to, so that it is there first.
    pub first: Receiver,
    /// Called when the programs that are loaded beside are there: loading leaves much freed memory.
    pub loaded: fn(),
}

/// Which program sees what an interface receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    Xdp,
    Tc,
}

impl Receiver {
    /// What this interface will get, if its driver keeps what it promises.
    pub fn of(interface: &str, choice: HookChoice) -> Self {
        if device::wants_xdp(interface, choice).0 { Self::Xdp } else { Self::Tc }
    }
}

/// What filters the kernel's ingress of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Xdp,
    Tcx,
    Tc,
}

/// How soon an interface has to be filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// By the hook that is best for it, which takes 30 ms.
    Best,
    /// At once, by what can be attached in less than one; see [`Attachment::for_now`].
    Now,
}

/// How an interface is attached, and why so.
#[derive(Clone, Debug)]
pub struct Attachment {
    pub hook: Hook,
    pub reason: String,
    /// There is a better hook, to be attached when there is time.
    pub for_now: bool,
}

/// What an earlier agent left, read from the pinned maps.
#[derive(Clone, Debug)]
pub struct Inherited {
    pub revision: u64,
    /// Whose flows there may be.
    pub interfaces: Vec<InheritedInterface>,
}

#[derive(Clone, Copy, Debug)]
pub struct InheritedInterface {
    pub slot: u16,
    pub ifindex: u32,
    pub pickup_until: Tick,
}

/// A flow as the table has it, direction and addresses as in the packet that opened it.
#[derive(Clone, Copy, Debug)]
pub struct FlowEntry {
    pub slot: u16,
    pub protocol: u8,
    pub direction: Direction,
    pub src: IpAddr,
    pub dst: IpAddr,
    /// ICMP queries: identifier and request type.
    pub sport: u16,
    pub dport: u16,
    /// See [`sg_common::flow::State::name`].
    pub state: &'static str,
    pub timeout: sg_common::flow::Timeout,
    pub seen: Tick,
    pub packets: u64,
    pub bytes: u64,
}

impl FlowEntry {
    /// The packet that opened it.
    pub fn opening(&self) -> Opening {
        let Self { slot, protocol, direction, .. } = *self;
        let (src, dst) =
            (SocketAddr::new(self.src, self.sport), SocketAddr::new(self.dst, self.dport));
        let (local, remote) = match direction {
            Direction::Ingress => (dst, src),
            Direction::Egress => (src, dst),
        };
        Opening { slot, protocol, direction, local, remote }
    }
}

#[derive(Clone, Debug)]
pub struct ProbeAnswer {
    /// `None`: the interface is not filtered.
    pub reason: Option<Reason>,
    pub flow: Option<FlowEntry>,
}

/// The data path of one network namespace.
#[derive(Debug)]
pub struct Datapath {
    maps: Maps,
    arena: Arena,
    programs: Programs,
    links: Links,
    clock: Clock,
    inherited: Option<Inherited>,
    /// `<bpffs>/v<ABI>/maps`.
    maps_dir: PathBuf,
    /// See [`Options::loaded`].
    loaded: fn(),
}

impl Datapath {
    /// Loads the programs; creates maps and pins, or takes over those of an earlier agent.
    pub fn open(options: &Options, loader: Loader) -> Result<Self, Error> {
        let base = options.bpffs.join(version_dir(options.abi.number));
        Self::mount(&options.bpffs)?;
        let maps_dir = base.join("maps");
        fs::create_dir_all(&maps_dir)
            .map_err(|error| Error::kernel(format!("creating {}", maps_dir.display()), error))?;
        let clock = Clock::new().map_err(|error| Error::kernel("loading a BPF program", error))?;
        let mut others = versions(&options.bpffs);
        others.retain(|dir| *dir != base);
        let from = handover::predecessor(&others, options.abi.tables);
        let mut maps = Maps::open(&maps_dir, from.as_deref(), options)?;
        let arena = Arena::open(&maps.arena, &maps.handover)?;
        let programs = Programs::load(loader, &maps, clock.shift, options.first, options.loaded)?;
        let mut links = Links::open(base.join("links"))?;
        for other in &others {
            adopt(other, &base, from.is_some())?;
        }
        links.drop_dead()?;
        let smaller = std::mem::take(&mut maps.smaller);
        smaller.give_way(&maps.flows4, &maps.flows6, arena.seed(), &mut links, &programs)?;
        let inherited = maps.handover.inherited()?;
        let loaded = options.loaded;
        Ok(Self { maps, arena, programs, links, clock, inherited, maps_dir, loaded })
    }

    /// Mounts a bpffs where there is none.
    pub fn mount(bpffs: &Path) -> Result<(), Error> {
        sys::ensure_bpffs(bpffs).map_err(|error| {
            Error::Other(format!(
                "cannot mount a BPF file system for {at}: {error}{advice}; once it is there, as by \
                 `mount -t bpf bpf /sys/fs/bpf`, none has to be mounted",
                at = bpffs.display(),
                advice = advice::on(&error),
            ))
        })
    }

    /// For the flow log.
    pub fn tap(&self) -> Result<tap::Tap, Error> {
        tap::Tap::open(&self.maps)
    }

    /// What it took to load each program.
    ///
    /// # Errors
    /// One cannot be loaded.
    pub fn load_costs(&self) -> io::Result<[LoadCost; 4]> {
        self.programs.costs()
    }

    /// The data path's clock now.
    pub fn now(&self) -> Tick {
        let offset = self.arena.clock_offset().load(Ordering::Relaxed);
        self.clock.now().wrapping_add(offset)
    }

    pub fn ticks_per_1000s(&self) -> u32 {
        self.clock.ticks_per_1000s()
    }

    pub fn inherited(&self) -> Option<&Inherited> {
        self.inherited.as_ref()
    }

    /// Puts an image in force, on all interfaces at the same instant. Old image stays on error.
    pub fn publish(&mut self, image: &[u32]) -> Result<(), Error> {
        self.publish_images(image, None)
    }

    /// The same until `deadline`; then `fallback` is in force, agent or no agent.
    pub fn publish_until(
        &mut self,
        image: &[u32],
        fallback: &[u32],
        deadline: Tick,
    ) -> Result<(), Error> {
        self.publish_images(image, Some((fallback, deadline)))
    }

    fn publish_images(
        &mut self,
        image: &[u32],
        fallback: Option<(&[u32], Tick)>,
    ) -> Result<(), Error> {
        self.put_in_force(image, fallback)?;
        if revoke::cuts(image) {
            // Until then, programs that began before may open and keep alive what it denies. What they
            // see from now on they cut by themselves.
            if !self.links.attached().is_empty() {
                sys::wait_for_programs();
            }
            if let Err(error) = self.cut_denied(image, &mut |_| true) {
                tracing::warn!(%error, "flows that are denied now end on their next packet");
            }
        }
        Ok(())
    }

    fn put_in_force(
        &mut self,
        image: &[u32],
        fallback: Option<(&[u32], Tick)>,
    ) -> Result<(), Error> {
        expire::before_longer_timeouts(&self.maps, self.arena.root(), image, self.now())?;
        for image in fallback.iter().map(|(image, _)| *image).chain([image]) {
            self.maps.handover.note(image)?;
        }
        match self.arena.publish(&self.maps.arena, image, fallback) {
            Err(Error::TooLarge(_)) => {
                let words = image.len() + fallback.map_or(0, |(image, _)| image.len());
                self.grow(Arena::size_for(words))?;
                self.arena.publish(&self.maps.arena, image, fallback)
            }
            result => result,
        }
    }

    /// Moves to an arena of `size` bytes. Packets see the same rules throughout: the new arena
    /// starts with what is in force, then each link changes to programs that use it.
    fn grow(&mut self, size: usize) -> Result<(), Error> {
        let size = size.max(self.maps.arena.size * 2);
        if size > MAX_ARENA {
            return Err(Error::TooLarge(format!(
                "the compiled rules need an arena of {size} bytes; {MAX_ARENA} is the most"
            )));
        }
        let larger = Region::create(&self.maps_dir, NEW_ARENA, size)?;
        self.arena.copy_to(&self.maps.arena, &larger)?;
        // Before any program moves: from then on, what is published must go where they look.
        let arena = Arena::open(&larger, &self.maps.handover)?;
        let smaller = std::mem::replace(&mut self.maps.arena, larger);
        if let Err(error) = self.move_programs() {
            let larger = std::mem::replace(&mut self.maps.arena, smaller);
            self.move_back();
            let _ = fs::remove_file(&larger.pin);
            return Err(error);
        }
        self.arena = arena;
        fs::rename(&self.maps.arena.pin, &smaller.pin)
            .map_err(|error| Error::kernel("renaming the arena's pin", error))?;
        self.maps.arena.pin = smaller.pin;
        tracing::info!(bytes = size, "the arena has grown");
        Ok(())
    }

    fn move_programs(&mut self) -> Result<(), Error> {
        let (loader, shift) = (Loader::get_ready(), self.clock.shift);
        let programs = Programs::load(loader, &self.maps, shift, Receiver::Tc, self.loaded)?;
        programs.settle().map_err(|error| Error::kernel("loading the BPF programs", error))?;
        for ifindex in self.links.attached() {
            self.links.update(&programs, ifindex)?;
        }
        self.programs = programs;
        Ok(())
    }

    /// Links that had changed already get the present programs again: both arenas say the same.
    fn move_back(&mut self) {
        for ifindex in self.links.attached() {
            if let Err(error) = self.links.update(&self.programs, ifindex) {
                tracing::error!(ifindex, %error, "stays with the rules of now until the next agent");
            }
        }
    }

    /// Attaches both directions. Idempotent: an interface that is attached already (also by an
    /// earlier agent) keeps its links and gets the present programs.
    pub fn attach(
        &mut self,
        ifindex: u32,
        name: &str,
        choice: HookChoice,
        haste: Haste,
    ) -> Result<Attachment, Error> {
        self.links.attach(&self.programs, ifindex, name, choice, haste)
    }

    /// Takes programs off an interface; also right for one that is gone. No error if not attached.
    pub fn detach(&mut self, ifindex: u32) -> Result<(), Error> {
        self.links.detach(ifindex)
    }

    /// ifindexes with links, own or of an earlier agent.
    pub fn attached(&self) -> Vec<u32> {
        self.links.attached().into_iter().collect()
    }

    /// XDP and TC users besides us on attached interfaces, in words, by ifindex.
    pub fn others(&self) -> BTreeMap<u32, Vec<String>> {
        others::on(&self.attached(), &self.programs)
    }

    /// All CPUs together.
    pub fn counters(&self, slot: u16) -> CounterRow {
        let mut sum = CounterRow([Counter::default(); 2 * REASONS]);
        let result = self.each_counter_row(slot, |row| {
            for (sum, counter) in sum.0.iter_mut().zip(row) {
                // SAFETY: within the mapping; the programs write whole words.
                let counter = unsafe { counter.read_volatile() };
                sum.packets += counter.packets;
                sum.bytes += counter.bytes;
            }
        });
        if let Err(error) = result {
            tracing::warn!(slot, %error, "counters could not be read");
        }
        sum
    }

    /// Calls `each` with pointers to the counters of a slot, for one CPU after the other.
    fn each_counter_row(
        &self,
        slot: u16,
        mut each: impl FnMut([*mut Counter; 2 * REASONS]),
    ) -> Result<(), Error> {
        let row = size_of::<CounterRow>();
        let region = &self.maps.counters;
        for cpu_start in (0..region.size).step_by(self.maps.slots * row) {
            let (mapping, at) = region.map(cpu_start + usize::from(slot) * row, row)?;
            each(std::array::from_fn(|i| mapping.at::<Counter>(at + i * size_of::<Counter>())));
        }
        Ok(())
    }

    /// Forgets counters and flows of slots before other interfaces get them: in one pass over the tables,
    /// however many have gone at once.
    pub fn release(&mut self, slots: &[u16]) {
        if slots.is_empty() {
            return;
        }
        let zeroed = slots.iter().try_for_each(|slot| {
            self.each_counter_row(*slot, |row| {
                for counter in row {
                    // SAFETY: within the mapping; no program counts for a slot that is not in use.
                    unsafe { counter.write_volatile(Counter::default()) };
                }
            })
        });
        let forgotten = self.visit(&mut |flow| {
            if slots.contains(&flow.slot) { Keep::No } else { Keep::Yes }
        });
        let fragments = flows::forget_fragments::<Addresses4>(&self.maps.fragments4, slots)
            .and_then(|()| flows::forget_fragments::<Addresses6>(&self.maps.fragments6, slots));
        let cleared = zeroed.and(forgotten.map(drop)).and(fragments);
        let noted = || slots.iter().try_for_each(|slot| self.maps.handover.clear(*slot));
        if let Err(error) = cleared.and_then(|()| noted()) {
            tracing::warn!(?slots, %error, "counters and flows could not be cleared");
        }
    }

    fn visit(&self, visit: &mut dyn FnMut(&FlowEntry) -> Keep) -> Result<u64, Error> {
        flows::visit(&self.maps.flows4, &self.maps.flows6, visit)
    }

    /// Calls `each` with every entry, expired ones included (compare `seen` with the timeouts).
    pub fn for_each_flow(&self, each: &mut dyn FnMut(&FlowEntry)) {
        let result = self.visit(&mut |flow| {
            each(flow);
            Keep::Yes
        });
        if let Err(error) = result {
            tracing::warn!(%error, "the flow table could not be read");
        }
    }

    /// Forgets the flows that `which` says; returns how many.
    pub fn flush(&self, which: &mut dyn FnMut(&FlowEntry) -> bool) -> u64 {
        let result = self.visit(&mut |flow| if which(flow) { Keep::No } else { Keep::Yes });
        result.unwrap_or_else(|error| {
            tracing::warn!(%error, "the flow table could not be flushed");
            0
        })
    }

    /// Cuts the flows that the rules in `image` would not allow to be opened and that `which` says;
    /// returns how many.
    pub fn cut_denied(
        &self,
        image: &[u32],
        which: &mut dyn FnMut(&FlowEntry) -> bool,
    ) -> Result<u64, Error> {
        revoke::cut_denied(&self.maps, image, self.now(), which)
    }

    /// What the rules in an image say to an opening packet.
    pub fn judge(&self, image: &[u32], opening: &Opening) -> Opens {
        seed::judge(image, opening)
    }

    /// Puts those of the connections into the flow table that the rules in `image` would have let open;
    /// returns how many were not there.
    pub fn seed(&self, image: &[u32], seeds: &[Seed]) -> Result<u64, Error> {
        let now = self.now();
        let records = arena::records(&self.maps.arena, self.arena.root(), now)?;
        let present = table::Present { records: &records, seed: self.arena.seed(), now };
        seed::insert(&self.maps, image, &present, seeds)
    }

    /// Interfaces that there are counters for: slots are numbered below this.
    pub fn max_interfaces(&self) -> u16 {
        u16::try_from(self.maps.slots).unwrap_or(u16::MAX)
    }

    /// Both families together.
    pub fn capacity(&self) -> u64 {
        use sg_common::flow::buckets_in;
        let buckets = buckets_in::<Addresses4>(self.maps.flows4.size)
            + buckets_in::<Addresses6>(self.maps.flows6.size);
        (buckets * LANES) as u64
    }

    /// Judges a frame by the live tables without a trace.
    pub fn probe(
        &self,
        ifindex: u32,
        direction: Direction,
        frame: &[u8],
    ) -> Result<ProbeAnswer, Error> {
        let meta = size_of::<Question>();
        let mut data = Vec::with_capacity(meta + frame.len().max(MIN_FRAME));
        data.extend(ifindex.to_ne_bytes());
        data.extend((direction as u32).to_ne_bytes());
        data.extend(frame);
        data.resize(data.len().max(meta + MIN_FRAME), 0);
        let run = self
            .programs
            .probe()
            .and_then(|probe| sys::test_run_xdp(probe, &data, meta as u32))
            .map_err(|error| Error::kernel("running the probe", error))?;
        let word = |index: usize| {
            let at = meta + index * size_of::<u32>();
            run.data
                .get(at..at + size_of::<u32>())
                .map_or(0, |bytes| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        const { assert!(size_of::<Answer>() == 12) };
        if word(0) != MAGIC {
            return Err(Error::Other("the probe gave no answer".into()));
        }
        let reason = u8::try_from(word(1)).ok().and_then(Reason::from_number);
        let family = if word(2) & IPV6 == 0 { Family::V4 } else { Family::V6 };
        let flow = (word(2) != NO_FLOW)
            .then(|| flows::at(&self.maps.flows4, &self.maps.flows6, family, word(2) & !IPV6))
            .flatten();
        Ok(ProbeAnswer { reason, flow })
    }

    /// Removes every link, map and pin under `bpffs`, of any ABI.
    pub fn remove(bpffs: &Path) -> Result<(), Error> {
        for dir in versions(bpffs) {
            attach::remove_all(&dir.join("links"))?;
            remove_dir(&dir)?;
        }
        Ok(())
    }
}

/// Names and bytes of the maps pinned under `bpffs`.
///
/// # Errors
/// There are none.
pub fn map_sizes(bpffs: &Path) -> Result<Vec<(String, usize)>, Error> {
    let dir = bpffs.join(version_dir(ABI)).join("maps");
    let failed = |error| Error::kernel(format!("reading {}", dir.display()), error);
    let mut sizes = Vec::new();
    for entry in fs::read_dir(&dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let map = sys::get_pinned(&entry.path()).map_err(failed)?;
        let size = sys::map_value_size(map.as_fd()).map_err(failed)?;
        sizes.push((entry.file_name().to_string_lossy().into_owned(), size as usize));
    }
    sizes.sort_unstable();
    Ok(sizes)
}

fn version_dir(abi: u32) -> String {
    format!("v{abi}")
}

/// The folders of all ABIs under a bpffs.
fn versions(bpffs: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(bpffs) else { return Vec::new() };
    let is_version =
        |name: &str| name.strip_prefix('v').is_some_and(|abi| abi.parse::<u32>().is_ok());
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_version))
        .map(|entry| entry.path())
        .collect()
}

/// Takes links over from an agent of another ABI: they go on with their own programs and maps until
/// each interface is attached anew, when what is to be in force is so in ours. Its pins go.
fn adopt(other: &Path, ours: &Path, with_flows: bool) -> Result<(), Error> {
    for entry in fs::read_dir(other.join("links")).into_iter().flatten().flatten() {
        let to = ours.join("links").join(entry.file_name());
        fs::rename(entry.path(), &to)
            .map_err(|error| Error::kernel(format!("adopting {}", to.display()), error))?;
    }
    remove_dir(other)?;
    tracing::info!(
        from = %other.display(),
        "taken over from an agent of another ABI; {}",
        if with_flows { "flows go on" } else { "its flows cannot be read: TCP is picked up again" }
    );
    Ok(())
}

fn remove_dir(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::kernel(format!("removing {}", dir.display()), error))
        }
        _ => Ok(()),
    }
}
