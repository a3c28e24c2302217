//! All maps of the programs, created or taken over, with their pins.

use std::{fs, io, path::Path};

use sg_common::{
    control::IMAGE_ALIGN,
    counter::CounterRow,
    event,
    flow::{Addresses4, Addresses6, LANES, buckets_for, buckets_in, table_size},
    usage::Usage,
};

use super::{
    arena::ARENA,
    handover::Handover,
    region::{PredecessorDir, Region},
    resize::{self, OldTables},
};
use crate::{bpf::syscall::PAGE, error::Error, options::Options};

/// The smallest arena: enough for two images of 60,000 rules.
pub const MIN_ARENA: usize = 16 << 20;
/// The root word counts arena units in 16 bits.
pub const MAX_ARENA: usize = IMAGE_ALIGN << 16;
/// Datagrams whose fragments are under way, per family.
const MAX_FRAGMENTED: usize = 4096;

/// All maps of the programs.
#[derive(Debug)]
pub struct Maps {
    pub arena: Region,
    pub flows4: Region,
    pub flows6: Region,
    /// The smaller tables that `flows4` and `flows6` replace.
    pub old_tables: OldTables,
    pub fragments4: Region,
    pub fragments6: Region,
    pub counters: Region,
    /// A row for each slot that has counters.
    pub usage: Region,
    pub handover: Handover,
    /// Rows of counters for one CPU.
    pub slots: usize,
    pub events: Region,
    /// CPUs that there is room for.
    pub cpus: usize,
    /// Length of a ring of events; 0: nothing is logged.
    pub event_slots: usize,
}

/// Events of each kind for all CPUs together, and the least for each CPU: a burst between two looks
/// of the agent.
const EVENTS: usize = 2048;
const MIN_EVENTS: usize = 64;

/// Name of a larger arena until it has taken the place of the present one.
pub const NEW_ARENA: &str = "ARENA_NEW";

impl Maps {
    /// Opens the maps pinned in `dir`, else the tables in `from`, else new ones.
    pub fn open(dir: &Path, from: PredecessorDir<'_>, options: &Options) -> Result<Self, Error> {
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
        // First: without the handover, the content of the tables has no meaning.
        let handover = Handover::open(dir, from, options.abi.tables, slots)?;
        let open = |name: &str, size: usize| Region::take_over(dir, from, name, size.max(PAGE));
        let (size4, size6) = (table_size::<Addresses4>(flows), table_size::<Addresses6>(flows));
        let hash_key = handover.hash_key()?;
        let (flows4, old4) = resize::open::<Addresses4>(dir, from, "FLOWS4", size4, hash_key)?;
        let (flows6, old6) = resize::open::<Addresses6>(dir, from, "FLOWS6", size6, hash_key)?;
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
            arena: Region::open(dir, ARENA, MIN_ARENA)?,
            usage: open("USAGE", kept * size_of::<Usage>())?,
            flows4,
            flows6,
            old_tables: OldTables { v4: old4, v6: old6 },
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
    pub fn named(&self) -> [(&'static str, &Region); 8] {
        [
            (ARENA, &self.arena),
            ("FLOWS4", &self.flows4),
            ("FLOWS6", &self.flows6),
            ("FRAGMENTS4", &self.fragments4),
            ("FRAGMENTS6", &self.fragments6),
            ("COUNTERS", &self.counters),
            ("USAGE", &self.usage),
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
