//! The maps, created or taken over, with their pins.
//!
//! Each is an array with one element that is as large as the map: the programs reach all of it from
//! one constant address, and the agent maps the parts that it needs. Nothing is mapped for longer
//! than it is used, because mapped pages count as the agent's memory.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use sg_common::{
    control::IMAGE_ALIGN,
    counter::CounterRow,
    event,
    flow::{Addresses4, Addresses6, Bucket6, LANES, buckets_for, buckets_in, table_size},
};

use super::{
    Error, Options,
    handover::Handover,
    sys::{self, Mapping, PAGE},
    widen::{self, Smaller},
};

/// The smallest arena: enough for two images of 60,000 rules.
pub const MIN_ARENA: usize = 16 << 20;
/// Offsets in map memory end here (BPF_MAX_VAR_OFF, kernel/bpf/verifier.c); those in a table count
/// from its first bucket.
const MAX_MAP: usize = 1 << 29;
const MAX_TABLE: usize = table_size::<Addresses6>(MAX_MAP / size_of::<Bucket6>());
/// The root word counts arena units in 16 bits.
pub const MAX_ARENA: usize = IMAGE_ALIGN << 16;
/// Datagrams whose fragments are under way, per family.
const MAX_FRAGMENTED: usize = 4096;

/// A map with one element.
#[derive(Debug)]
pub struct Region {
    pub fd: OwnedFd,
    pub size: usize,
    pub pin: PathBuf,
}

/// The folder of maps of an agent of another ABI whose tables are laid out as ours, if there is one.
pub type Handed<'a> = Option<&'a Path>;

impl Region {
    /// Takes over the map pinned as `name` in `dir`, or creates it.
    fn open(dir: &Path, name: &str, size: usize) -> Result<Self, Error> {
        match Self::pinned(dir, name)? {
            Some(region) => Ok(region),
            None => Self::create(dir, name, size),
        }
    }

    /// The same, and one that is pinned in `from` is taken over by a pin of ours.
    pub fn take_over(dir: &Path, from: Handed<'_>, name: &str, size: usize) -> Result<Self, Error> {
        if let (None, Some(from)) = (Self::pinned(dir, name)?, from)
            && let Some(mut region) = Self::pinned(from, name)?
        {
            region.pin = dir.join(name);
            region.pin()?;
            return Ok(region);
        }
        Self::open(dir, name, size)
    }

    /// The map pinned as `name` in `dir`, if there is one.
    pub fn pinned(dir: &Path, name: &str) -> Result<Option<Self>, Error> {
        let pin = dir.join(name);
        let fd = match sys::get_pinned(&pin) {
            Ok(fd) => fd,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::kernel(format!("opening {}", pin.display()), error)),
        };
        let size = sys::map_value_size(fd.as_fd()).map_err(|error| {
            Error::kernel(format!("reading the size of {}", pin.display()), error)
        })?;
        Ok(Some(Self { fd, size: size as usize, pin }))
    }

    /// The same for what is of no use to the next agent if its size differs. Programs of the one
    /// before go on with theirs until they are replaced.
    fn anew(dir: &Path, name: &str, size: usize) -> Result<Self, Error> {
        let region = Self::open(dir, name, size)?;
        if region.size == size {
            return Ok(region);
        }
        fs::remove_file(&region.pin)
            .map_err(|error| Error::kernel(format!("removing {}", region.pin.display()), error))?;
        Self::create(dir, name, size)
    }

    /// Creates and pins a map of `size` bytes.
    pub fn create(dir: &Path, name: &str, size: usize) -> Result<Self, Error> {
        let region = Self::unpinned(dir, name, size)?;
        region.pin()?;
        Ok(region)
    }

    pub fn pin(&self) -> Result<(), Error> {
        sys::pin(self.fd.as_fd(), &self.pin)
            .map_err(|error| Error::kernel(format!("pinning {}", self.pin.display()), error))
    }

    pub fn unpinned(dir: &Path, name: &str, size: usize) -> Result<Self, Error> {
        if size > MAX_TABLE {
            return Err(Error::TooLarge(format!(
                "map {name} would need {size} bytes, more than the {MAX_TABLE} that the kernel admits"
            )));
        }
        let fd = sys::create_map(name, size as u32).map_err(|error| {
            Error::kernel(format!("creating map {name} of {size} bytes"), error)
        })?;
        Ok(Self { fd, size, pin: dir.join(name) })
    }

    /// Maps `len` bytes from `offset`, which is rounded down to a page; the second value is where
    /// `offset` lies in the mapping.
    pub fn map(&self, offset: usize, len: usize) -> Result<(Mapping, usize), Error> {
        let start = offset / PAGE * PAGE;
        let end = (offset + len).next_multiple_of(PAGE).min(self.size.next_multiple_of(PAGE));
        let mapping = Mapping::new(self.fd.as_fd(), start, end - start)
            .map_err(|error| Error::kernel(format!("mapping {}", self.pin.display()), error))?;
        Ok((mapping, offset - start))
    }
}

