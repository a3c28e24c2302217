//! The owner's view of the kernel: [`Datapath`], or a fake in tests.

use std::{collections::BTreeMap, io, path::Path, time::Duration};

use sg_common::{Direction, counter::CounterRow, flow::Tick};
use sg_policy::{compile::Image, model::DatapathChoice};

use crate::{
    datapath::{
        Adopted, AdoptedConnection, AttachMode, Attachment, Datapath, Error, FlowCursor, FlowEntry,
        HookChoice, Inherited, Opening, Opens, ProbeAnswer, netlink::Deadline,
    },
    observe::{
        conntrack::{self, Tracked},
        sockets::{self, Sockets},
    },
};

/// Each look at the host's sockets takes this long at most. A start or an apply takes two of both kinds,
/// and systemd's watchdog bites after 30 s.
const SOCKETS: Duration = Duration::from_millis(500);
/// Each look at conntrack: 8 million buckets, all empty, take 0.4 s.
const CONNTRACK: Duration = Duration::from_secs(3);

/// See [`Datapath`] for what each does. An interface that is attached but has no record in the
/// image in force passes everything.
pub trait Kernel: 'static {
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
        mode: AttachMode,
    ) -> Result<Attachment, Error>;
    fn detach(&mut self, ifindex: u32) -> Result<(), Error>;
    fn is_here(&self, ifindex: u32) -> bool;
    fn verify(&self) -> Result<BTreeMap<u32, String>, Error>;
    fn attached(&self) -> Vec<u32>;
    fn foreign_programs(&self) -> BTreeMap<u32, Vec<String>>;
    fn counters(&self, slot: u16) -> CounterRow;
    fn release(&mut self, slots: &[u16]);
    fn for_each_flow(&self, each: &mut dyn FnMut(&FlowEntry));
    fn for_some_flows(
        &self,
        from: FlowCursor,
        each: &mut dyn FnMut(&FlowEntry),
    ) -> Result<Option<FlowCursor>, Error>;
    fn flush(&self, which: &mut dyn FnMut(&FlowEntry) -> bool) -> u64;
    fn cut_denied(
        &self,
        image: &Image,
        which: &mut dyn FnMut(&FlowEntry) -> bool,
    ) -> Result<u64, Error>;
    fn capacity(&self) -> u64;
    fn judge(&self, image: &Image, opening: &Opening) -> Opens;
    fn adopt(&self, image: &Image, connections: &[AdoptedConnection]) -> Result<Adopted, Error>;
    /// The host's TCP and UDP sockets, whichever interface carries them.
    fn sockets(&self) -> io::Result<Sockets>;
    fn tracked(&self) -> io::Result<Vec<Tracked>>;
    fn probe(&self, ifindex: u32, direction: Direction, frame: &[u8])
    -> Result<ProbeAnswer, Error>;
    fn remove(&mut self, bpffs: &Path) -> Result<(), Error>;
    /// Whether the kernel has an interface of this number at this moment, whatever netlink has
    /// told so far.
    fn exists(&self, ifindex: u32) -> bool;
}

/// The rules' word for it in the data path's.
pub fn hook_choice(choice: DatapathChoice) -> HookChoice {
    match choice {
        DatapathChoice::Auto => HookChoice::Auto,
        DatapathChoice::Xdp => HookChoice::Xdp,
        DatapathChoice::Tc => HookChoice::Tc,
    }
}

impl Kernel for Datapath {
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
        self.publish(&image.words)
    }

    fn publish_until(
        &mut self,
        image: &Image,
        fallback: &Image,
        deadline: Tick,
    ) -> Result<(), Error> {
        self.publish_until(&image.words, &fallback.words, deadline)
    }

    fn attach(
        &mut self,
        ifindex: u32,
        name: &str,
        choice: DatapathChoice,
        mode: AttachMode,
    ) -> Result<Attachment, Error> {
        self.attach(ifindex, name, hook_choice(choice), mode)
    }

    fn detach(&mut self, ifindex: u32) -> Result<(), Error> {
        self.detach(ifindex)
    }

    fn is_here(&self, ifindex: u32) -> bool {
        self.is_here(ifindex)
    }

    fn verify(&self) -> Result<BTreeMap<u32, String>, Error> {
        self.verify()
    }

    fn attached(&self) -> Vec<u32> {
        self.attached()
    }

    fn foreign_programs(&self) -> BTreeMap<u32, Vec<String>> {
        self.foreign_programs()
    }

    fn counters(&self, slot: u16) -> CounterRow {
        self.counters(slot)
    }

    fn release(&mut self, slots: &[u16]) {
        self.release(slots);
    }

    fn for_each_flow(&self, each: &mut dyn FnMut(&FlowEntry)) {
        self.for_each_flow(each);
    }

    fn for_some_flows(
        &self,
        from: FlowCursor,
        each: &mut dyn FnMut(&FlowEntry),
    ) -> Result<Option<FlowCursor>, Error> {
        self.for_some_flows(from, each)
    }

    fn flush(&self, which: &mut dyn FnMut(&FlowEntry) -> bool) -> u64 {
        self.flush(which)
    }

    fn cut_denied(
        &self,
        image: &Image,
        which: &mut dyn FnMut(&FlowEntry) -> bool,
    ) -> Result<u64, Error> {
        self.cut_denied(&image.words, which)
    }

    fn capacity(&self) -> u64 {
        self.capacity()
    }

    fn judge(&self, image: &Image, opening: &Opening) -> Opens {
        self.judge(&image.words, opening)
    }

    fn adopt(&self, image: &Image, connections: &[AdoptedConnection]) -> Result<Adopted, Error> {
        self.adopt(&image.words, connections)
    }

    fn sockets(&self) -> io::Result<Sockets> {
        sockets::sockets(Deadline::after(SOCKETS))
    }

    fn tracked(&self) -> io::Result<Vec<Tracked>> {
        conntrack::tracked(Deadline::after(CONNTRACK))
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
        Self::remove(bpffs)
    }

    fn exists(&self, ifindex: u32) -> bool {
        nix::net::if_::if_indextoname(ifindex).is_ok()
    }
}
