//! The verdict of a packet's flow.

use sg_common::{
    Direction, Reason,
    flow::{TCP, Tag, UDP, is_before_change, opening, tcp},
    image::flags,
    probe::NO_FLOW,
};

use super::{
    key::Key,
    lane::{Found, find, tag_of},
};
use crate::{
    context::RuleContext, global_fns::GlobalFns, headers::Packet, maps::Table, outcome::reason,
};

/// Returns true if the rules do not allow the flow any more, and no packet of it has come since
/// they changed.
#[inline(always)]
pub(crate) fn is_to_be_cut<N: GlobalFns>(
    context: &RuleContext<'_>,
    key: &Key<N>,
    found: &Found<N::Addresses>,
) -> bool {
    context.interface & flags::RECHECK != 0
        && is_before_change(found.seen(), context.cut_since())
        && !is_still_allowed::<N>(context, key, found.tag)
}

/// Returns true if the packet that opened a flow would be let through, by the rules or as a call of an
/// exempt service.
#[inline(always)]
pub(super) fn is_still_allowed<N: GlobalFns>(
    context: &RuleContext<'_>,
    key: &Key<N>,
    tag: Tag,
) -> bool {
    let (opener, service) = opening(tag, N::FAMILY);
    let calls_service = matches!(opener, Direction::Egress)
        && matches!(tag.protocol(), TCP | UDP)
        && context.interface & flags::EXEMPT_SERVICES != 0
        && N::is_exempt_service(key.remote());
    calls_service || context.rules.allow::<N>(opener, key.remote(), service)
}

/// A flow's number in the high half, and the reason of its verdict, or of the rules', in the low
/// half.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct FlowVerdict(pub(crate) u64);

impl FlowVerdict {
    #[inline(always)]
    fn of(flow: u32, reason: Reason) -> Self {
        Self((flow as u64) << 32 | reason as u64)
    }

    /// The flow's number, or [`NO_FLOW`].
    #[inline(always)]
    pub(crate) fn flow(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub(crate) fn reason(self) -> Reason {
        reason(self.0 as u32)
    }
}

/// Looks up a packet's flow. If there is none, asks the rules.
///
/// Reasons: `Flow` passes and is counted, `FlowCut` is refused. `Rule` and `NoRule` are the rules'
/// answer for a packet without a flow. They are also the answer for a SYN on a five-tuple whose flow is
/// closing, cut, or picked up and half-open. Writes the packet's key.
#[inline(always)]
pub(crate) fn lookup_verdict<N: GlobalFns>(
    context: &RuleContext<'_>,
    packet: &Packet<N>,
    key: &mut Key<N>,
    bytes: u32,
) -> FlowVerdict {
    *key = Key::of(context, context.direction, packet, bytes);
    let (flow, reason) = if key.is_tracked() {
        lookup_flow::<N>(context, packet, key)
    } else {
        (NO_FLOW, Reason::Rule)
    };
    let reason = match reason {
        // Inlined, so that denied packets cost one call less.
        Reason::Rule
            if !context.rules.allow_in_place::<N>(context.direction, packet, key.remote()) =>
        {
            Reason::NoRule
        }
        reason => reason,
    };
    if matches!(reason, Reason::Rule) && key.may_open() && !packet.is_mid_stream() {
        prefetch_for_insert(&N::flows(), key);
    }
    FlowVerdict::of(flow, reason)
}

/// Loads all lanes of both buckets, which opening a flow will read, without using the values.
/// Memory of a large table is slow, and the cache misses then overlap instead of following each
/// other.
#[inline(always)]
fn prefetch_for_insert<N: GlobalFns>(table: &Table<N::Addresses>, key: &Key<N>) {
    for hash in key.choices() {
        let bucket = table.bucket(hash);
        for lane in [0, 1, 2, 3] {
            tag_of(bucket, lane);
        }
    }
}

/// Loads a lane of both buckets before their marks are known, since one of the buckets most likely
/// has the packet's flow. In a table much larger than the caches, the misses of marks and lanes
/// then overlap.
#[inline(always)]
fn prefetch_for_lookup<N: GlobalFns>(table: &Table<N::Addresses>, key: &Key<N>) {
    for hash in key.choices() {
        tag_of(table.bucket(hash), 0);
    }
}

/// The number of the packet's flow, and the reason of its verdict. `Rule`: the rules have to
/// decide.
#[inline(always)]
fn lookup_flow<N: GlobalFns>(
    context: &RuleContext<'_>,
    packet: &Packet<N>,
    key: &Key<N>,
) -> (u32, Reason) {
    let none = (NO_FLOW, Reason::Rule);
    let table = N::flows();
    if table.exceeds_cache() && !packet.is_opening() {
        prefetch_for_lookup(&table, key);
    }
    let Some(mut found) = find::<N>(&table, key) else { return none };
    if found.is_over(context, N::FAMILY) {
        return none;
    }
    let reason = on_hit::<N>(context, packet, key, &mut found);
    (found.number(N::FAMILY), reason)
}

#[inline(always)]
fn on_hit<N: GlobalFns>(
    context: &RuleContext<'_>,
    packet: &Packet<N>,
    key: &Key<N>,
    found: &mut Found<N::Addresses>,
) -> Reason {
    let tcp_flags = packet.transport.tcp_flags;
    let state = found.tag.state();
    let mut cut = state.is_cut();
    if !cut && is_to_be_cut(context, key, found) {
        cut = true;
        if !context.dry_run {
            found.cut(context.cut_since());
        }
    }
    let protocol = found.tag.protocol();
    if protocol == TCP && tcp::opens(tcp_flags) && (cut || state.is_closing()) {
        return Reason::Rule;
    }
    // Nobody knows that such a connection is there: it opens no port to one that begins.
    if !cut && tcp::is_syn(tcp_flags) && state.is_picked_up(protocol) {
        return Reason::Rule;
    }
    if cut {
        return Reason::FlowCut;
    }
    if !context.dry_run {
        found.touch(context.now, context.direction, &packet.transport, key.bytes);
    }
    Reason::Flow
}
