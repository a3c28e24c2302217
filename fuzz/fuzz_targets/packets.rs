//! Any frames into the loaded programs, by BPF_PROG_TEST_RUN: verdict, reason, counters and flows as
//! the reference evaluator has them. Needs root.
//!
//! First byte: which rules. Then steps, each with a byte that says what it is:
//!
//! | bits 0-1 | step | what follows |
//! |---|---|---|
//! | 0 | a frame as it stands | via, length, the frame |
//! | 1 | the last frame with bytes changed | via, then (place, value) as often as bits 5-6 say, once at least |
//! | 2, 3 | a step of a conversation: a packet that the rules know, a reply, an error, a pause | via, then the choices of sg-policy's generator |
//!
//! Bits 2-3 are the interface (two with Ethernet header, one without), bit 4 the direction. Via:
//! bits 0-1 XDP, TC, TC with GSO, or XDP with the rest of the byte as length of the linear part.

#![no_main]

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU8, Ordering},
};

use libfuzzer_sys::fuzz_target;
use sg_common::{Direction, flow::Tick};
use sg_policy::reference::generate::{self, Bytes, Conversation, SeedableRng as _, SmallRng};
use sg_tests::differential::{Case, Rig, Step, Tally, Via, shown, start_case};

/// More than any input's flows need, and quick to clear.
const MAX_FLOWS: u32 = 256;
const STEPS: usize = 24;
/// Rules to choose from.
const STARTS: u64 = 16;

/// The programs' reasons count as coverage, because their branches cannot be seen.
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static SAID: [AtomicU8; 256] = [const { AtomicU8::new(0) }; 256];

struct Bench {
    rig: Rig,
    starts: Vec<Case>,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

fuzz_target!(|bytes: &[u8]| BENCH.with_borrow_mut(|bench| bench.run(Bytes(bytes))));

impl Bench {
    fn new() -> Self {
        let mut rig = Rig::stay(MAX_FLOWS);
        let start = |seed| {
            let mut rng = SmallRng::seed_from_u64(seed);
            start_case(&mut rng, rig.ifindexes, rig.ticks_per_1000s)
        };
        let starts: Vec<Case> = (0..STARTS).map(start).collect();
        // Each input would else wait for the grace period of the one before.
        rig.lay_out(&starts);
        Self { rig, starts }
    }

    fn run(&mut self, mut bytes: Bytes<'_>) {
        let mut case = self.starts[usize::from(bytes.byte()) % self.starts.len()].clone();
        case.steps = self.steps(&case, &mut bytes);
        match self.rig.play(&case) {
            Ok(tally) => note(&tally),
            Err(mismatch) => panic!("{}", shown(&case, &mismatch)),
        }
    }

    fn steps(&self, case: &Case, bytes: &mut Bytes<'_>) -> Vec<Step> {
        let mut conversation = Conversation::new(case.state.clone(), case.live.clone());
        let (mut steps, mut last) = (Vec::new(), vec![]);
        while !bytes.is_empty() && steps.len() < STEPS {
            let [what, way] = [bytes.byte(), bytes.byte()];
            let mut ifindex = self.rig.ifindexes[usize::from(what >> 2 & 3) % 3];
            let mut direction = Direction::BOTH[usize::from(what >> 4 & 1)];
            match what & 3 {
                0 => {
                    let length = bytes.byte().into();
                    last = bytes.take(length).to_vec();
                }
                1 => {
                    for _ in 0..=what >> 5 & 3 {
                        let [place, value] = [bytes.byte(), bytes.byte()];
                        if let Some(byte) = last.get_mut(usize::from(place)) {
                            *byte = value;
                        }
                    }
                }
                _ => match conversation.step(bytes) {
                    generate::Step::Packet { ifindex: on, direction: going, frame } => {
                        (ifindex, direction, last) = (on, going, frame);
                    }
                    generate::Step::Advance(seconds) => {
                        steps.push(Step::Advance(self.ticks(seconds)));
                        continue;
                    }
                    _ => unreachable!("a conversation changes no rules"),
                },
            }
            let via = via(way, last.len());
            steps.push(Step::Packet { ifindex, direction, frame: last.clone(), via });
        }
        steps
    }

    fn ticks(&self, seconds: u32) -> Tick {
        (u64::from(seconds) * u64::from(self.rig.ticks_per_1000s) / 1000) as Tick
    }
}

fn via(byte: u8, length: usize) -> Via {
    match byte & 3 {
        0 => Via::Xdp { linear: None },
        1 => Via::Tc { gso: false },
        2 => Via::Tc { gso: true },
        _ => Via::Xdp { linear: Some((length as u32).min(u32::from(byte >> 2))) },
    }
}

fn note(tally: &Tally) {
    for ((program, reason), count) in &tally.reasons {
        let name = program.bytes().chain(reason.bytes());
        let hash = name.fold(0_u8, |hash, byte| hash.wrapping_mul(31) ^ byte);
        SAID[usize::from(hash)].store((*count).min(255) as u8, Ordering::Relaxed);
    }
}
