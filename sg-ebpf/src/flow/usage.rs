//! Counts of the lanes that each interface has in each table. Layout and meaning are in
//! [`sg_common::usage`].

use core::intrinsics::{self, AtomicOrdering::Relaxed};

use sg_common::{
    flow::{State, Tag},
    image::record,
    interval::Words,
    usage::{Allowance, Table, Usage},
};

use crate::{
    context::RuleContext,
    maps::{Memory, constant},
};

/// Rows by slot.
#[unsafe(link_section = ".bss.USAGE")]
static USAGE: Memory = Memory::new();

/// Offset of the last count.
#[unsafe(no_mangle)]
static USAGE_MASK: u32 = 0;

/// The count of a slot's lanes in a table.
#[inline(always)]
fn count(owner: u16, table: u32) -> *mut u32 {
    let at =
        (owner as u32 * size_of::<Usage>() as u32).wrapping_add(table * size_of::<u32>() as u32);
    // SAFETY: the mask is the offset of the last word.
    unsafe { USAGE.start().add((at & constant(&USAGE_MASK)) as usize).cast() }
}

/// Returns true if the packet's interface has used up its allowance of a table of `lanes` lanes.
#[inline(always)]
pub(crate) fn is_used_up(context: &RuleContext<'_>, owner: u16, table: u32, lanes: u32) -> bool {
    let field = record::MAX_FLOWS + (table >= Table::Fragments4 as u32) as u32;
    let image = &context.rules.image;
    let word = image.word((context.rules.record + field).wrapping_add(image.zero()));
    // SAFETY: a count in map memory; other CPUs may write, so it is read once.
    let count = unsafe { count(owner, table).read_volatile() };
    Allowance(word).is_used_up(count, lanes)
}

/// Counts a lane of a table that went from the owner of `before` to the owner of `now`.
#[inline(always)]
pub(crate) fn move_lane(table: u32, before: Tag, now: Tag) {
    let was_free = before.state() == State::FREE;
    if !was_free && before.owner() == now.owner() {
        return;
    }
    add(count(now.owner(), table), 1);
    if !was_free {
        add(count(before.owner(), table), 0_u32.wrapping_sub(1));
    }
}

#[inline(always)]
fn add(at: *mut u32, number: u32) {
    // SAFETY: a count in map memory, aligned.
    unsafe { intrinsics::atomic_xadd::<u32, u32, { Relaxed }>(at, number) };
}
