//! The [handover](sg_common::handover): which slot is whose, for the next agent, of this ABI or another.
//!
//! A slot's row is there before an image names the slot, and goes when its flows are forgotten.
//! Whenever an agent dies, the next one therefore knows all slots that have flows.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use sg_common::{
    ImageView,
    flow::{HASH_KEY_WORDS, Tick},
    handover::{Header, Holder, MAGIC, holder_at},
    view::InterfaceRecord,
};

use super::region::{PredecessorDir, Region};
use crate::{bpf::syscall::Mapping, error::Error};

/// An earlier agent's legacy, read from the pinned maps.
#[derive(Clone, Debug)]
pub struct Inherited {
    pub revision: u64,
    /// Whose flows there may be.
    pub interfaces: Vec<InheritedInterface>,
}

#[derive(Clone, Copy, Debug)]
pub struct InheritedInterface {
    pub slot: u16,
    pub ifindex: u32,
    pub pickup_until: Tick,
}

/// Its pin.
pub const NAME: &str = "HANDOVER";

#[derive(Debug)]
pub struct Handover {
    region: Region,
    slots: usize,
}

impl Handover {
    /// The handover pinned in `dir`, or a new one with the predecessor's content.
    pub fn open(
        dir: &Path,
        from: PredecessorDir<'_>,
        tables: u32,
        slots: usize,
    ) -> Result<Self, Error> {
        let region = match Region::pinned(dir, NAME)? {
            Some(region) => region,
            None => Self::create(dir, from, tables, slots)?,
        };
        let slots = (region.size - size_of::<Header>()) / size_of::<u64>();
        Ok(Self { region, slots })
    }

    fn create(
        dir: &Path,
        from: PredecessorDir<'_>,
        tables: u32,
        slots: usize,
    ) -> Result<Region, Error> {
        let before = from.map(|from| Region::pinned(from, NAME)).transpose()?.flatten();
        let size = before.as_ref().map_or_else(|| holder_at(slots), |before| before.size);
        let region = Region::unpinned(dir, NAME, size)?;
        let (mapping, _) = region.map(0, size)?;
        if let Some(before) = before {
            let (source, _) = before.map(0, size)?;
            // SAFETY: both mappings are `size` bytes long and apart, and no agent writes to either.
            unsafe {
                let source = source.at::<u8>(0).cast_const();
                std::ptr::copy_nonoverlapping(source, mapping.at::<u8>(0), size);
            }
        } else {
            let header = Header { magic: MAGIC, tables, ..Header::default() };
            // SAFETY: within the mapping, aligned, ours alone.
            unsafe { mapping.at::<Header>(0).write_volatile(header) };
        }
        // Pin only now, so that a pinned handover is whole.
        region.pin()?;
        Ok(region)
    }

    fn header(&self) -> Result<(Mapping, *mut Header), Error> {
        let (mapping, at) = self.region.map(0, size_of::<Header>())?;
        let header = mapping.at(at);
        Ok((mapping, header))
    }

    /// The keys of the flow tables; zeroes where there never were any.
    pub fn hash_key(&self) -> Result<[u32; HASH_KEY_WORDS], Error> {
        let (_mapping, header) = self.header()?;
        // SAFETY: valid as long as the mapping; only agents write it.
        Ok(unsafe { header.read_volatile() }.hash_key)
    }

    pub fn set_hash_key(&self, hash_key: [u32; HASH_KEY_WORDS]) -> Result<(), Error> {
        let (_mapping, header) = self.header()?;
        // SAFETY: as above, and there is one agent.
        unsafe { (&raw mut (*header).hash_key).write_volatile(hash_key) };
        Ok(())
    }

    /// Records the network namespace that this agent works in.
    pub fn set_namespace(&self, cookie: u64) -> Result<(), Error> {
        let (_mapping, header) = self.header()?;
        let halves = [cookie as u32, (cookie >> 32) as u32];
        // SAFETY: as above.
        unsafe { (&raw mut (*header).namespace).write_volatile(halves) };
        Ok(())
    }

