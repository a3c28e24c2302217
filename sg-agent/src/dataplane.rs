//! What the owner needs of the kernel: [`Datapath`], or a fake in tests.

use std::path::Path;

use sg_common::{Direction, counter::CounterRow, flow::Tick};
use sg_policy::{compile::Image, model::DatapathChoice};

use crate::datapath::{Attachment, Datapath, Error, FlowEntry, Inherited, ProbeAnswer};

/// See [`Datapath`] for what each does. An interface that is attached but has no record in the
/// image in force passes everything.
pub trait Dataplane: 'static {
    fn now(&self) -> Tick;
    fn ticks_per_1000s(&self) -> u32;
    fn inherited(&self) -> Option<&Inherited>;
    fn publish(&mut self, image: &Image) -> Result<(), Error>;
    fn publish_until(
        &mut self,
        image: &Image,
        fallback: &Image,
        deadline: Tick,
    ) -> Result<(), Error>;
    fn attach(
        &mut self,
        ifindex: u32,
        name: &str,
        choice: DatapathChoice,
    ) -> Result<Attachment, Error>;
    fn detach(&mut self, ifindex: u32) -> Result<(), Error>;
    fn attached(&self) -> Vec<u32>;
    fn counters(&self, slot: u16) -> CounterRow;
    fn release(&mut self, slot: u16);
    fn for_each_flow(&self, each: &mut dyn FnMut(&FlowEntry));
    fn flush(&self, which: &mut dyn FnMut(&FlowEntry) -> bool) -> u64;
    fn cut_denied(
        &self,
        image: &Image,
        which: &mut dyn FnMut(&FlowEntry) -> bool,
    ) -> Result<u64, Error>;
    fn capacity(&self) -> u64;
    fn probe(&self, ifindex: u32, direction: Direction, frame: &[u8])
    -> Result<ProbeAnswer, Error>;
    fn remove(&mut self, bpffs: &Path) -> Result<(), Error>;
    /// Whether the kernel has an interface of this number at this moment, whatever netlink has
    /// told so far.
    fn exists(&self, ifindex: u32) -> bool;
}

impl Dataplane for Datapath {
    fn now(&self) -> Tick {
        self.now()
    }

    fn ticks_per_1000s(&self) -> u32 {
        self.ticks_per_1000s()
    }

    fn inherited(&self) -> Option<&Inherited> {
        self.inherited()
    }

    fn publish(&mut self, image: &Image) -> Result<(), Error> {
        self.publish(image)
    }

    fn publish_until(
        &mut self,
        image: &Image,
        fallback: &Image,
        deadline: Tick,
    ) -> Result<(), Error> {
        self.publish_until(image, fallback, deadline)
    }

    fn attach(
        &mut self,
        ifindex: u32,
        name: &str,
        choice: DatapathChoice,
    ) -> Result<Attachment, Error> {
        self.attach(ifindex, name, choice)
    }

    fn detach(&mut self, ifindex: u32) -> Result<(), Error> {
        self.detach(ifindex)
    }

    fn attached(&self) -> Vec<u32> {
        self.attached()
    }

    fn counters(&self, slot: u16) -> CounterRow {
        self.counters(slot)
    }

    fn release(&mut self, slot: u16) {
        self.release(slot);
    }

    fn for_each_flow(&self, each: &mut dyn FnMut(&FlowEntry)) {
        self.for_each_flow(each);
    }

    fn flush(&self, which: &mut dyn FnMut(&FlowEntry) -> bool) -> u64 {
        self.flush(which)
    }

    fn cut_denied(
        &self,
        image: &Image,
        which: &mut dyn FnMut(&FlowEntry) -> bool,
    ) -> Result<u64, Error> {
        self.cut_denied(image, which)
    }

    fn capacity(&self) -> u64 {
        self.capacity()
    }

    fn probe(
        &self,
        ifindex: u32,
        direction: Direction,
        frame: &[u8],
    ) -> Result<ProbeAnswer, Error> {
        self.probe(ifindex, direction, frame)
    }

    fn remove(&mut self, bpffs: &Path) -> Result<(), Error> {
        self.settle();
        Self::remove(bpffs)
    }

    fn exists(&self, ifindex: u32) -> bool {
        nix::net::if_::if_indextoname(ifindex).is_ok()
    }
}
