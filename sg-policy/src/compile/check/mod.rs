//! An image held against the reference evaluator, question by question. For tests and fuzzing.

pub mod interface;
pub(crate) mod probes;

use std::net::IpAddr;

use rand::{Rng, seq::IndexedRandom as _};
use sg_common::flow::{ICMP, ICMPV6, TCP, UDP};

pub use self::probes::Answers;
use self::{
    interface::CheckedInterface,
    probes::{Comparison, addresses, services},
};
use super::Image;
use crate::{
    model::{DesiredState, LiveInterface},
    reference::rules::Rules,
};

/// The questions at which the answers of these rules may change.
#[derive(Debug)]
pub struct Check<'a> {
    state: &'a DesiredState,
    live: &'a [LiveInterface],
    image: &'a Image,
    addresses: Vec<IpAddr>,
    services: Vec<(u8, u16)>,
}

impl<'a> Check<'a> {
    pub fn new(state: &'a DesiredState, live: &'a [LiveInterface], image: &'a Image) -> Self {
        let (addresses, services) = (addresses(state, live), services(state));
        Self { state, live, image, addresses, services }
    }

    /// `count` questions of each kind about each interface; panics where the image is wrong.
    pub fn some(&self, rng: &mut dyn Rng, count: u32, answers: &mut Answers) {
        for live in self.live {
            self.about(live).settings();
            self.about(live).random(rng, (&self.addresses, &self.services), count, answers);
        }
    }

    /// Whether some peer may use all of a protocol, for each interface; slow in the reference.
    pub fn all_of(&self, rng: &mut dyn Rng, answers: &mut Answers) {
        for live in self.live {
            for protocol in [TCP, UDP, ICMP, ICMPV6, 47] {
                let peer = *self.addresses.choose(rng).expect("some address");
                self.about(live).all_allowed(peer, protocol, answers);
            }
        }
    }

    fn about(&self, live: &LiveInterface) -> Comparison<'_> {
        Comparison {
            interface: CheckedInterface::of(self.image, live.ifindex),
            rules: Rules {
                state: self.state,
                live: self.live,
                interface: &self.state.interfaces[live.entry],
            },
        }
    }
}
