//! Moves of numbers that LLVM, or the verifier, must not see through.

use core::arch::asm;

/// Keeps LLVM from taking a packet pointer apart: the verifier must see the bounds check and the
/// loads go through the same sum.
#[inline(always)]
pub(crate) fn opaque(pointer: usize) -> usize {
    let copy;
    // SAFETY: a move. No instruction at all would leave two line infos at one place, which the
    // kernel refuses.
    unsafe { asm!("{0} = {1}", out(reg) copy, in(reg) pointer, options(nomem, nostack)) };
    copy
}

/// A number whose value LLVM cannot see, but the verifier can: a loop up to it stays a loop.
#[inline(always)]
pub(crate) fn not_unrolled(count: usize) -> usize {
    let copy;
    // SAFETY: a move.
    unsafe { asm!("{0} = {1}", out(reg) copy, in(reg) count, options(pure, nomem, nostack)) };
    copy
}
