//! The data path's clock: jiffies, divided to [ticks](sg_common::flow::Tick).
//!
//! User space learns jiffies from a program of three instructions. Not every distribution tells HZ,
//! the number of jiffies in a second, but HZ follows from jiffies. They start at -300 HZ
//! (INITIAL_JIFFIES, include/linux/jiffies.h) and go on with the monotonic clock.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::bpf::syscall;

/// Values of HZ that kernels are built with.
const CANDIDATES: [u32; 8] = [100, 128, 200, 250, 256, 300, 512, 1000];
/// Longest tick.
const MAX_TICK_MS: u32 = 64;

#[derive(Debug)]
pub struct Clock {
    program: OwnedFd,
    hz: u32,
    pub shift: u32,
    /// The last reading.
    last: AtomicU32,
}

impl Clock {
    pub fn new() -> io::Result<Self> {
        let jiffies = reader(0)?;
        let hz = match by_boot_time(read(&jiffies)?, monotonic()) {
            Some(hz) => hz,
            None => by_measuring(&jiffies)?,
        };
        let shift = shift_for(hz);
        let program = reader(shift)?;
        let last = AtomicU32::new(read(&program)?);
        Ok(Self { program, hz, shift, last })
    }

    /// Another reader of the same clock.
    pub fn try_clone(&self) -> io::Result<Self> {
        let last = AtomicU32::new(self.last.load(Ordering::Relaxed));
        Ok(Self { program: self.program.try_clone()?, hz: self.hz, shift: self.shift, last })
    }

    /// Ticks since boot, without the tests' offset. A kernel without memory for a reading leaves it
    /// at the last one: deadlines must not pass by that.
    pub fn now(&self) -> u32 {
        match read(&self.program) {
            Ok(now) => {
                self.last.store(now, Ordering::Relaxed);
                now
            }
            Err(error) => {
                tracing::warn!(%error, "the clock cannot be read");
                self.last.load(Ordering::Relaxed)
            }
        }
    }

    pub fn ticks_per_1000s(&self) -> u32 {
        (self.hz * 1000) >> self.shift
    }
}

/// The largest shift that keeps a tick at 64 ms or less.
fn shift_for(hz: u32) -> u32 {
    (0..16).rev().find(|shift| (1000u32 << shift) / hz <= MAX_TICK_MS).unwrap_or(0)
}

/// A program that returns the low 32 bits of `jiffies >> shift`.
fn reader(shift: u32) -> io::Result<OwnedFd> {
    const CALL_JIFFIES64: u64 = 0x85 | 118 << 32;
    const EXIT: u64 = 0x95;
    let shift_right = 0x77 | u64::from(shift) << 32;
    syscall::load_program(syscall::PROG_TYPE_XDP, &[CALL_JIFFIES64, shift_right, EXIT])
}

fn read(program: &OwnedFd) -> io::Result<u32> {
    Ok(syscall::test_run_xdp(program.as_fd(), &[0; 64], 0)?.retval)
}

fn monotonic() -> Duration {
    // SAFETY: a zeroed timespec is a valid out parameter.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid, and this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// HZ from one reading, where it says so clearly: 300 s after boot all candidates agree. Not so within
/// 130 s after boot, when most agents start: there even 250 and 256 are 4 s apart.
fn by_boot_time(jiffies: u32, up: Duration) -> Option<u32> {
    let error_ms = |hz: u32| {
        let since_boot = jiffies.wrapping_add(300 * hz);
        let expected = (up.as_millis() as u64 * u64::from(hz) / 1000) as u32;
        u64::from((since_boot.wrapping_sub(expected) as i32).unsigned_abs()) * 1000 / u64::from(hz)
    };
    let mut errors = CANDIDATES.map(|hz| (error_ms(hz), hz));
    errors.sort_unstable();
    (errors[0].0 < 1_000 && errors[1].0 > 3_900).then_some(errors[0].1)
}

/// HZ by waiting.
fn by_measuring(jiffies: &OwnedFd) -> io::Result<u32> {
    let (began, first) = (Instant::now(), read(jiffies)?);
    std::thread::sleep(Duration::from_millis(250));
    let (count, ms) = (read(jiffies)?.wrapping_sub(first), began.elapsed().as_millis() as u32);
    let measured = count * 1000 / ms.max(1);
    Ok(CANDIDATES.into_iter().min_by_key(|hz| hz.abs_diff(measured)).unwrap_or(250))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_last_40_to_64_ms() {
        for hz in CANDIDATES {
            let tick_ms = (1000 << shift_for(hz)) / hz;
            assert!((32..=64).contains(&tick_ms), "{hz} Hz: {tick_ms} ms");
        }
    }

    #[test]
    fn hz_follows_from_boot_time() {
        for hz in CANDIDATES {
            for up in [1, 60, 130, 480, 86_400, 30_000_000u64] {
                let jiffies = ((up * u64::from(hz)) as u32).wrapping_sub(300 * hz);
                assert_eq!(by_boot_time(jiffies, Duration::from_secs(up)), Some(hz), "{up} s");
            }
        }
    }

    #[test]
    fn hz_is_left_open_where_candidates_agree() {
        assert_eq!(by_boot_time(250, Duration::from_secs(301)), None);
    }
}
