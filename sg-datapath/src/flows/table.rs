//! A flow table as one that writes to it sees it: all of it in our memory.

use std::marker::PhantomData;

use sg_common::{
    flow::{Addresses, Bucket, HASH_KEY_WORDS, LANES, Tag, Tick, buckets_in, mark, marks_size},
    usage,
    view::{InterfaceRecord, RecordWords},
};

use super::{
    entry::Shown,
    lane::{Contents, Lane},
    usage::UsageRows,
};
use crate::{bpf::syscall::Mapping, error::Error, maps::region::Region};

/// The inputs of judging lanes: the records of the image in force, and the tables' hash key.
pub struct Present<'a> {
    pub records: &'a [RecordWords],
    pub hash_key: [u32; HASH_KEY_WORDS],
    pub now: Tick,
    /// Where lanes are counted; not in a table that takes the place of another, whose counts stay.
    pub(crate) usage: Option<&'a UsageRows>,
}

pub(crate) struct Table<A> {
    mapping: Mapping,
    buckets: usize,
    _of: PhantomData<A>,
}

impl<A: Shown + Addresses + PartialEq> Table<A> {
    pub(crate) fn map(region: &Region) -> Result<Self, Error> {
        let (mapping, _) = region.map(0, region.size)?;
        let buckets = buckets_in::<A>(region.size);
        Ok(Self { mapping, buckets, _of: PhantomData })
    }

    pub(crate) fn lanes(&self) -> usize {
        self.buckets * LANES
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

    /// Its two buckets.
    fn choices(&self, hash: u64) -> [usize; 2] {
        [self.number(hash as u32), self.number((hash >> 32) as u32)]
    }

    /// The lane that a flow has.
    fn find(&self, choices: [usize; 2], tag: Tag, addresses: &A) -> Option<Lane<A>> {
        let lanes = choices.into_iter().flat_map(|bucket| (0..LANES).map(move |at| (bucket, at)));
        let mut lanes = lanes.map(|(bucket, index)| self.lane(bucket, index));
        lanes.find(|lane| lane.holds(tag, addresses))
    }

    /// Whether the flow was not there and is now.
    ///
    /// As in `claim` of sg-ebpf/src/flow/open.rs, with which it races: who wins the exchange of the tag
    /// has the lane. A program that opens the same flow at the same time leaves it in two lanes; the
    /// first in order serves and the other one idles out.
    pub(crate) fn insert(&self, present: &Present<'_>, tag: Tag, contents: &Contents<A>) -> bool {
        let hash = contents.addresses().hash(tag.identity(), &present.hash_key);
        let choices = self.choices(hash);
        if self.find(choices, tag, contents.addresses()).is_some() {
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
            lane.fill(tag, contents);
            if let Some(usage) = present.usage {
                usage.move_lane(usage::Table::flows(A::FAMILY), before, tag);
            }
            true
        })
    }

    /// Cuts the flow; whether it was live until now. `None`: there is no such flow.
    pub(crate) fn cut(
        &self,
        present: &Present<'_>,
        tag: Tag,
        contents: &Contents<A>,
    ) -> Option<bool> {
        let hash = contents.addresses().hash(tag.identity(), &present.hash_key);
        let lane = self.find(self.choices(hash), tag, contents.addresses())?;
        // A program that is faster has seen a packet since; twice in a row is not to be expected.
        let is_cut = (0..2).any(|_| {
            let now = lane.tag();
            let is_live = now.identity() == tag.identity() && now.state().is_live();
            let is_cut = is_live && lane.exchange(now, now.state().cut());
            if is_cut {
                lane.set_seen(present.now);
            }
            is_cut
        });
        Some(is_cut)
    }

    /// Brings a flow in that another table has, too, to where both have come.
    pub(crate) fn join(&self, present: &Present<'_>, tag: Tag, contents: &Contents<A>) -> bool {
        let hash = contents.addresses().hash(tag.identity(), &present.hash_key);
        let Some(lane) = self.find(self.choices(hash), tag, contents.addresses()) else {
            return self.insert(present, tag, contents);
        };
        if (contents.seen().wrapping_sub(lane.seen()) as i32) > 0 {
            lane.set_seen(contents.seen());
        }
        // A program that is faster has seen a packet since; twice in a row is not to be expected.
        (0..2).any(|_| {
            let now = lane.tag();
            match now.state().joined(tag.state()) {
                Some(state) if state != now.state() => lane.exchange(now, state),
                _ => true,
            }
        })
    }
}

/// Whether a lane is free, or its flow has idled out by the image in force.
fn is_free<A: Shown>(present: &Present<'_>, lane: &Lane<A>, tag: Tag) -> bool {
    let record = present.records.get(usize::from(tag.slot())).and_then(InterfaceRecord::new);
    tag.0 == 0
        || tag.state().is_taken()
            && record.is_some_and(|record| lane.is_over(tag, record, present.now))
}
