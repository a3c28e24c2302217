//! Which CPU, and to be alone on it.

use std::{mem, thread, time::Duration};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// The last one, which interrupts and other work find last.
pub fn measured() -> usize {
    thread::available_parallelism().map_or(0, |cpus| cpus.get() - 1)
}

/// Keeps the calling thread on a CPU, for good.
pub fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).expect("a CPU's number");
    sched_setaffinity(Pid::from_raw(0), &set).expect("a CPU to be had");
}

/// Does something short with nobody else in between: at a real-time priority, after a pause in which
/// the CPU's other work gets done.
pub fn undisturbed<T>(action: impl FnOnce() -> T) -> T {
    thread::sleep(Duration::from_millis(2));
    // Refused in some containers; then neighbours show in the spread.
    let alone = schedule(libc::SCHED_FIFO, 1);
    let result = action();
    if alone {
        schedule(libc::SCHED_OTHER, 0);
    }
    result
}

fn schedule(policy: libc::c_int, priority: libc::c_int) -> bool {
    // SAFETY: a zeroed sched_param is valid.
    let mut param: libc::sched_param = unsafe { mem::zeroed() };
    param.sched_priority = priority;
    // SAFETY: 0 is the calling thread, and the parameter is valid.
    unsafe { libc::sched_setscheduler(0, policy, &raw const param) == 0 }
}
