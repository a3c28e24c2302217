//! The two clocks: the wall clock people read, and the data path's ticks, in which it judges time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sg_common::{
    control::MAX_CONFIRM,
    flow::{Tick, lasts},
};

/// Unix time in seconds.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Names this boot. Ticks of another boot mean nothing.
pub fn boot_id() -> std::io::Result<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_owned())
}

/// The data path's clock at one moment. Ticks wrap, so they are only ever compared by distance.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    pub now: Tick,
    pub per_1000s: u32,
}

impl Ticks {
    pub fn from_seconds(self, seconds: u32) -> u32 {
        let ticks = u64::from(seconds) * u64::from(self.per_1000s) / 1000;
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    /// The tick `seconds` from now; never 0, which stands for "none" in an image.
    pub fn after(self, seconds: u32) -> Tick {
        self.now.wrapping_add(self.from_seconds(seconds)).max(1)
    }

    /// Whether a moment that was a day ahead at most, as deadlines are, has come.
    pub fn has_passed(self, tick: Tick) -> bool {
        !lasts(self.now, tick, MAX_CONFIRM)
    }

    /// Time until `tick`; zero if it has passed.
    pub fn until(self, tick: Tick) -> Duration {
        if self.has_passed(tick) { Duration::ZERO } else { self.span(tick.wrapping_sub(self.now)) }
    }

    /// Time since `tick`; zero if it is yet to come (another CPU's packet a moment ago).
    pub fn since(self, tick: Tick) -> Duration {
        if self.has_passed(tick) { self.span(self.now.wrapping_sub(tick)) } else { Duration::ZERO }
    }

    fn span(self, ticks: u32) -> Duration {
        let per_1000s = u64::from(self.per_1000s.max(1));
        Duration::from_micros(u64::from(ticks) * 1_000_000_000 / per_1000s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_wrap() {
        let clock = Ticks { now: u32::MAX - 10, per_1000s: 20_000 };
        let later = clock.after(10);
        assert_eq!(later, 189);
        assert!(!clock.has_passed(later));
        assert_eq!(clock.until(later), Duration::from_secs(10));
        let then = Ticks { now: later + 20, ..clock };
        assert!(then.has_passed(later));
        assert_eq!(then.since(later), Duration::from_secs(1));
        assert_eq!(then.until(later), Duration::ZERO);
    }

    #[test]
    fn a_tick_in_the_future_is_never_the_word_for_none() {
        let clock = Ticks { now: 0u32.wrapping_sub(200), per_1000s: 20_000 };
        assert_eq!(clock.after(10), 1);
    }
}
