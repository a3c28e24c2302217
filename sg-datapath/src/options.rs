//! Options for opening a data path.

use std::path::PathBuf;

use sg_common::{ABI, handover::TABLES};

use crate::attach::hook::Receiver;

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
    /// Whether the programs tell of single packets; see [`FlowLogReader`](crate::FlowLogReader).
    pub flow_log: bool,
    /// The hook that most interfaces are likely to get; its program is loaded first.
    pub first: Receiver,
    /// Called when the programs that are loaded beside are there: loading leaves much freed memory.
    pub loaded: fn(),
}
