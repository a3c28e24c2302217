//! A mount namespace of the calling thread's own, with an empty `/run` in it.
//!
//! Children and later threads of that thread share it. When the last of them ends, its mounts are
//! gone: named network namespaces, bpffs with its pins, state directories.

use std::{
    cell::Cell,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

thread_local! {
    static ENTERED: Cell<bool> = const { Cell::new(false) };
}

/// Puts the calling thread into a sandbox, once.
pub fn enter() {
    if ENTERED.replace(true) {
        return;
    }
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace; are you root?");
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
    mount(Some("sg-tests"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
        .expect("a tmpfs on /run");
    fs::create_dir("/run/netns").expect("/run/netns");
}

/// A number that no other caller in this process gets.
pub fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A new directory in the sandbox.
pub fn directory(label: &str) -> PathBuf {
    enter();
    let path = PathBuf::from(format!("/run/{label}-{}", unique()));
    fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}