impl AsFd for Region {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// All maps of the programs.
#[derive(Debug)]
pub struct Maps {
    pub arena: Region,
    pub flows4: Region,
    pub flows6: Region,
    /// That `flows4` and `flows6` are to take the place of.
    pub smaller: Smaller,
    pub fragments4: Region,
    pub fragments6: Region,
    pub counters: Region,
    pub handover: Handover,
    /// Rows of counters for one CPU.
    pub slots: usize,
    pub events: Region,
    /// CPUs that there is room for.
    pub cpus: usize,
    /// Length of a ring of events; 0: nothing is logged.
    pub event_slots: usize,
}

/// Events of each kind for all CPUs together, and the least that each gets: what a burst may bring
/// between two looks of the agent.
const EVENTS: usize = 2048;
const MIN_EVENTS: usize = 64;

/// Name of a larger arena until it has taken the place of the present one.
pub const NEW_ARENA: &str = "ARENA_NEW";

impl Maps {
    /// Those pinned in `dir`, else the tables in `from`, else new ones.
    pub fn open(dir: &Path, from: Handed<'_>, options: &Options) -> Result<Self, Error> {
        // Left by an agent that died while the arena grew; the programs that use it go on.
        match fs::remove_file(dir.join(NEW_ARENA)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::kernel(format!("removing {NEW_ARENA}"), error));
            }
            _ => {}
        }
        let flows = buckets_for(options.max_flows.max(1) as usize);
        let fragments = buckets_for(MAX_FRAGMENTED);
        let slots = usize::from(options.max_interfaces.max(1)).next_power_of_two();
        let cpus = possible_cpus()?;
        let row = size_of::<CounterRow>();
        // First: without it, nobody knows what is in the tables.
        let handover = Handover::open(dir, from, options.abi.tables, slots)?;
        let open = |name: &str, size: usize| Region::take_over(dir, from, name, size.max(PAGE));
        let (size4, size6) = (table_size::<Addresses4>(flows), table_size::<Addresses6>(flows));
        let seed = handover.seed()?;
        let (flows4, smaller4) = widen::open::<Addresses4>(dir, from, "FLOWS4", size4, seed)?;
        let (flows6, smaller6) = widen::open::<Addresses6>(dir, from, "FLOWS6", size6, seed)?;
        if flows4.size > size4 {
            tracing::warn!(
                capacity = buckets_in::<Addresses4>(flows4.size) * LANES,
                "the flow table of the earlier agent stays, with its capacity; \
                 `sgctl detach` makes room for a smaller one"
            );
        }
        let cpus = cpus.next_power_of_two();
        let event_slots = (EVENTS / cpus).max(MIN_EVENTS);
        let events = Region::anew(dir, "EVENTS", event::region_size(cpus, event_slots))?;
        let counters = open("COUNTERS", cpus * slots * row)?;
        let kept = counters.size / cpus / row;
        if kept < slots {
            tracing::warn!(
                max_interfaces = kept,
                "the counters of the earlier agent stay, with their number of interfaces; \
                 `sg-agent detach` makes room for more"
            );
        }
        Ok(Self {
            arena: Region::open(dir, "ARENA", MIN_ARENA)?,
            flows4,
            flows6,
            smaller: Smaller { v4: smaller4, v6: smaller6 },
            fragments4: open("FRAGMENTS4", table_size::<Addresses4>(fragments))?,
            fragments6: open("FRAGMENTS6", table_size::<Addresses6>(fragments))?,
            slots: kept,
            counters,
            handover,
            events,
            cpus,
            event_slots: if options.flow_log { event_slots } else { 0 },
        })
    }

    /// Name in the programs and map.
    pub fn named(&self) -> [(&'static str, &Region); 7] {
        [
            ("ARENA", &self.arena),
            ("FLOWS4", &self.flows4),
            ("FLOWS6", &self.flows6),
            ("FRAGMENTS4", &self.fragments4),
            ("FRAGMENTS6", &self.fragments6),
            ("COUNTERS", &self.counters),
            ("EVENTS", &self.events),
        ]
    }
}

/// CPUs that there can ever be: one more than the last number in "0-3,8".
pub fn possible_cpus() -> Result<usize, Error> {
    const FILE: &str = "/sys/devices/system/cpu/possible";
    let text = fs::read_to_string(FILE)
        .map_err(|error| Error::kernel(format!("reading {FILE}"), error))?;
    let last = text.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<usize>().ok());
    last.map(|last| last + 1).ok_or_else(|| Error::Other(format!("{FILE} says {text:?}")))
}
