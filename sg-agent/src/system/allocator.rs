//! Memory that the allocator keeps, given back.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Has all threads share one heap, before there are any. glibc gives each a heap of its own, and what
/// the threads that load the programs have freed stays there: 19 MB were held where 2 MB are in use.
pub fn one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers; called before other threads are there (mallopt(3)).
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // [`give_back`] does it: an apply must not fault in again memory that it has just freed.
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 20);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
    }
}

/// Changes often come in rows, and what one has freed the next one takes again.
const SOON: Duration = Duration::from_secs(1);

/// Calls [`give_back`] when a second has passed, once for all calls until then. Within a runtime.
pub fn give_back_soon() {
    static AWAITED: AtomicBool = AtomicBool::new(false);
    if AWAITED.swap(true, Ordering::Relaxed) {
        return;
    }
    tokio::spawn(async {
        tokio::time::sleep(SOON).await;
        AWAITED.store(false, Ordering::Relaxed);
        tokio::task::spawn_blocking(give_back);
    });
}

/// Returns freed pages to the kernel. A large ruleset leaves many behind, which glibc would keep.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers; safe to call at any time and from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
