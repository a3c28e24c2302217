//! Cases from seeds, until there are enough or time is over.

use std::{
    env,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    case::Case,
    rig::{Rig, Tally},
    show,
    shrink::shrink,
};

/// Seconds that each campaign goes on, set by `cargo xtask test --soak`.
const SOAK: &str = "SG_SOAK_SECONDS";
/// The first case's seed; the others count on from it.
const SEED: &str = "SG_SEED";

/// One of so many cases is played where all would take too long: in guests of `cargo xtask vm-test`.
const FEWER: &str = "SG_FEWER";

/// Whether tests are to do with less than everything ([`FEWER`]).
pub fn fewer() -> bool {
    number(FEWER).is_some()
}

/// Many cases of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    pub name: &'static str,
    pub cases: u64,
    /// Makes a case for a rig's interfaces and clock.
    pub make: fn(seed: u64, ifindexes: [u32; 3], ticks_per_1000s: u32) -> Case,
}

impl Campaign {
    /// Plays all cases; panics with a small one if the data path and the evaluator differ. Returns
    /// the packets' features, so that the test can demand them. Returns `None` if the environment
    /// sets another number of cases, which may not meet all features.
    #[track_caller]
    pub fn run(self) -> Option<Tally> {
        match Rig::run(|rig| self.run_on(rig)) {
            Ok(tally) => (number(SOAK).is_none() && !fewer()).then_some(tally),
            Err(failure) => panic!("{failure}"),
        }
    }

    fn run_on(self, rig: &mut Rig) -> Result<Tally, String> {
        let first = number(SEED).unwrap_or_else(|| by_time(self.name));
        let soak = number(SOAK).map(Duration::from_secs);
        let enough = self.cases.div_ceil(number(FEWER).unwrap_or(1));
        eprintln!("{}: seeds from {SEED}={first}", self.name);
        let began = Instant::now();
        let (mut total, mut cases) = (Tally::default(), 0);
        while match soak {
            Some(time) => began.elapsed() < time,
            None => cases < enough,
        } {
            let seed = first.wrapping_add(cases);
            let case = (self.make)(seed, rig.ifindexes, rig.ticks_per_1000s);
            match rig.play(&case) {
                Ok(tally) => total.add(&tally),
                Err(mismatch) => {
                    let (small, mismatch) = shrink(rig, case, mismatch);
                    let shown = show::case(&small, &mismatch);
                    let name = self.name;
                    return Err(format!("{name}: case {cases} differs; {SEED}={seed}\n{shown}"));
                }
            }
            cases += 1;
        }
        eprintln!("{}: {cases} cases in {:.1?}, {total}", self.name, began.elapsed());
        Ok(total)
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Another seed each time, so that each run sees something new.
fn by_time(name: &str) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Apart from campaigns that begin at the same moment.
    let name = name.bytes().fold(0u64, |sum, byte| sum.rotate_left(5) ^ u64::from(byte));
    (now.as_millis() as u64) << 20 ^ name
}
