//! Flows of connections that are older than the filter: judged by an image as their opening packets
//! would be, and put into the table as the programs put theirs.

use std::net::{IpAddr, SocketAddr};

use sg_common::{
    Direction,
    flow::{
        Addresses, Addresses4, Addresses6, Bucket, LANES, SEEDS, TCP, Tag, Tick, UDP, buckets_in,
        mark, marks_size, ports,
    },
    image::{self, header, record, service},
    interval::{self, Words},
};
use sg_policy::compile::Image;

use super::{
    Error,
    arena::Slice,
    flows::{Lane, Shown},
    maps::{Maps, Region},
    revoke::{Peer, allows},
    sys::Mapping,
};
use crate::connections::Phase;

/// A connection at an interface, and which way its opening packet went there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub slot: u16,
    pub protocol: u8,
    pub direction: Direction,
    /// The instance's end. Ports are 0 where the protocol has none.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// What rules say to an opening packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    Denied,
    /// It passes, and so does all that follows, each by the rules.
    Untracked,
    /// It passes and makes a flow.
    Tracked,
}

/// Addresses as tables have them.
enum Ends {
    V4(Addresses4),
    V6(Addresses6),
}

impl Opening {
    /// `None` for ends of different families.
    fn ends(&self) -> Option<Ends> {
        match (self.local.ip(), self.remote.ip()) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                Some(Ends::V4([u64::from(local.to_bits()) << 32 | u64::from(remote.to_bits())]))
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                let halves = |bits: u128| ((bits >> 64) as u64, bits as u64);
                let (local, remote) = (halves(local.to_bits()), halves(remote.to_bits()));
                Some(Ends::V6([local.0, local.1, remote.0, remote.1]))
            }
            _ => None,
        }
    }
}

/// What the rules in `image` say to an opening packet.
pub fn judge(image: &Image, opening: &Opening) -> Opens {
    let words = Slice(&image.words);
    match opening.ends() {
        Some(Ends::V4(addresses)) => judge_in(&words, opening, &addresses),
        Some(Ends::V6(addresses)) => judge_in(&words, opening, &addresses),
        None => Opens::Denied,
    }
}

fn judge_in<A: Peer>(words: &Slice<'_>, opening: &Opening, addresses: &A) -> Opens {
    if u32::from(opening.slot) >= words.word(header::SLOTS) {
        return Opens::Denied;
    }
    let record = image::record_of(words, opening.slot.into());
    if words.word(record + record::IFINDEX) == 0 {
        return Opens::Denied;
    }
    let is_open = |which, port| {
        let set = image::family_ref(words, record, A::FAMILY, which);
        interval::contains(words, set, service(opening.protocol, port))
    };
    if matches!(opening.protocol, TCP | UDP)
        && (is_open(record::UNTRACKED_IN, opening.local.port())
            || is_open(record::UNTRACKED_OUT, opening.remote.port()))
    {
        return Opens::Untracked;
    }
    if allows(words, record, tag(opening, Phase::New), addresses) {
        Opens::Tracked
    } else {
        Opens::Denied
    }
}

fn tag(opening: &Opening, phase: Phase) -> Tag {
    let ports = match opening.protocol {
        TCP | UDP => ports(opening.local.port(), opening.remote.port()),
        _ => 0,
    };
    let state = phase.state(opening.protocol, opening.direction);
    Tag::new(ports, opening.slot, opening.protocol, state)
}

/// A connection whose flow is to be in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    pub opening: Opening,
    pub phase: Phase,
}

/// What lanes are judged by: the records of the image in force, and the tables' hash.
pub struct Present<'a> {
    pub records: &'a [u32],
    pub seed: [u32; SEEDS],
    pub now: Tick,
}