    /// Takes in whose the slots of an image are that is to be in force.
    pub fn note(&self, image: &[u32]) -> Result<(), Error> {
        let image = ImageView::new(image)?;
        let (_mapping, header) = self.header()?;
        // SAFETY: valid as long as the mapping, and there is one agent.
        unsafe {
            let highest = &raw mut (*header).revision;
            highest.write_volatile(highest.read_volatile().max(image.header().revision()));
        }
        let rows = self.rows()?;
        for (record, row) in image.records().iter().zip(rows.iter()) {
            let Some(record) = InterfaceRecord::new(record) else { continue };
            let holder = Holder { ifindex: record.ifindex(), pickup_until: record.pickup_until() };
            row.store(holder.to_word(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// The slot has no flows any more.
    pub fn clear(&self, slot: u16) -> Result<(), Error> {
        if let Some(row) = self.rows()?.iter().nth(usize::from(slot)) {
            row.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// An earlier agent's legacy; `None` if it never published anything.
    pub fn inherited(&self) -> Result<Option<Inherited>, Error> {
        let (_mapping, header) = self.header()?;
        // SAFETY: as in `hash_key`.
        let revision = unsafe { header.read_volatile() }.revision;
        let rows = self.rows()?;
        let holders = rows.iter().map(|row| Holder::from_word(row.load(Ordering::Relaxed)));
        let interfaces: Vec<_> = (0..)
            .zip(holders)
            .filter(|(_, holder)| holder.ifindex != 0)
            .map(|(slot, Holder { ifindex, pickup_until })| InheritedInterface {
                slot,
                ifindex,
                pickup_until,
            })
            .collect();
        let is_one = revision != 0 || !interfaces.is_empty();
        Ok(is_one.then_some(Inherited { revision, interfaces }))
    }

    fn rows(&self) -> Result<Rows, Error> {
        let (mapping, at) = self.region.map(0, self.region.size)?;
        Ok(Rows { mapping, at, slots: self.slots })
    }
}

/// The mapped rows.
struct Rows {
    mapping: Mapping,
    at: usize,
    slots: usize,
}

impl Rows {
    fn iter(&self) -> impl Iterator<Item = &AtomicU64> {
        (0..self.slots).map(|slot| {
            let row = self.mapping.at::<u64>(self.at + holder_at(slot));
            // SAFETY: aligned shared memory that lives as long as the mapping.
            unsafe { AtomicU64::from_ptr(row) }
        })
    }
}

/// Cookie of the network namespace that the maps in a folder are for; 0: nobody has said so.
pub fn namespace_of(maps: &Path) -> Result<u64, Error> {
    let Some(region) = Region::pinned(maps, NAME)? else { return Ok(0) };
    let handover = Handover { region, slots: 0 };
    let (_mapping, header) = handover.header()?;
    // SAFETY: valid as long as the mapping.
    let header = unsafe { header.read_volatile() };
    let [low, high] = header.namespace.map(u64::from);
    Ok(if header.magic == MAGIC { low | high << 32 } else { 0 })
}

/// The folder of maps to take tables from. It is the newest folder of another ABI whose tables have
/// the layout number `tables`.
pub fn predecessor(others: &[PathBuf], tables: u32) -> Option<PathBuf> {
    let fits = |maps: &PathBuf| {
        let Ok(Some(region)) = Region::pinned(maps, NAME) else { return false };
        let handover = Handover { region, slots: 0 };
        handover.header().is_ok_and(|(_mapping, header)| {
            // SAFETY: valid as long as the mapping.
            let header = unsafe { header.read_volatile() };
            header.magic == MAGIC && header.tables == tables
        })
    };
    let pinned_at = |maps: &PathBuf| fs::metadata(maps).and_then(|maps| maps.modified()).ok();
    others.iter().map(|dir| dir.join("maps")).filter(fits).max_by_key(pinned_at)
}
