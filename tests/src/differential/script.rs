//! Scripts: cases written by hand, with the reason that each packet is to get. They are played in
//! both families, both roles and on both receiving hooks, and against the evaluator like any other
//! case.

use std::panic::Location;

use sg_common::{Direction, Reason, flow::Tick};
use sg_policy::model::{DesiredState, FilterSettings, LiveInterface};

use super::{
    case::{Case, Kind, Step, Via},
    rig::Rig,
    show,
};
use crate::{
    Addresses, FAMILIES, Role, V4, V6,
    probe::craft::{self, Numbers, Path},
};

/// TCP's push flag.
pub const PSH: u8 = 0x08;

const START: Tick = 1_000_000;

/// A message between the remote machine and the instance, whichever way.
#[derive(Clone, Copy, Debug)]
pub enum Message {
    /// With PSH it carries data.
    Tcp {
        remote: u16,
        local: u16,
        flags: u8,
    },
    /// From port 4000 to 80, or back.
    Numbered {
        flags: u8,
        numbers: Numbers,
    },
    Udp {
        remote: u16,
        local: u16,
    },
    /// A query of the family's ICMP, or an answer to one.
    Query {
        kind: u8,
        identifier: u16,
    },
    Other {
        protocol: u8,
    },
}

/// A case under the pen.
#[derive(Debug)]
pub struct Script {
    pub at: Addresses,
    role: Role,
    via: Via,
    /// Names and indexes of those that are filtered.
    interfaces: Vec<(&'static str, u32)>,
    /// The interface that packets go through.
    turn: usize,
    /// By interface; those of `[settings]` for one that has none.
    filters: Vec<FilterSettings>,
    ticks_per_1000s: u32,
    start: (DesiredState, Vec<LiveInterface>),
    steps: Vec<Step>,
    expected: Vec<(Reason, &'static Location<'static>)>,
}

/// Plays what `write` writes, under rules with the interface in `groups`, in all eight ways.
#[track_caller]
pub fn everywhere(groups: &[&str], rules: &str, write: impl Fn(&mut Script) + Sync) {
    everywhere_with(&[], groups, rules, write);
}

/// The same with settings of its own on each interface. Packets go through the first one until
/// [`Script::turn_to`] says otherwise.
#[track_caller]
pub fn everywhere_with(
    filters: &[FilterSettings],
    groups: &[&str],
    rules: &str,
    write: impl Fn(&mut Script) + Sync,
) {
    Rig::run(|rig| {
        // The third one has no Ethernet header.
        let interfaces = [("left", rig.ifindexes[1]), ("lo", rig.ifindexes[0])];
        for (at, role, via) in ways() {
            let mut script = Script {
                at,
                role,
                via,
                interfaces: interfaces[..filters.len().max(1)].to_vec(),
                filters: filters.to_vec(),
                turn: 0,
                ticks_per_1000s: rig.ticks_per_1000s,
                start: Default::default(),
                steps: vec![],
                expected: vec![],
            };
            script.start = script.under(groups, rules, "");
            write(&mut script);
            script.play(rig);
        }
    });
}

fn ways() -> Vec<(Addresses, Role, Via)> {
    let mut ways = vec![];
    for at in FAMILIES {
        for role in [Role::Host, Role::Port] {
            ways.extend([
                (at, role, Via::Xdp { linear: None }),
                (at, role, Via::Tc { gso: false }),
            ]);
        }
    }
    ways
}

impl Script {
    /// The packet gets this.
    #[track_caller]
    pub fn gets(&mut self, direction: Direction, message: Message, reason: Reason) {
        let packet = self.packet(direction, message);
        self.packet_gets(direction, &packet, reason);
    }

    #[track_caller]
    pub fn packet_gets(&mut self, direction: Direction, packet: &[u8], reason: Reason) {
        let frame = craft::frame([2; 6], [4; 6], packet);
        let (ifindex, via) = (self.interfaces[self.turn].1, self.via);
        self.steps.push(Step::Packet { ifindex, direction, frame, via });
        self.expected.push((reason, Location::caller()));
    }

    /// Packets go through this interface from now on.
    pub fn turn_to(&mut self, interface: usize) {
        self.turn = interface;
    }

    /// Sets the settings that the next change of the rules brings each interface.
    pub fn set_filters(&mut self, filters: &[FilterSettings]) {
        self.filters = filters.to_vec();
    }

    /// Several in a row.
    #[track_caller]
    pub fn get(&mut self, packets: &[(Direction, Message, Reason)]) {
        for (direction, message, reason) in packets {
            self.gets(*direction, *message, *reason);
        }
    }

    /// Between the first address of the remote machine and the instance.
    pub fn packet(&self, direction: Direction, message: Message) -> Vec<u8> {
        self.packet_with(self.at.remote, direction, message)
    }

