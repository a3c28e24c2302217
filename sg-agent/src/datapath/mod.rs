//! The kernel side: maps, programs, attachments. The only module that knows aya and bpf(2).
//!
//! Signatures first; the bodies are being written.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use sg_common::{Direction, Reason, counter::CounterRow, flow::Tick};
use sg_policy::{compile::Image, model::DatapathChoice};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was being done, and what the kernel said.
    #[error("{what}: {source}")]
    Kernel { what: String, source: std::io::Error },
    /// Does not fit into what was allocated; the old state stays in force.
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    Other(String),
}

#[derive(Clone, Debug)]
pub struct Options {
    /// Pins go into `<bpffs>/v<ABI>/`. Mounted when there is no bpffs.
    pub bpffs: PathBuf,
    /// Flow table capacity per address family.
    pub max_flows: u32,
    /// Interfaces filtered at once.
    pub max_interfaces: u16,
}

/// What filters the kernel's ingress of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Xdp,
    Tcx,
    Tc,
}

/// How an interface is attached, and why so.
#[derive(Clone, Debug)]
pub struct Attachment {
    pub hook: Hook,
    pub reason: String,
}

/// What an earlier agent left in force, read from the pinned maps.
#[derive(Clone, Debug)]
pub struct Inherited {
    pub revision: u64,
    /// An unconfirmed change is in force until this tick.
    pub deadline: Option<Tick>,
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

#[derive(Clone, Debug)]
pub struct ProbeAnswer {
    /// `None`: the interface is not filtered.
    pub reason: Option<Reason>,
    pub flow: Option<FlowEntry>,
}

#[derive(Debug)]
pub struct Datapath {}

impl Datapath {
    /// Loads the programs; creates maps and pins, or takes over those of an earlier agent.
    pub fn open(_options: &Options) -> Result<Self, Error> {
        panic!("being written")
    }
    /// The data path's clock now.
    pub fn now(&self) -> Tick {
        panic!("being written")
    }
    pub fn ticks_per_1000s(&self) -> u32 {
        panic!("being written")
    }
    pub fn inherited(&self) -> Option<&Inherited> {
        panic!("being written")
    }
    /// Puts an image in force, on all interfaces at the same instant. Old image stays on error.
    pub fn publish(&mut self, _image: &Image) -> Result<(), Error> {
        panic!("being written")
    }
    /// The same until `deadline`; then `fallback` is in force, agent or no agent.
    pub fn publish_until(
        &mut self,
        _image: &Image,
        _fallback: &Image,
        _deadline: Tick,
    ) -> Result<(), Error> {
        panic!("being written")
    }
    /// Attaches both directions. Idempotent: an interface that is attached already (also by an
    /// earlier agent) keeps its links and gets the present programs.
    pub fn attach(
        &mut self,
        _ifindex: u32,
        _name: &str,
        _choice: DatapathChoice,
    ) -> Result<Attachment, Error> {
        panic!("being written")
    }
    /// Takes programs off an interface; also right for one that is gone. No error if not attached.
    pub fn detach(&mut self, _ifindex: u32) -> Result<(), Error> {
        panic!("being written")
    }
    /// ifindexes with links, own or of an earlier agent.
    pub fn attached(&self) -> Vec<u32> {
        panic!("being written")
    }
    /// All CPUs together.
    pub fn counters(&self, _slot: u16) -> CounterRow {
        panic!("being written")
    }
    /// Forgets counters and flows of a slot before another interface gets it.
    pub fn release(&mut self, _slot: u16) {
        panic!("being written")
    }
    /// Calls `each` with every entry, expired ones included (compare `seen` with the timeouts).
    pub fn for_each_flow(&self, _each: &mut dyn FnMut(&FlowEntry)) {
        panic!("being written")
    }
    /// Forgets the flows that `which` says; returns how many.
    pub fn flush(&self, _which: &mut dyn FnMut(&FlowEntry) -> bool) -> u64 {
        panic!("being written")
    }
    /// Both families together.
    pub fn capacity(&self) -> u64 {
        panic!("being written")
    }
    /// Judges a frame by the live tables without a trace.
    pub fn probe(
        &self,
        _ifindex: u32,
        _direction: Direction,
        _frame: &[u8],
    ) -> Result<ProbeAnswer, Error> {
        panic!("being written")
    }
    /// Removes every link, map and pin under `bpffs`, of any ABI.
    pub fn remove(_bpffs: &Path) -> Result<(), Error> {
        panic!("being written")
    }
}
