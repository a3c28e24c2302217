//! Packets and bytes of tracked flows since the last look: the table's own counts, less those of
//! the look before.
//!
//! The table keeps an ended flow until its idle timeout, 10 s at least. Looks come more often, so
//! they see every packet of nearly every flow. Two kinds of flow lose their packets since the last
//! look: a flow that gave way to another, and a flow that a new connection took over.

use std::collections::HashMap;

use sg_common::{
    Reason,
    flow::{ICMP, ICMPV6, State, TCP, Tag},
};

use super::window::{Key, Volume};
use crate::datapath::{FlowEntry, LaneNumber};

/// A flow as it was last seen.
#[derive(Clone, Copy, Debug)]
struct Known {
    identity: u64,
    packets: u64,
    bytes: u64,
    state: State,
    /// The look that saw it.
    look: u32,
}

#[derive(Debug)]
pub(super) struct Tracked {
    /// By number of the lane.
    known: HashMap<LaneNumber, Known>,
    look: u32,
    /// Unix time of the look before.
    before: u64,
}

impl Tracked {
    /// The first look finds flows whose packets until then are of no time that is known.
    pub(super) fn new(now: u64) -> Self {
        Self { known: HashMap::new(), look: 0, before: now }
    }

    pub(super) fn begin(&mut self) {
        self.look = self.look.wrapping_add(1);
    }

    /// Records a flow, and returns its packets and bytes since the last look, if there were any.
    pub(super) fn see(
        &mut self,
        number: LaneNumber,
        tag: Tag,
        flow: &FlowEntry,
        now: u64,
    ) -> Option<(Key, Volume)> {
        let (state, identity) = (tag.state(), identity(tag, flow));
        let (packets, bytes) = (flow.packets, flow.bytes);
        let seen = Known { identity, packets, bytes, state, look: self.look };
        let known = self.known.insert(number, seen);
        // One that starts over counts from 1 again.
        let same = known.filter(|known| known.identity == identity && known.packets <= packets);
        let is_first = self.look == 1;
        let (packets, bytes, state_before) = match same {
            Some(known) => {
                (packets - known.packets, bytes.saturating_sub(known.bytes), known.state)
            }
            None => (packets, bytes, State::FREE),
        };
        if packets == 0 || is_first {
            return None;
        }
        let tcp_flags = if flow.protocol == TCP { flags(state_before, state) } else { 0 };
        let volume = Volume { packets, bytes, tcp_flags, start: self.before, end: now };
        Some((key(flow), volume))
    }

    /// Forgets lanes that this look has not seen.
    pub(super) fn end(&mut self, now: u64) {
        let look = self.look;
        self.known.retain(|_, known| known.look == look);
        if self.known.capacity() > 4 * self.known.len().max(1024) {
            self.known.shrink_to_fit();
        }
        self.before = now;
    }
}

/// Tells a flow from others that had the lane.
fn identity(tag: Tag, flow: &FlowEntry) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    (tag.identity(), flow.src, flow.dst, flow.direction).hash(&mut hasher);
    hasher.finish()
}

/// TCP flags that must have passed for a state to become another.
fn flags(before: State, after: State) -> u8 {
    const SYN: u8 = 0x02;
    const SYN_ACK: u8 = 0x12;
    let opened = !before.is_taken();
    let mut flags = if opened { SYN } else { 0 };
    if after.has_reply(TCP) && (opened || !before.has_reply(TCP)) {
        flags |= SYN_ACK;
    }
    flags | after.closing_flags() & !if opened { 0 } else { before.closing_flags() }
}

fn key(flow: &FlowEntry) -> Key {
    let icmp = if flow.src.is_ipv4() { ICMP } else { ICMPV6 };
    // The identifier and type of a query are no ports.
    let (sport, dport) = if flow.protocol == icmp { (0, 0) } else { (flow.sport, flow.dport) };
    Key {
        slot: flow.slot,
        direction: flow.direction,
        reason: Reason::Flow,
        packet: Some((flow.src, flow.dst, sport, dport, flow.protocol)),
    }
}

#[cfg(test)]
mod tests {
    use sg_common::{
        Direction,
        flow::{Timeout, ports},
    };

    use super::*;

    const OPENED: State = State::opened(Direction::Ingress);

    fn flow(packets: u64) -> FlowEntry {
        FlowEntry {
            slot: 3,
            protocol: TCP,
            direction: Direction::Ingress,
            src: [192, 0, 2, 1].into(),
            dst: [192, 0, 2, 2].into(),
            sport: 4000,
            dport: 443,
            state: "new",
            timeout: Timeout::TcpOpening,
            seen: 0,
            packets,
            bytes: packets * 100,
        }
    }

    /// One look at one flow in lane 5; packets, bytes and flags that it gives.
    fn look(
        tracked: &mut Tracked,
        now: u64,
        state: State,
        flow: &FlowEntry,
    ) -> Option<(u64, u64, u8)> {
        let tag = Tag::new(ports(flow.dport, flow.sport), flow.slot, flow.protocol, state);
        tracked.begin();
        let seen = tracked.see(LaneNumber::of_answer(5).expect("a flow"), tag, flow, now);
        tracked.end(now);
        seen.map(|(_, volume)| (volume.packets, volume.bytes, volume.tcp_flags))
    }

    #[test]
    fn only_what_came_since_the_last_look_counts() {
        let mut tracked = Tracked::new(100);
        assert_eq!(look(&mut tracked, 100, OPENED, &flow(5)), None, "before the log began");
        assert_eq!(look(&mut tracked, 105, OPENED, &flow(5)), None);
        let replied = OPENED.after(TCP, Direction::Egress, 0x12, false);
        assert_eq!(look(&mut tracked, 110, replied, &flow(8)), Some((3, 300, 0x12)));
        let closing = replied.after(TCP, Direction::Ingress, 0x11, true);
        let over = closing.after(TCP, Direction::Egress, 0x04, false);
        assert_eq!(look(&mut tracked, 115, over, &flow(10)), Some((2, 200, 0x05)));
        assert_eq!(look(&mut tracked, 120, over, &flow(10)), None);
    }

    #[test]
    fn another_flow_in_the_lane_counts_from_its_start() {
        let mut tracked = Tracked::new(100);
        tracked.begin();
        tracked.end(100);
        assert_eq!(look(&mut tracked, 105, OPENED, &flow(5)), Some((5, 500, 2)));
        // The same five-tuple anew.
        assert_eq!(look(&mut tracked, 110, OPENED, &flow(2)), Some((2, 200, 2)));
        let other = FlowEntry { src: [192, 0, 2, 9].into(), ..flow(7) };
        assert_eq!(look(&mut tracked, 115, OPENED, &other), Some((7, 700, 2)));
        tracked.begin();
        tracked.end(120);
        assert_eq!(look(&mut tracked, 125, OPENED, &other), Some((7, 700, 2)), "was gone");
    }

    #[test]
    fn a_query_has_no_ports() {
        let query = FlowEntry { protocol: ICMP, sport: 77, dport: 8, ..flow(1) };
        let packet = key(&query).packet.expect("a packet");
        assert_eq!((packet.2, packet.3, packet.4), (0, 0, 1));
    }
}
