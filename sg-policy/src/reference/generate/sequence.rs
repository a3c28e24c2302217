//! Random sequences: packets and answers to them, time, changes of the rules.

use rand::{Rng, RngExt as _};
use sg_common::Direction;

use super::{
    frame::{dress, random_frame, random_shape},
    one_in, pick,
    shape::Shape,
    state::{Identity, random_state, tweak},
};
use crate::model::{DesiredState, LiveInterface};

/// The events of a host, from a start with no flows.
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
    /// Seconds pass.
    Advance(u32),
    /// The rules change; the interfaces stay, or some of them go or come back.
    Apply(Box<(DesiredState, Vec<LiveInterface>)>),
    Flush,
    FlushDenied,
}

/// `steps` steps over `interfaces`.
pub fn random_sequence(rng: &mut dyn Rng, interfaces: &[Identity], steps: usize) -> Sequence {
    let (state, live) = random_state(rng, interfaces);
    let mut sequence = Sequence { state: state.clone(), live: live.clone(), steps: vec![] };
    let mut conversation = Conversation::new(state, live);
    for _ in 0..steps {
        sequence.steps.push(match rng.random_range(0..100) {
            0..=3 => conversation.change(rng, interfaces),
            4 if one_in(rng, 4) => Step::Flush,
            5 if one_in(rng, 2) => Step::FlushDenied,
            _ => conversation.step(rng),
        });
    }
    sequence
}

/// Packets and answers to them.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// As they are after the steps so far.
    state: DesiredState,
    live: Vec<LiveInterface>,
    /// Where packets were sent, and the packets.
    sent: Vec<(u32, Direction, Shape)>,
}

impl Conversation {
    pub fn new(state: DesiredState, live: Vec<LiveInterface>) -> Self {
        Self { state, live, sent: vec![] }
    }

    /// A packet, or a pause.
    pub fn step(&mut self, rng: &mut dyn Rng) -> Step {
        match rng.random_range(0..100) {
            0..=6 => Step::Advance(pause(rng)),
            7..=16 => self.any_frame(rng),
            17..=36 => self.packet(rng),
            _ => self.answer(rng).unwrap_or_else(|| self.packet(rng)),
        }
    }

    fn change(&mut self, rng: &mut dyn Rng, interfaces: &[Identity]) -> Step {
        if one_in(rng, 4) {
            (self.state, self.live) = random_state(rng, interfaces);
            if self.live.len() > 1 && one_in(rng, 3) {
                self.live.remove(rng.random_range(0..self.live.len()));
            }
        } else {
            tweak(rng, &mut self.state);
        }
        Step::Apply(Box::new((self.state.clone(), self.live.clone())))
    }

    fn interface(&self, rng: &mut dyn Rng) -> LiveInterface {
        self.live[rng.random_range(0..self.live.len())].clone()
    }

    fn any_frame(&self, rng: &mut dyn Rng) -> Step {
        let live = self.interface(rng);
        let (direction, frame) = random_frame(rng, &self.state, &live);
        Step::Packet { ifindex: live.ifindex, direction, frame }
    }

    fn packet(&mut self, rng: &mut dyn Rng) -> Step {
        let live = self.interface(rng);
        let direction = pick(rng, &Direction::BOTH);
        let shape = random_shape(rng, &self.state, &live, direction);
        self.send(rng, &live, direction, shape)
    }

    /// A reply to an earlier packet, one more of its kind, or an error about it. Recent ones are
    /// preferred, so that conversations come about.
    fn answer(&mut self, rng: &mut dyn Rng) -> Option<Step> {
        let oldest = self.sent.len().saturating_sub(if one_in(rng, 4) { 200 } else { 12 });
        let (ifindex, direction, shape) = match &self.sent[oldest..] {
            [] => return None,
            recent => recent[rng.random_range(0..recent.len())].clone(),
        };
        let live = self.live.iter().find(|live| live.ifindex == ifindex)?.clone();
        Some(match rng.random_range(0..8) {
            0..=3 => {
                let reply = shape.reply(rng);
                self.send(rng, &live, direction.reverse(), reply)
            }
            4..=6 => {
                let next = shape.next(rng);
                self.send(rng, &live, direction, next)
            }
            _ => {
                let error = shape.error(rng);
                let frame = dress(rng, &self.state, &live, &error);
                Step::Packet { ifindex, direction: direction.reverse(), frame }
            }
        })
    }

    fn send(
        &mut self,
        rng: &mut dyn Rng,
        live: &LiveInterface,
        direction: Direction,
        shape: Shape,
    ) -> Step {
        let frame = dress(rng, &self.state, live, &shape);
        self.sent.push((live.ifindex, direction, shape));
        Step::Packet { ifindex: live.ifindex, direction, frame }
    }
}

/// Around the idle timeouts.
fn pause(rng: &mut dyn Rng) -> u32 {
    let seconds = pick(rng, &[1, 5, 10, 30, 60, 120, 180, 600, 432_000]);
    match rng.random_range(0..3) {
        0 => seconds / 2,
        1 => seconds - 1,
        _ => seconds + 2,
    }
}
