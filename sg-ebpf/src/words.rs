//! Memory in whole words. LLVM makes calls of `memset` and `memcpy` for anything larger than a few
//! words. On this target they are loops over bytes: a store for each byte. Later loads of words
//! have to wait for several of these stores.

use core::{intrinsics, mem::MaybeUninit, ptr};

/// Writes zeros, padding included: a global function's arguments have to be written, every byte.
///
/// # Safety
/// Zeros have to be a value of `T`.
#[inline(always)]
pub(crate) unsafe fn zero<T>(place: &mut MaybeUninit<T>) -> &mut T {
    const { assert!(size_of::<T>().is_multiple_of(4) && align_of::<T>() >= 4) };
    let words = place.as_mut_ptr().cast::<u32>();
    for word in 0..size_of::<T>() / 4 {
        // SAFETY: within the value. Volatile, or LLVM would see a `memset`.
        unsafe { ptr::write_volatile(words.add(word), 0) };
    }
    // SAFETY: all written, and the caller says that zeros will do.
    unsafe { place.assume_init_mut() }
}

/// Whether a value that other CPUs may be writing is this one. Each word is read once, and the
/// comparison has one outcome, not one for each word.
///
/// # Safety
/// As of [`ptr::read_volatile`].
#[inline(always)]
pub(crate) unsafe fn holds<T: Copy>(at: *const T, value: &T) -> bool {
    const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() >= 8) };
    let (at, value) = (at.cast::<u64>(), (&raw const *value).cast::<u64>());
    let mut differs = 0;
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: within both values, which the caller vouches for. The second one volatile, too, or
        // LLVM would keep it on the stack once more.
        let (found, wanted) =
            unsafe { (ptr::read_volatile(at.add(word)), ptr::read_volatile(value.add(word))) };
        differs |= found ^ wanted;
    }
    differs == 0
}

/// Copies a value, which other CPUs may not be reading.
///
/// # Safety
/// As of [`ptr::write`].
#[inline(always)]
pub(crate) unsafe fn copy<T: Copy>(to: *mut T, from: &T) {
    const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() >= 8) };
    let (to, from) = (to.cast::<u64>(), (&raw const *from).cast::<u64>());
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: within both values, which the caller vouches for. Volatile as above.
        unsafe { ptr::write_volatile(to.add(word), *from.add(word)) };
    }
}

/// Stores `new` if `at` still holds `old`.
#[inline(always)]
pub(crate) fn compare_exchange(at: *mut u64, old: u64, new: u64) -> bool {
    use intrinsics::AtomicOrdering::{AcqRel, Acquire};
    // SAFETY: the pointer is into map memory and aligned.
    unsafe { intrinsics::atomic_cxchg::<u64, { AcqRel }, { Acquire }>(at, old, new).1 }
}
