//! The compiler: desired state and live interfaces in, an image of the data path out.
//!
//! Peers (CIDRs, prefix lists, groups) become classes of addresses. Rules become a set of services
//! for each (policy, direction, family, class). All of it becomes interval maps in one block of
//! words. A policy is a distinct set of groups; interfaces that share it share its rows.

mod addresses;
#[cfg(any(test, feature = "generate"))]
pub mod check;
mod classes;
mod image_header;
mod incremental;
mod layout;
mod members;
mod peers;
mod policy;
mod rows;
mod services;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use sg_common::{
    Direction, Family, ImageView,
    control::IMAGE_ALIGN,
    flow::{AT_ONCE, TIMEOUTS, Timeout},
    image::{self, flags, record},
    interval::Ref,
    usage::Allowance,
    view::InterfaceRecord,
};

use self::{
    addresses::write_map, image_header::ImageHeader, incremental::IncrementalState, layout::Layout,
    policy::PolicyRefs,
};
use crate::model::{DesiredState, Interface, LiveInterface, MaxFlows, Role, Tracking};

/// Numbers that the compiler needs besides the rules.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    /// [Ticks](sg_common::flow::Tick) in 1000 seconds.
    pub ticks_per_1000s: u32,
    /// Revision of the rules, for an agent that takes the image over.
    pub revision: u64,
    /// On interfaces with `on_revoke = "cut"`, hold flows not seen since this
    /// [tick](sg_common::flow::Tick) against the rules once more.
    pub cut_since: u32,
}

/// Compiled rules, ready to be published. Words are host-endian; see [`sg_common::image`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub words: Vec<u32>,
}

impl Image {
    /// For questions to the image.
    ///
    /// # Panics
    /// If [`Self::words`] do not come from a compiler.
    pub fn view(&self) -> ImageView<'_> {
        ImageView::new(&self.words).expect("a compiler made it")
    }

    /// Changes [`Parameters::cut_since`], which is known for certain only when the image comes into
    /// force.
    pub fn set_cut_since(&mut self, tick: u32) {
        let records = self.view().header().records();
        for words in self.words[records].as_chunks_mut().0 {
            if InterfaceRecord::new(words).is_some_and(|record| record.cut_since().is_some()) {
                words[record::CUT_SINCE as usize] = tick;
            }
        }
    }
}

/// A state that does not fit into an image.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("the compiled rules need {needed} bytes or more; an image can have {limit}")]
    TooLarge { needed: usize, limit: usize },
}

/// Largest image: half of what the root word can name, so that two fit.
const MAX_IMAGE: usize = IMAGE_ALIGN << 15;

fn check_size(words: usize) -> Result<(), CompileError> {
    let (needed, limit) = (words * 4, MAX_IMAGE);
    if needed > limit { Err(CompileError::TooLarge { needed, limit }) } else { Ok(()) }
}

/// Compiles `state` for the interfaces that are there. `live` has one entry per slot, any order.
pub fn compile(
    state: &DesiredState,
    live: &[LiveInterface],
    parameters: &Parameters,
) -> Result<Image, CompileError> {
    Compiler::default().compile(state, live, parameters)
}

/// Compiles one state after the other, with less work where little has changed since the last one.
///
/// A class is a set of peers and keeps its number. A further class therefore only adds words: to
/// the map of addresses that it covers, and to the rows of policies that allow it something. Unused
/// classes stay until they are too many; then everything is compiled from scratch.
#[derive(Debug, Default)]
pub struct Compiler {
    last: Option<IncrementalState>,
}

impl Compiler {
    /// Compiles `state` for the interfaces that are there. `live` has one entry per slot, any order.
    pub fn compile(
        &mut self,
        state: &DesiredState,
        live: &[LiveInterface],
        parameters: &Parameters,
    ) -> Result<Image, CompileError> {
        let header = ImageHeader::of(live)?;
        if let Some(mut last) = self.last.take()
            && last.suits(&header)
            && last.learn(state, live).is_some()
            // Unused classes and maps may be the reason why it does not fit; compile from scratch
            // then.
            && let Ok(image) = last.image(state, live, parameters, &header)
        {
            self.last = Some(last);
            return Ok(image);
        }
        let mut last = IncrementalState::new(&header);
        last.learn_all(state, live);
        let image = last.image(state, live, parameters, &header)?;
        self.last = Some(last);
        Ok(image)
    }
}