    /// The same with another address of the remote side.
    pub fn packet_with(
        &self,
        remote: std::net::IpAddr,
        direction: Direction,
        message: Message,
    ) -> Vec<u8> {
        let instance = self.at.instance;
        let path = match direction {
            Direction::Ingress => Path { source: remote, destination: instance },
            Direction::Egress => Path { source: instance, destination: remote },
        };
        let ports = |remote, local| match direction {
            Direction::Ingress => (remote, local),
            Direction::Egress => (local, remote),
        };
        match message {
            Message::Tcp { remote, local, flags } => {
                let data: &[u8] = if flags & PSH != 0 { b"data" } else { b"" };
                let segment = path.segment(ports(remote, local), flags, Numbers::of(flags), data);
                path.packet(craft::TCP, &segment)
            }
            Message::Numbered { flags, numbers } => {
                path.packet(craft::TCP, &path.segment(ports(4000, 80), flags, numbers, b""))
            }
            Message::Udp { remote, local } => {
                let (source, destination) = ports(remote, local);
                path.packet(craft::UDP, &path.udp(source, destination, b"data"))
            }
            Message::Query { kind, identifier } => {
                let [high, low] = identifier.to_be_bytes();
                path.packet(path.icmp_protocol(), &path.icmp(kind, &[high, low, 0, 1]))
            }
            Message::Other { protocol } => path.packet(protocol, &[7; 16]),
        }
    }

    pub fn seconds_pass(&mut self, seconds: u32) {
        self.steps.push(Step::Advance(self.ticks(seconds)));
    }

    /// The longest time that is shorter.
    pub fn all_but_a_tick_passes(&mut self, seconds: u32) {
        self.steps.push(Step::Advance(self.ticks(seconds) - 1));
    }

    fn ticks(&self, seconds: u32) -> Tick {
        (u64::from(seconds) * u64::from(self.ticks_per_1000s) / 1000) as Tick
    }

    pub fn ticks_pass(&mut self, ticks: Tick) {
        self.steps.push(Step::Advance(ticks));
    }

    /// The shortest time that there is.
    pub fn tick_passes(&mut self) {
        self.steps.push(Step::Advance(1));
    }

    pub fn apply(&mut self, groups: &[&str], rules: &str) {
        self.apply_with(groups, rules, "");
    }

    /// The same with further lines in the interface's entry.
    pub fn apply_with(&mut self, groups: &[&str], rules: &str, entry: &str) {
        let applied = self.under(groups, rules, entry);
        self.steps.push(Step::Apply(Box::new(applied)));
    }

    /// The interface goes, and another one comes in its slot.
    pub fn interface_is_replaced(&mut self, groups: &[&str], rules: &str) {
        let (state, mut live) = self.under(groups, rules, "");
        let again = live.clone();
        live.clear();
        self.steps.push(Step::Apply(Box::new((state.clone(), live))));
        self.steps.push(Step::Apply(Box::new((state, again))));
    }

    pub fn flush(&mut self) {
        self.steps.push(Step::Flush);
    }

    pub fn flush_denied(&mut self) {
        self.steps.push(Step::FlushDenied);
    }

    /// Rules as they are in force on the interface; mid-stream TCP is picked up if they say so.
    fn under(
        &self,
        groups: &[&str],
        rules: &str,
        more: &str,
    ) -> (DesiredState, Vec<LiveInterface>) {
        let role = match self.role {
            Role::Host => "role = \"host\"\n".to_owned(),
            Role::Port => {
                let addresses = [V4.instance, V6.instance].map(|address| address.to_string());
                format!("role = \"port\"\naddresses = {addresses:?}\n")
            }
        };
        let entry = |(name, _): &(&str, u32)| {
            format!("\n[[interface]]\nname = \"{name}\"\ngroups = {groups:?}\n{role}{more}")
        };
        let text = format!("{rules}{}", self.interfaces.iter().map(entry).collect::<String>());
        let state = sg_policy::parse("rules.toml", text.as_bytes());
        let mut state = state.unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
        let first = state.interfaces.len() - self.interfaces.len();
        for (slot, filter) in self.filters.iter().enumerate() {
            state.interfaces[first + slot].filter = *filter;
        }
        let live = |(slot, (_, ifindex)): (usize, &(&str, u32))| {
            let entry = first + slot;
            let pickup = state.interfaces[entry].tracking.pickup;
            LiveInterface {
                slot: slot as u16,
                ifindex: *ifindex,
                entry,
                addresses: vec![],
                ethernet: true,
                delivers: false,
                pickup_until: if pickup == 0 { 0 } else { START + self.ticks(pickup) },
            }
        };
        let live = self.interfaces.iter().enumerate().map(live).collect();
        (state, live)
    }

    fn play(self, rig: &mut Rig) {
        let (state, live) = self.start;
        let case = Case { start: START, state, live, steps: self.steps, kind: Kind::Sequence };
        let tally =
            rig.play(&case).unwrap_or_else(|mismatch| panic!("{}", show::case(&case, &mismatch)));
        assert_eq!(tally.verdicts.len(), self.expected.len(), "the kernel takes every frame");
        for (number, (got, (expected, location))) in
            tally.verdicts.iter().zip(&self.expected).enumerate()
        {
            assert_eq!(
                got, expected,
                "{location}: packet {number}, {} as {:?} by {:?}",
                self.at.instance, self.role, self.via
            );
        }
    }
}
