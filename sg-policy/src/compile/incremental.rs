//! The compiler's memory of the last state, which makes the next compilation short.

use sg_common::{
    Family,
    image::{self, header, record},
};

use super::{
    CompileError, Image, Parameters,
    addresses::AddressMap,
    classes::{Classes, Edits},
    image_header::{ImageHeader, Reserved},
    layout::Layout,
    peers::Peers,
    policy::{Policies, PolicyInputs},
    write_own, write_record,
};
use crate::model::{DesiredState, LiveInterface};

/// Classes, peers and policies may become twice as many as the first image's, and these.
const SPARE: usize = 64;
/// An image's words may become half as many more and these, and not more than that many more: the arena
/// has room for some images at once.
const SPARE_WORDS: usize = 1 << 12;
const MOST_SPARE_WORDS: usize = 1 << 20;
/// Prefixes that may change at once for the last state to be of use: these, or an eighth.
const FEW: usize = 16;

#[derive(Debug)]
pub(super) struct IncrementalState {
    peers: Peers,
    /// By family, as the maps.
    classes: [Classes; 2],
    maps: [AddressMap; 2],
    policies: Policies,
    layout: Layout,
    reserved: Reserved,
    /// With the first image.
    first: Size,
}

/// The size of parts that pile up from state to state.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    numbers: usize,
    words: usize,
}

impl IncrementalState {
    pub(super) fn new(image_header: &ImageHeader) -> Self {
        let mut layout = Layout::default();
        let reserved = image_header.reserve(&mut layout);
        Self {
            peers: Peers::default(),
            classes: Family::BOTH.map(Classes::new),
            maps: Family::BOTH.map(AddressMap::new),
            policies: Policies::default(),
            layout,
            reserved,
            first: Size::default(),
        }
    }

    /// Whether another image may be made of it.
    pub(super) fn suits(&self, image_header: &ImageHeader) -> bool {
        let (now, first) = (self.size(), self.first);
        image_header.fits(&self.reserved)
            && now.numbers <= first.numbers * 2 + SPARE
            && now.words <= first.words + (first.words / 2 + SPARE_WORDS).min(MOST_SPARE_WORDS)
    }

    /// Takes in a first state.
    pub(super) fn learn_all(&mut self, state: &DesiredState, live: &[LiveInterface]) {
        let edits = self.peers.update(state, live);
        // About the words of a prefix: a class in a run, services, an entry in a page.
        self.layout.make_room(self.peers.prefixes(), 10 * self.peers.prefixes());
        self.take_in(&edits);
    }

    /// Learns the changes since the last state; `None` if the last state is of no use any more.
    pub(super) fn learn(&mut self, state: &DesiredState, live: &[LiveInterface]) -> Option<()> {
        let edits = self.peers.update(state, live);
        let count =
            edits.iter().map(|edits| edits.removed.len() + edits.added.len()).sum::<usize>();
        if count > FEW.max(self.peers.prefixes() / 8) {
            return None;
        }
        self.take_in(&edits);
        Some(())
    }

    fn take_in(&mut self, edits: &[Edits; 2]) {
        for (family, edits) in edits.iter().enumerate() {
            let stretches = self.classes[family].update(edits);
            self.maps[family].update(&mut self.layout, self.classes[family].changes(), &stretches);
        }
    }

    fn size(&self) -> Size {
        let classes = self.classes.iter().map(Classes::count).sum::<usize>();
        let numbers = self.peers.len() + classes + self.policies.len();
        Size { numbers, words: self.layout.words.len() }
    }

    /// The image of the state that was learnt last.
    pub(super) fn image(
        &mut self,
        state: &DesiredState,
        live: &[LiveInterface],
        parameters: &Parameters,
        image_header: &ImageHeader,
    ) -> Result<Image, CompileError> {
        let Self { peers, classes, maps, policies, layout, reserved, .. } = self;
        image_header.write(&mut layout.words, reserved);
        let source = PolicyInputs { peers, classes };
        for interface in live {
            let entry = &state.interfaces[interface.entry];
            let policy = policies.write(layout, &source, &entry.groups)?;
            let own = write_own(layout, entry);
            let at = reserved.records + usize::from(interface.slot) * record::LEN as usize;
            let record = &mut layout.words[at..at + record::LEN as usize];
            write_record(record, interface, entry, &policy, own, live.len() == 1, parameters);
        }
        layout.check_size()?;
        let mut words = layout.words.clone();
        let mut set = |at: u32, value: u32| words[at as usize] = value;
        set(header::MAGIC, image::MAGIC);
        set(header::WORDS, layout.words.len() as u32);
        for family in Family::BOTH {
            let index = family as u32;
            set(header::CLASSES + index, maps[family as usize].root.0);
            set(header::CLASS_COUNTS + index, classes[family as usize].count() as u32);
        }
        set(header::REVISION, parameters.revision as u32);
        set(header::REVISION + 1, (parameters.revision >> 32) as u32);
        if self.first.words == 0 {
            self.first = self.size();
        }
        Ok(Image { words })
    }
}
