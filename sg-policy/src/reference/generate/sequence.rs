//! Random sequences: packets and answers to them, time, changes of the rules.

use rand::{RngExt, rngs::SmallRng};
use sg_common::Direction;

use super::{
    frame::{dress, random_frame, random_shape},
    one_in, pick,
    shape::Shape,
    state::{Identity, random_state, tweak},
};
use crate::model::{DesiredState, LiveInterface};

/// What happens to a host, from a start with no flows.
#[derive(Clone, Debug)]
pub struct Sequence {
    pub state: DesiredState,
    pub live: Vec<LiveInterface>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub enum Step {
    Packet {
        ifindex: u32,
        direction: Direction,
        frame: Vec<u8>,
    },
    /// So many seconds pass.
    Advance(u32),
    /// The rules change; the interfaces stay, or some of them go or come back.
    Apply(Box<(DesiredState, Vec<LiveInterface>)>),
    Flush,
    FlushDenied,
}

/// `steps` steps over `interfaces`.
pub fn random_sequence(rng: &mut SmallRng, interfaces: &[Identity], steps: usize) -> Sequence {
    let (state, live) = random_state(rng, interfaces);
    let mut sequence = Sequence { state: state.clone(), live: live.clone(), steps: vec![] };
    let mut writer = Writer { rng, interfaces, state, live, sent: vec![] };
    sequence.steps.extend((0..steps).map(|_| writer.step()));
    sequence
}

struct Writer<'a> {
    rng: &'a mut SmallRng,
    interfaces: &'a [Identity],
    /// As they are after the steps so far.
    state: DesiredState,
    live: Vec<LiveInterface>,
    /// Where packets were sent, and the packets.
    sent: Vec<(u32, Direction, Shape)>,
}

impl Writer<'_> {
    fn step(&mut self) -> Step {
        match self.rng.random_range(0..100) {
            0..=5 => Step::Advance(self.pause()),
            6..=9 => self.apply(),
            10 if one_in(self.rng, 4) => Step::Flush,
            11 if one_in(self.rng, 2) => Step::FlushDenied,
            12..=70 => self.answer().unwrap_or_else(|| self.packet()),
            71..=80 => self.any_frame(),
            _ => self.packet(),
        }
    }

    /// Around the idle timeouts.
    fn pause(&mut self) -> u32 {
        let seconds = pick(self.rng, &[1, 5, 10, 30, 60, 120, 180, 600, 432_000]);
        match self.rng.random_range(0..3) {
            0 => seconds / 2,
            1 => seconds - 1,
            _ => seconds + 2,
        }
    }

    fn apply(&mut self) -> Step {
        if one_in(self.rng, 4) {
            (self.state, self.live) = random_state(self.rng, self.interfaces);
            if self.live.len() > 1 && one_in(self.rng, 3) {
                self.live.remove(self.rng.random_range(0..self.live.len()));
            }
        } else {
            tweak(self.rng, &mut self.state);
        }
        Step::Apply(Box::new((self.state.clone(), self.live.clone())))
    }

    fn interface(&mut self) -> LiveInterface {
        self.live[self.rng.random_range(0..self.live.len())].clone()
    }

    fn any_frame(&mut self) -> Step {
        let live = self.interface();
        let (direction, frame) = random_frame(self.rng, &self.state, &live);
        Step::Packet { ifindex: live.ifindex, direction, frame }
    }

    fn packet(&mut self) -> Step {
        let live = self.interface();
        let direction = pick(self.rng, &Direction::BOTH);
        let shape = random_shape(self.rng, &self.state, &live, direction);
        self.send(&live, direction, shape)
    }

    /// A reply to an earlier packet, one more of its kind, or an error about it. Recent ones are
    /// preferred, so that conversations come about.
    fn answer(&mut self) -> Option<Step> {
        let oldest = self.sent.len().saturating_sub(if one_in(self.rng, 4) { 200 } else { 12 });
        let (ifindex, direction, shape) = match &self.sent[oldest..] {
            [] => return None,
            recent => recent[self.rng.random_range(0..recent.len())].clone(),
        };
        let live = self.live.iter().find(|live| live.ifindex == ifindex)?.clone();
        Some(match self.rng.random_range(0..8) {
            0..=3 => {
                let reply = shape.reply(self.rng);
                self.send(&live, direction.reverse(), reply)
            }
            4..=6 => {
                let next = shape.next(self.rng);
                self.send(&live, direction, next)
            }
            _ => {
                let error = shape.error(self.rng);
                let frame = dress(self.rng, &self.state, &live, &error);
                Step::Packet { ifindex, direction: direction.reverse(), frame }
            }
        })
    }

    fn send(&mut self, live: &LiveInterface, direction: Direction, shape: Shape) -> Step {
        let frame = dress(self.rng, &self.state, live, &shape);
        self.sent.push((live.ifindex, direction, shape));
        Step::Packet { ifindex: live.ifindex, direction, frame }
    }
}