/// Maps of the addresses that a port's instance may speak for, by family.
fn write_own(layout: &mut Layout, entry: &Interface) -> [Ref; 2] {
    if !entry.source_check {
        return [Ref::NONE; 2];
    }
    let number = |address: &IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    Family::BOTH.map(|family| {
        let mut own: Vec<u128> = entry
            .addresses
            .iter()
            .filter(|address| address.is_ipv4() == (family == Family::V4))
            .map(number)
            .collect();
        own.sort_unstable();
        own.dedup();
        let mut changes = Vec::with_capacity(own.len() * 2);
        for address in own {
            // The next address follows at once: this one's end is not an end.
            if changes.last().is_some_and(|(end, _)| *end == address) {
                changes.pop();
            } else {
                changes.push((address, 1));
            }
            if let Some(end) = address.checked_add(1) {
                changes.push((end, 0));
            }
        }
        if family == Family::V4 {
            changes.retain(|(at, _)| *at < 1 << 32);
        }
        write_map(layout, family, &changes)
    })
}

fn write_record(
    record: &mut [u32],
    live: &LiveInterface,
    entry: &Interface,
    policy: &PolicyRefs,
    own: [Ref; 2],
    is_only: bool,
    parameters: &Parameters,
) {
    let mut set = |at: u32, value: u32| record[at as usize] = value;
    let bit = |on: bool, bit: u32| if on { bit } else { 0 };
    set(record::IFINDEX, live.ifindex);
    set(
        record::FLAGS,
        bit(entry.role == Role::Port, flags::PORT)
            | bit(entry.source_check, flags::SOURCE_CHECK)
            | bit(entry.mac.is_some(), flags::MAC)
            | bit(!live.ethernet, flags::NO_ETHERNET)
            | bit(entry.filter.related_icmp, flags::RELATED_ICMP)
            | bit(entry.filter.exempt_services, flags::EXEMPT_SERVICES)
            | bit(entry.cuts(), flags::RECHECK)
            | bit(live.delivers, flags::DELIVERS),
    );
    if entry.cuts() {
        set(record::CUT_SINCE, parameters.cut_since);
    }
    set(record::PICKUP_UNTIL, live.pickup_until);
    for family in Family::BOTH {
        let at = record::FAMILIES + family as u32 * 4;
        let refs = &policy[family as usize];
        set(at + record::UNTRACKED_IN, refs.untracked[0].0);
        set(at + record::UNTRACKED_OUT, refs.untracked[1].0);
        for direction in Direction::BOTH {
            set(at + image::row_of(direction), refs.rows[direction as usize].0);
        }
        set(record::OWN + family as u32, own[family as usize].0);
    }
    if let Some([a, b, c, d, e, f]) = entry.mac {
        set(record::MAC, u32::from_be_bytes([a, b, c, d]));
        set(record::MAC + 1, u32::from(u16::from_be_bytes([e, f])));
    }
    for (timeout, seconds) in timeouts(&entry.tracking) {
        let ticks = u64::from(seconds) * u64::from(parameters.ticks_per_1000s) / 1000;
        set(record::TIMEOUTS + timeout as u32, ticks as u32);
    }
    set(record::TIMEOUTS + Timeout::TcpEnded as u32, AT_ONCE);
    set(record::MAX_FLOWS, allowance(entry.tracking.max_flows, is_only).0);
    set(record::MAX_FRAGMENTED, allowance(MaxFlows::Auto, is_only).0);
}

/// The most that an interface may have of a table; `is_only`: no other interface is filtered.
pub fn allowance(max_flows: MaxFlows, is_only: bool) -> Allowance {
    match max_flows {
        MaxFlows::Auto if is_only => Allowance::ALL,
        MaxFlows::Auto => Allowance::HALF,
        MaxFlows::Percent(percent) => Allowance::percent(percent),
        MaxFlows::Number(number) => Allowance::lanes(number),
    }
}

/// Seconds.
fn timeouts(tracking: &Tracking) -> [(Timeout, u32); TIMEOUTS - 1] {
    [
        (Timeout::TcpOpening, 60),
        (Timeout::TcpEstablished, tracking.tcp_established),
        (Timeout::TcpClosing, 120),
        (Timeout::TcpReset, 10),
        (Timeout::Udp, tracking.udp),
        (Timeout::UdpStream, tracking.udp_stream),
        (Timeout::Icmp, 30),
        (Timeout::Other, 600),
        (Timeout::Fragment, 30),
    ]
}
