//! Cases: a start, and what happens then.

use rand::{RngExt, seq::IndexedRandom};
use sg_common::{Direction, flow::Tick};
use sg_policy::{
    model::{DesiredState, LiveInterface, Role, Tracking},
    reference::generate::{
        self, Identity, SeedableRng, Sequence, SmallRng, random_frame, random_sequence,
        random_state,
    },
};

/// Rules, interfaces, and what happens to them, from a start with no flows.
#[derive(Clone, Debug)]
pub struct Case {
    /// The data path's clock at the start.
    pub start: Tick,
    pub state: DesiredState,
    pub live: Vec<LiveInterface>,
    pub steps: Vec<Step>,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Step {
    Packet {
        ifindex: u32,
        direction: Direction,
        frame: Vec<u8>,
        via: Via,
    },
    /// Ticks pass.
    Advance(Tick),
    Apply(Box<(DesiredState, Vec<LiveInterface>)>),
    /// The same, taken back by itself after so many ticks unless another apply comes first.
    ApplyUntil(Box<(DesiredState, Vec<LiveInterface>)>, Tick),
    Flush,
    FlushDenied,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Each packet meets the rules as if it were the first.
    Apart,
    /// A history, at whose end both sides have the same flows.
    Sequence,
    /// A sequence whose agent dies in the last change. The programs have to end flows that the
    /// rules deny by themselves: each on its next packet, and not in the table before that.
    Dying,
}

/// How a frame comes, where the direction leaves a choice.
#[derive(Clone, Copy, Debug)]
pub enum Via {
    /// In the linear part, or with so many bytes in it and the rest in fragments.
    Xdp {
        linear: Option<u32>,
    },
    Tc {
        gso: bool,
    },
}

/// The longest frame that `linear` and TC take in test runs: a page, less head and tail room.
pub const MAX_LINEAR: usize = 3500;

/// Clocks to start at: an ordinary one, and such as wrap or change sign on the way.
const STARTS: [Tick; 4] = [1_000_000, 1_000_000, u32::MAX - 1000, i32::MAX as u32 - 1000];

/// Steps of a sequence.
const STEPS: std::ops::Range<usize> = 8..90;
/// Packets that meet the same rules.
const SINGLES: usize = 64;

/// Interfaces at `start`: pickup ends there in half of the cases after a while.
fn identities(ifindexes: [u32; 3], start: Tick, ticks_per_1000s: u32) -> [Identity; 3] {
    let pickup_until = start.wrapping_add(30 * ticks_per_1000s / 1000);
    [0, 1, 2].map(|slot: u16| Identity {
        slot,
        ifindex: ifindexes[usize::from(slot)],
        ethernet: slot != 2,
        pickup_until,
    })
}

/// Packets, replies, errors, pauses, changes.
pub fn sequence_case(seed: u64, ifindexes: [u32; 3], ticks_per_1000s: u32) -> Case {
    let mut rng = SmallRng::seed_from_u64(seed);
    let start = pick(&mut rng, &STARTS);
    let identities = identities(ifindexes, start, ticks_per_1000s);
    let steps = rng.random_range(STEPS);
    let Sequence { state, live, steps } = random_sequence(&mut rng, &identities, steps);
    let steps = steps.into_iter().map(|step| with_via(&mut rng, step, ticks_per_1000s));
    let mut steps: Vec<_> = steps.collect();
    if rng.random_ratio(1, 4) {
        die(&mut steps);
        return Case { start, state, live, steps, kind: Kind::Dying };
    }
    unconfirm(&mut rng, &state, &live, &mut steps);
    Case { start, state, live, steps, kind: Kind::Sequence }
}

fn with_via(rng: &mut SmallRng, step: generate::Step, ticks_per_1000s: u32) -> Step {
    match step {
        generate::Step::Packet { ifindex, direction, frame } => {
            let via = via(rng, frame.len());
            Step::Packet { ifindex, direction, frame, via }
        }
        generate::Step::Advance(seconds) => Step::Advance(pause(rng, seconds, ticks_per_1000s)),
        generate::Step::Apply(applied) => Step::Apply(applied),
        generate::Step::Flush => Step::Flush,
        generate::Step::FlushDenied => Step::FlushDenied,
    }
}

/// Nothing changes after the first change that ends flows. Nor does time pass: a flow that no packet
/// has cut idles out by its last packet, not by the change.
fn die(steps: &mut Vec<Step>) {
    let ends_flows =
        |step: &Step| matches!(step, Step::Apply(applied) if any_cuts(&applied.0, &applied.1));
    if let Some(last) = steps.iter().position(ends_flows) {
        let mut number = 0..;
        steps.retain(|step| number.next() <= Some(last) || matches!(step, Step::Packet { .. }));
    }
}

/// Whether flows on some interface end with their rules.
pub(super) fn any_cuts(state: &DesiredState, live: &[LiveInterface]) -> bool {
    live.iter().any(|live| state.interfaces[live.entry].cuts())
}

/// Makes some applies such that have to be confirmed.
///
/// The rules that come back are `"keep"`, because no agent is there to cut flows. A denied flow
/// goes on until its next packet, and idles out as if it had not been cut. The timeouts stay for
/// the same reason: no agent is there to forget flows that have idled out by shorter ones.
fn unconfirm(rng: &mut SmallRng, state: &DesiredState, live: &[LiveInterface], steps: &mut [Step]) {
    let same = |old: &[LiveInterface], new: &[LiveInterface]| {
        old.iter().map(|live| live.slot).eq(new.iter().map(|live| live.slot))
    };
    let (mut state, mut live) = (state.clone(), live.to_vec());
    for step in steps {
        let Step::Apply(applied) = step else { continue };
        let keeps = !any_cuts(&state, &live);
        if keeps && same(&live, &applied.1) && rng.random() {
            let mut applied = applied.clone();
            for (old, new) in live.iter().zip(&applied.1) {
                let tracking = &mut applied.0.interfaces[new.entry].tracking;
                let pickup = tracking.pickup;
                *tracking = Tracking { pickup, ..state.interfaces[old.entry].tracking };
            }
            (state, live) = (*applied).clone();
            *step = Step::ApplyUntil(applied, rng.random_range(1..3000));
        } else {
            (state, live) = (**applied).clone();
        }
    }
}

/// Now and then to the tick at which an idle timeout ends, or one after.
fn pause(rng: &mut SmallRng, seconds: u32, ticks_per_1000s: u32) -> Tick {
    let ticks = |seconds: u32| (u64::from(seconds) * u64::from(ticks_per_1000s) / 1000) as Tick;
    if rng.random_ratio(1, 3) {
        ticks(pick(rng, &[10, 30, 60, 120, 180, 350, 600, 432_000])) + rng.random_range(0..2)
    } else {
        ticks(seconds)
    }
}

/// Packets that know nothing of each other.
pub fn single_case(seed: u64, ifindexes: [u32; 3], ticks_per_1000s: u32) -> Case {
    let mut rng = SmallRng::seed_from_u64(seed);
    let case = start_case(&mut rng, ifindexes, ticks_per_1000s);
    let steps = (0..SINGLES).map(|_| single(&mut rng, &case.state, &case.live)).collect();
    Case { steps, kind: Kind::Apart, ..case }
}

/// A start, with nothing that happens yet.
pub fn start_case(rng: &mut SmallRng, ifindexes: [u32; 3], ticks_per_1000s: u32) -> Case {
    let start = pick(rng, &STARTS);
    let identities = identities(ifindexes, start, ticks_per_1000s);
    let (state, live) = random_state(rng, &identities);
    Case { start, state, live, steps: vec![], kind: Kind::Sequence }
}

fn single(rng: &mut SmallRng, state: &DesiredState, live: &[LiveInterface]) -> Step {
    let interface = &live[rng.random_range(0..live.len())];
    let (direction, mut frame) = random_frame(rng, state, interface);
    // Test runs of TC take no jumbo frames.
    let role = state.interfaces[interface.entry].role;
    let is_received = (role == Role::Port) == (direction == Direction::Egress);
    if is_received && rng.random_ratio(1, 16) {
        lengthen(rng, &mut frame, interface.ethernet);
    }
    let via = via(rng, frame.len());
    Step::Packet { ifindex: interface.ifindex, direction, frame, via }
}

/// One frame cut at every byte, in two ways. As it is, its lengths are beyond its end. With an IP
/// length that fits the cut, the cut goes through the headers behind.
pub fn cuts_case(seed: u64, ifindexes: [u32; 3], ticks_per_1000s: u32) -> Case {
    let mut rng = SmallRng::seed_from_u64(seed);
    let identities = identities(ifindexes, STARTS[0], ticks_per_1000s);
    let (state, live) = random_state(&mut rng, &identities);
    let interface = &live[rng.random_range(0..live.len())];
    let (direction, frame) = random_frame(&mut rng, &state, interface);
    let ifindex = interface.ifindex;
    let is_received =
        (state.interfaces[interface.entry].role == Role::Port) == (direction == Direction::Egress);
    let mut steps = Vec::new();
    // Test runs take no shorter ones.
    for length in 14..=frame.len() {
        let cut = &frame[..length];
        for frame in [Some(cut.to_vec()), refitted(cut, interface.ethernet)].into_iter().flatten() {
            let tc = Via::Tc { gso: false };
            let linear = Some(rng.random_range(0..=length as u32));
            let ways = [tc, Via::Xdp { linear: None }, Via::Xdp { linear }];
            for via in &ways[..if is_received { 3 } else { 1 }] {
                steps.push(Step::Packet { ifindex, direction, frame: frame.clone(), via: *via });
            }
        }
    }
    rules_case(state, live, steps)
}

/// The packet with a length field that its bytes bear out, if the field is there.
fn refitted(frame: &[u8], ethernet: bool) -> Option<Vec<u8>> {
    let half = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let mut at = if ethernet { 14 } else { 0 };
    while ethernet && matches!(half(at - 2)?, 0x8100 | 0x88a8) {
        at += 4;
    }
    let (field, counted_from) = match frame.get(at)? >> 4 {
        4 => (at + 2, at),
        _ => (at + 4, at + 40),
    };
    let length = u16::try_from(frame.len().checked_sub(counted_from)?).ok()?;
    half(field)?;
    let mut refitted = frame.to_vec();
    refitted[field..field + 2].copy_from_slice(&length.to_be_bytes());
    Some(refitted)
}

/// Makes a jumbo frame of it: longer payload, or only more padding.
fn lengthen(rng: &mut SmallRng, frame: &mut Vec<u8>, ethernet: bool) {
    let more = rng.random_range(1..9000);
    let header = if ethernet { 14 } else { 0 };
    let field = match frame.get(header).map(|first| first >> 4) {
        Some(4) => header + 2,
        _ => header + 4,
    };
    if rng.random()
        && let Some([high, low]) = frame.get_mut(field..field + 2)
    {
        let length = u16::from_be_bytes([*high, *low]).wrapping_add(more);
        [*high, *low] = length.to_be_bytes();
    }
    frame.resize(frame.len() + usize::from(more), 0);
}

pub(super) fn via(rng: &mut SmallRng, length: usize) -> Via {
    if length <= MAX_LINEAR && rng.random() {
        return Via::Tc { gso: rng.random_ratio(1, 6) };
    }
    // Mostly inside the headers.
    let longest = length.min(if rng.random() { 80 } else { MAX_LINEAR }) as u32;
    let linear = rng.random_ratio(1, 3).then(|| rng.random_range(0..=longest));
    Via::Xdp { linear }
}

/// Packets apart under given rules.
pub fn rules_case(state: DesiredState, live: Vec<LiveInterface>, steps: Vec<Step>) -> Case {
    Case { start: STARTS[0], state, live, steps, kind: Kind::Apart }
}

pub(super) fn pick<T: Copy>(rng: &mut SmallRng, from: &[T]) -> T {
    *from.choose(rng).expect("something to choose from")
}
