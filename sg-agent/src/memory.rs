//! What the allocator keeps.

/// Returns freed pages to the kernel. A large ruleset leaves many behind, which glibc would keep.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers; safe to call at any time and from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