/// Puts those that `image` lets open and tracks into the tables; returns how many are new there. One
/// for which there is no free lane is left out: nothing gives way to it.
pub fn insert(
    maps: &Maps,
    image: &Image,
    present: &Present<'_>,
    seeds: &[Seed],
) -> Result<u64, Error> {
    // Mapped whole, since seeds hit it everywhere, and only for as long as this takes.
    let v4 = Table::<Addresses4>::map(&maps.flows4)?;
    let v6 = Table::<Addresses6>::map(&maps.flows6)?;
    let mut inserted = 0;
    for Seed { opening, phase } in seeds {
        if judge(image, opening) != Opens::Tracked {
            continue;
        }
        let tag = tag(opening, *phase);
        let is_new = match opening.ends() {
            Some(Ends::V4(addresses)) => v4.insert(present, tag, addresses),
            Some(Ends::V6(addresses)) => v6.insert(present, tag, addresses),
            None => false,
        };
        inserted += u64::from(is_new);
    }
    Ok(inserted)
}

/// A whole table in our memory.
struct Table<A> {
    mapping: Mapping,
    buckets: usize,
    _of: std::marker::PhantomData<A>,
}

impl<A: Shown + Addresses + PartialEq> Table<A> {
    fn map(region: &Region) -> Result<Self, Error> {
        let (mapping, _) = region.map(0, region.size)?;
        let buckets = buckets_in::<A>(region.size);
        Ok(Self { mapping, buckets, _of: std::marker::PhantomData })
    }

    /// Number of the bucket that half of a hash names; see `bucket` in sg-ebpf/src/maps.rs.
    fn number(&self, hash: u32) -> usize {
        let mask = (self.buckets - 1) * size_of::<Bucket<A>>();
        (hash as usize & mask) / size_of::<Bucket<A>>()
    }

    fn lane(&self, bucket: usize, index: usize) -> Lane<A> {
        let at = marks_size(self.buckets) + bucket * size_of::<Bucket<A>>();
        Lane::new(self.mapping.at::<Bucket<A>>(at), index)
    }

    /// Whether the flow was not there and is now.
    ///
    /// As in `claim` of sg-ebpf/src/conntrack.rs, with which it races: who wins the exchange of the tag
    /// has the lane. A program that opens the same flow at the same time leaves it in two lanes; the
    /// first in order serves and the other one idles out.
    fn insert(&self, present: &Present<'_>, tag: Tag, addresses: A) -> bool {
        let hash = addresses.hash(tag.identity(), &present.seed);
        let choices = [self.number(hash as u32), self.number((hash >> 32) as u32)];
        let lanes =
            || choices.into_iter().flat_map(|bucket| (0..LANES).map(move |lane| (bucket, lane)));
        if lanes().any(|(bucket, index)| self.lane(bucket, index).holds(tag, &addresses)) {
            return false;
        }
        let free = |bucket: usize| {
            let free = |&index: &usize| {
                let lane = self.lane(bucket, index);
                is_free(present, &lane, lane.tag())
            };
            (0..LANES).filter(free).count()
        };
        let bucket = if free(choices[1]) > free(choices[0]) { choices[1] } else { choices[0] };
        (0..LANES).any(|index| {
            let lane = self.lane(bucket, index);
            let before = lane.tag();
            if !is_free(present, &lane, before) || !lane.claim(before) {
                return false;
            }
            let mark_at = self.mapping.at::<u8>(bucket * LANES + index);
            // SAFETY: a byte of the marks, which are before the buckets; the lane is ours.
            unsafe { mark_at.write_volatile(mark(hash)) };
            lane.fill(tag, addresses, present.now);
            true
        })
    }
}

/// Whether a lane is free, or its flow has idled out by the image in force.
fn is_free<A: Shown>(present: &Present<'_>, lane: &Lane<A>, tag: Tag) -> bool {
    let record = usize::from(tag.slot()) * record::LEN as usize;
    tag.0 == 0
        || tag.state().is_taken()
            && present.records.get(record + record::IFINDEX as usize).is_some_and(|&used| used != 0)
            && lane.is_over(tag, &Slice(present.records), record as u32, present.now)
}
