//! The kernel side: maps, programs, attachments. The only crate that knows aya and bpf(2).
//!
//! Everything is pinned under `<bpffs>/v<ABI>/`: `maps/`, and `links/` as `attach/links.rs` says.
//! Pinned maps and links go on without the agent; the next agent takes them over. This crate knows
//! the words of an image, and no rule, group or name behind them.

mod advice;
mod attach;
mod bpf;
mod bpffs;
mod clock;
mod counters;
mod datapath;
mod error;
mod flow_log_reader;
mod flows;
mod maps;
mod namespace;
pub mod netlink;
mod options;
mod publish;
#[cfg(feature = "testing")]
pub mod testing;

pub use self::{
    attach::hook::{AttachMode, Attachment, Hook, HookChoice, Receiver},
    bpf::programs::{LoadCost, Loader},
    datapath::{Datapath, ProbeAnswer, map_sizes},
    error::Error,
    flow_log_reader::{FlowLogReader, NotLogged},
    flows::{
        adopt::{Adopted, AdoptedConnection},
        census::{Census, CensusResult},
        entry::{FlowEntry, Opening},
        judge::Opens,
        lane::LaneNumber,
        phase::Phase,
        visit::FlowCursor,
    },
    maps::handover::{Inherited, InheritedInterface},
    options::{Abi, Options},
};
