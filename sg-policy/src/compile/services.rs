//! Sets of services: what rules allow a peer, as boundaries in the space `protocol << 16 | detail`.

use sg_common::{
    Family,
    flow::{ICMP, ICMPV6, TCP, UDP},
    image::service,
};
use smallvec::SmallVec;

use crate::model::{IcmpMatch, PortRange, Services};

/// One past the last service.
const END: u32 = 1 << 24;

/// Keys of a set's run.
pub(super) type Boundaries = SmallVec<[u32; 15]>;

/// Services that rules allow, not yet in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ServiceSet {
    /// First and one past the last.
    ranges: Ranges,
}

/// Most peers are allowed a service or two: no memory of their own for them.
type Ranges = SmallVec<[(u32, u32); 2]>;

impl ServiceSet {
    /// Adds a rule's services, as far as they exist in the family.
    pub(super) fn add(&mut self, services: Services, family: Family) {
        let whole = |protocol| (service(protocol, 0), service(protocol, u16::MAX) + 1);
        let ports = |protocol, range: PortRange| {
            (service(protocol, range.from), service(protocol, range.to) + 1)
        };
        let range = match (services, family) {
            (Services::All, _) => (0, END),
            (Services::Tcp(range), _) => ports(TCP, range),
            (Services::Udp(range), _) => ports(UDP, range),
            (Services::Icmp(icmp), Family::V4) => icmp_range(ICMP, icmp),
            (Services::Icmpv6(icmp), Family::V6) => icmp_range(ICMPV6, icmp),
            (Services::Icmp(_), Family::V6) | (Services::Icmpv6(_), Family::V4) => return,
            (Services::Protocol(protocol), _) => whole(protocol),
        };
        self.ranges.push(range);
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.ranges.extend_from_slice(&other.ranges);
    }

    /// Sorted, apart from each other.
    fn merged(&self) -> Ranges {
        let mut ranges = self.ranges.clone();
        ranges.sort_unstable();
        let mut merged = Ranges::with_capacity(ranges.len());
        for (start, end) in ranges {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        merged
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Keys at which membership changes.
    pub(super) fn boundaries(&self) -> Boundaries {
        // Most sets are one range.
        if let [(start, end)] = self.ranges[..] {
            return [start, end].into_iter().filter(|key| *key < END).collect();
        }
        self.merged()
            .into_iter()
            .flat_map(|(start, end)| [start, end])
            .filter(|key| *key < END)
            .collect()
    }

    /// The part of the set that is TCP and UDP, of protocols whose every port `other` holds.
    pub(super) fn open_where_all(&self, other: &Self) -> Self {
        let (own, other) = (self.merged(), other.merged());
        let mut ranges = Ranges::new();
        for protocol in [TCP, UDP] {
            let (first, end) = (service(protocol, 0), service(protocol, u16::MAX) + 1);
            if other.iter().any(|range| range.0 <= first && end <= range.1) {
                let within = own.iter().map(|range| (range.0.max(first), range.1.min(end)));
                ranges.extend(within.filter(|range| range.0 < range.1));
            }
        }
        Self { ranges }
    }
}

fn icmp_range(protocol: u8, icmp: IcmpMatch) -> (u32, u32) {
    let detail = |kind: u8, code: u8| u16::from(kind) << 8 | u16::from(code);
    let (first, last) = match (icmp.kind, icmp.code) {
        (None, _) => (0, u16::MAX),
        (Some(kind), None) => (detail(kind, 0), detail(kind, u8::MAX)),
        (Some(kind), Some(code)) => (detail(kind, code), detail(kind, code)),
    };
    (service(protocol, first), service(protocol, last) + 1)
}
