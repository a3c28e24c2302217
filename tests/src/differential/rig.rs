//! The two that are compared: the loaded programs, and the evaluator.

use std::{collections::BTreeMap, fmt, io};

use sg_common::{
    Direction, Reason,
    counter::{self, Counter},
    flow::{Tick, Timeout},
    probe::MIN_FRAME,
    reason::REASONS,
};
use sg_datapath::{
    Abi, Datapath, FlowEntry, Loader, Options, Receiver,
    testing::trial::{Bench, Moved, Place, Program, Trial, Verdict},
};
use sg_policy::{
    compile::{Image, Parameters, compile},
    model::{DesiredState, LiveInterface, Role, Tracking},
    reference::{Evaluator, Packet, TrackedFlow},
};

use super::{
    case::{Case, Kind, Step, Via, any_cuts},
    features, show,
};
use crate::{Counts, NetNs, sandbox};

/// Flow table capacity: so many that none of a case's flows is ever in the way of another.
pub(super) const MAX_FLOWS: u32 = 4096;
const MAX_INTERFACES: u16 = 4;
const INTERFACES: [&str; 3] = ["lo", "left", "right"];
/// The longest frame that a test run takes with a [`sg_common::probe::Question`] before it.
const MAX_PROBE: usize = 3400;

/// The loaded programs in a namespace of their own.
#[derive(Debug)]
pub struct Rig {
    pub datapath: Datapath,
    pub(super) bench: Bench,
    /// Two with an Ethernet header, one that passes for one without.
    pub ifindexes: [u32; 3],
    pub ticks_per_1000s: u32,
    /// First images of cases that are at hand; none once anything else is published.
    laid_out: Vec<(Start, Place)>,
}

/// All that a case's first image depends on.
#[derive(Debug)]
struct Start {
    tick: Tick,
    state: DesiredState,
    live: Vec<LiveInterface>,
}

impl Start {
    fn of(case: &Case) -> Self {
        Self { tick: case.start, state: case.state.clone(), live: case.live.clone() }
    }

    fn is_of(&self, case: &Case) -> bool {
        self.tick == case.start && self.state == case.state && self.live == case.live
    }
}

/// Counts of a case: its packets, reasons and features.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub packets: u64,
    /// Frames that the kernel takes in no test run.
    pub skipped: u64,
    pub reasons: BTreeMap<(&'static str, &'static str), u64>,
    /// The packets' reasons in one case, in order.
    pub verdicts: Vec<Reason>,
    /// Features of the packets, and their effects on flows.
    pub features: BTreeMap<&'static str, u64>,
}

/// The first difference.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// Number of the step; that of steps for the flows in the end.
    pub step: usize,
    pub expected: String,
    pub got: String,
}

impl Rig {
    /// Runs `action` in a new namespace with the programs loaded.
    pub fn run<T: Send>(action: impl FnOnce(&mut Self) -> T + Send) -> T {
        Self::with_capacity(MAX_FLOWS, action)
    }

    /// The same with room for that many flows of each family.
    pub fn with_capacity<T: Send>(max_flows: u32, action: impl FnOnce(&mut Self) -> T + Send) -> T {
        Self::with_room(max_flows, MAX_INTERFACES, action)
    }

    /// The same with room for that many interfaces, too.
    pub fn with_room<T: Send>(
        max_flows: u32,
        max_interfaces: u16,
        action: impl FnOnce(&mut Self) -> T + Send,
    ) -> T {
        let options = options(max_flows, max_interfaces);
        namespace().run(|| action(&mut Self::open(&options, INTERFACES)))
    }

    /// The same in a namespace that has these interfaces; the last one passes for one without an
    /// Ethernet header.
    pub fn inside<T: Send>(
        namespace: &NetNs,
        interfaces: [&str; 3],
        max_flows: u32,
        action: impl FnOnce(&mut Self) -> T + Send,
    ) -> T {
        let options = options(max_flows, MAX_INTERFACES);
        namespace.run(|| action(&mut Self::open(&options, interfaces)))
    }

    /// The programs loaded, and the calling thread in their namespace for the rest of its life.
    pub fn stay(max_flows: u32) -> Self {
        let options = options(max_flows, MAX_INTERFACES);
        namespace().stay();
        Self::open(&options, INTERFACES)
    }

    /// Loads the programs in the namespace that the thread is in.
    fn open(options: &Options, interfaces: [&str; 3]) -> Self {
        let datapath = Datapath::open(options, Loader::get_ready()).expect("the programs load");
        let bench = datapath.bench().expect("the maps are there");
        let ifindexes = interfaces
            .map(|name| nix::net::if_::if_nametoindex(name).expect("the interface is there"));
        let ticks_per_1000s = datapath.ticks_per_1000s();
        Self { datapath, bench, ifindexes, ticks_per_1000s, laid_out: vec![] }
    }

    /// Puts rules in force; forgets all flows.
    pub fn start(&mut self, state: &DesiredState, live: &[LiveInterface]) {
        let ticks_per_1000s = self.ticks_per_1000s;
        let parameters = Parameters { ticks_per_1000s, revision: 1, cut_since: 0 };
        let image = compile(state, live, &parameters).expect("small rules fit");
        self.laid_out.clear();
        self.datapath.publish(&image.words).expect("small images fit");
        self.bench.clear_tables();
        self.bench.moved();
    }

    /// Runs a program on a packet: its verdict, and every counter that it moves.
    ///
    /// # Errors
    /// The kernel's refusal of the test run.
    pub fn judge(&mut self, trial: &Trial<'_>) -> io::Result<(Verdict, Vec<Moved>)> {
        let verdict = self.datapath.trial(trial)?;
        Ok((verdict, self.bench.moved()))
    }

    /// All that stands in the flow table.
    pub fn flows(&self) -> Vec<TrackedFlow> {
        let mut flows = Vec::new();
        self.datapath.for_each_flow(&mut |flow| flows.push(tracked(flow)));
        flows.sort_unstable();
        flows
    }

    /// Forgets every flow and fragment.
    pub fn forget(&mut self) {
        self.bench.clear_tables();
    }

    /// Makes the beginning of these cases cheap, as long as they change no rules.
    pub fn lay_out(&mut self, cases: &[Case]) {
        let image = |case: &Case| {
            let parameters = Parameters {
                ticks_per_1000s: self.ticks_per_1000s,
                revision: 1,
                cut_since: case.start,
            };
            compile(&case.state, &case.live, &parameters).expect("small rules fit")
        };
        let images: Vec<Image> = cases.iter().map(image).collect();
        let words: Vec<&[u32]> = images.iter().map(|image| &*image.words).collect();
        let places = self.datapath.lay_out(&words).expect("small images fit");
        self.laid_out = cases.iter().map(Start::of).zip(places).collect();
    }

    /// All counters that moved since the last call of this kind.
    pub fn moved(&mut self) -> Vec<Moved> {
        self.bench.moved()
    }

    /// A packet's reason, without the evaluator.
    pub fn reason(&mut self, program: Program, ifindex: u32, frame: &[u8]) -> Reason {
        let trial = Trial { program, ifindex, frame, gso: false, linear: None };
        let (verdict, moved) = self.judge(&trial).expect("the kernel takes the frame");
        let [Moved { index, by: Counter { packets: 1, .. }, .. }] = moved[..] else {
            panic!("counted {}", show::moved(&moved));
        };
        let (_, reason) = counted(index);
        let reason = reason.expect("a reason");
        assert_eq!(verdict == Verdict::Pass, reason.allowed(), "{verdict:?} for {reason:?}");
        reason
    }

    /// Packets that were counted since the last time.
    pub fn counted(&mut self) -> Counts {
        let moved = self.bench.moved();
        let named = |Moved { index, by, .. }: &Moved| {
            let (direction, reason) = counted(*index);
            (direction, reason.expect("a reason"), by.packets)
        };
        moved.iter().map(named).collect()
    }

    pub fn seconds_pass(&self, seconds: u32) {
        self.datapath.advance_clock(ticks(seconds, self.ticks_per_1000s));
    }

    /// Plays a case on both sides.
    pub fn play(&mut self, case: &Case) -> Result<Tally, Mismatch> {
        // A history takes far less than a tick; one that a tick has interrupted is played again.
        loop {
            let mut play = Play::start(self, case);
            let result = play.steps(case);
            let ended = play.now;
            if case.kind == Kind::Apart || self.datapath.now() == ended {
                return result;
            }
        }
    }
}

/// A case under way.
struct Play<'a> {
    rig: &'a mut Rig,
    evaluator: Evaluator,
    state: DesiredState,
    live: Vec<LiveInterface>,
    now: Tick,
    /// An unconfirmed change, the rules before it, and when they are in force again.
    unconfirmed: Option<(DesiredState, Tick)>,
    /// Whether the agent dies in a change that ends flows.
    dying: bool,
    tally: Tally,
}

impl<'a> Play<'a> {
    fn start(rig: &'a mut Rig, case: &Case) -> Self {
        rig.bench.clear_tables();
        rig.datapath.set_clock(case.start);
        let (state, live) = (case.state.clone(), case.live.clone());
        let evaluator = Evaluator::new(state.clone(), live.clone(), rig.ticks_per_1000s);
        let mut play = Self {
            rig,
            evaluator,
            state,
            live,
            now: case.start,
            unconfirmed: None,
            dying: case.kind == Kind::Dying,
            tally: Tally::default(),
        };
        match play.rig.laid_out.iter().find(|(start, _)| start.is_of(case)) {
            Some((_, place)) => play.rig.datapath.switch(*place),
            None => play.publish(),
        }
        play.rig.bench.moved();
        play
    }

    fn steps(&mut self, case: &Case) -> Result<Tally, Mismatch> {
        for (number, step) in case.steps.iter().enumerate() {
            let differ = |(expected, got)| Mismatch { step: number, expected, got };
            match step {
                Step::Packet { ifindex, direction, frame, via } => {
                    let result = if case.kind == Kind::Apart {
                        self.packet_apart(*ifindex, *direction, frame, *via)
                    } else {
                        self.packet(*ifindex, *direction, frame, *via, false)
                    };
                    result.map_err(differ)?;
                }
                Step::Advance(ticks) => self.advance(*ticks),
                Step::Apply(applied) => self.apply(applied, None),
                Step::ApplyUntil(applied, ticks) => {
                    // Never 0, which is no deadline.
                    self.apply(applied, Some(self.now.wrapping_add(*ticks).max(1)));
                }
                Step::Flush => self.flush(),
                Step::FlushDenied => {
                    self.evaluator.flush_denied(self.now);
                    let image = self.compile(&self.state, &self.live);
                    self.rig
                        .datapath
                        .cut_denied(&image.words, &mut |_| true)
                        .expect("it is readable");
                }
            }
        }
        if case.kind == Kind::Sequence {
            let differ = |(expected, got)| Mismatch { step: case.steps.len(), expected, got };
            self.compare_flows().map_err(differ)?;
        }
        Ok(std::mem::take(&mut self.tally))
    }

    fn advance(&mut self, ticks: Tick) {
        let before = self.now;
        self.now = self.now.wrapping_add(ticks);
        self.rig.datapath.advance_clock(ticks);
        // Nobody tells the data path: it goes back by itself.
        if let Some((state, deadline)) =
            self.unconfirmed.take_if(|(_, deadline)| deadline.wrapping_sub(before) <= ticks)
        {
            self.evaluator.apply(state.clone(), self.live.clone(), deadline);
            self.state = state;
            self.live.iter_mut().for_each(|live| live.pickup_until = 0);
        }
    }

    fn compile(&self, state: &DesiredState, live: &[LiveInterface]) -> Image {
        let parameters = Parameters {
            ticks_per_1000s: self.rig.ticks_per_1000s,
            revision: 1,
            cut_since: self.now,
        };
        compile(state, live, &parameters).expect("small rules fit")
    }

    /// As the agent does it: see `owner/enforce.rs`.
    fn publish(&mut self) {
        self.rig.laid_out.clear();
        let image = self.compile(&self.state, &self.live);
        match &self.unconfirmed {
            None if self.dying && any_cuts(&self.state, &self.live) => {
                self.rig.datapath.publish_and_die(&image.words)
            }
            None => self.rig.datapath.publish(&image.words),
            Some((state, deadline)) => {
                let mut live = self.live.clone();
                live.iter_mut().for_each(|live| live.pickup_until = 0);
                let fallback = self.compile(state, &live);
                self.rig.datapath.publish_until(&image.words, &fallback.words, *deadline)
            }
        }
        .expect("small images fit");
    }

    fn apply(&mut self, applied: &(DesiredState, Vec<LiveInterface>), deadline: Option<Tick>) {
        let (state, live) = applied;
        // An apply settles the one before it.
        let previous = std::mem::replace(&mut self.state, state.clone());
        self.unconfirmed = deadline.map(|deadline| (previous, deadline));
        let before = std::mem::replace(&mut self.live, live.clone());
        let same =
            |a: &LiveInterface, b: &LiveInterface| (a.slot, a.ifindex) == (b.slot, b.ifindex);
        for interface in &mut self.live {
            if before.iter().any(|old| same(old, interface)) {
                interface.pickup_until = 0;
            }
        }
        self.publish();
        for old in &before {
            if !self.live.iter().any(|new| same(old, new)) {
                self.rig.datapath.release(&[old.slot]);
            }
        }
        self.evaluator.apply(state.clone(), live.clone(), self.now);
        self.rig.bench.moved();
    }

    fn flush(&mut self) {
        for interface in &mut self.live {
            let seconds = self.state.interfaces[interface.entry].tracking.pickup;
            interface.pickup_until = match seconds {
                0 => 0,
                _ => self.now.wrapping_add(ticks(seconds, self.rig.ticks_per_1000s)),
            };
        }
        self.publish();
        self.rig.datapath.flush(&mut |_| true);
        self.evaluator.flush(self.now);
    }

    /// One that leaves nothing behind: it is sent again if a tick came between the two sides, however
    /// long the case.
    fn packet_apart(
        &mut self,
        ifindex: u32,
        direction: Direction,
        frame: &[u8],
        via: Via,
    ) -> Result<(), (String, String)> {
        loop {
            self.now = self.rig.datapath.now();
            let result = self.packet(ifindex, direction, frame, via, true);
            if self.rig.datapath.now() == self.now {
                return result;
            }
            self.rig.bench.clear_tables();
            self.rig.bench.moved();
        }
    }

    fn packet(
        &mut self,
        ifindex: u32,
        direction: Direction,
        frame: &[u8],
        via: Via,
        apart: bool,
    ) -> Result<(), (String, String)> {
        let Some(live) = self.live.iter().find(|live| live.ifindex == ifindex) else {
            return Ok(());
        };
        let (slot, ethernet) = (live.slot, live.ethernet);
        let role = self.state.interfaces[live.entry].role;
        let trial = trial(ifindex, direction, role, frame, via);
        let packet = Packet {
            ifindex,
            direction,
            frame,
            vlan_offloaded: false,
            gso: trial.gso && trial.program != Program::Xdp,
        };
        self.probe(ifindex, direction, frame)?;
        if packet.gso && !ethernet {
            // A test run takes skb->protocol from an Ethernet header, whatever the interface.
            self.tally.skipped += 1;
            return Ok(());
        }
        let verdict = match self.rig.datapath.trial(&trial) {
            Ok(verdict) => verdict,
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{error}: {trial:?}");
                self.tally.skipped += 1;
                return Ok(());
            }
        };
        let moved = self.rig.bench.moved();
        let (reason, started_over) = if apart {
            (self.evaluator.would(&packet, self.now), false)
        } else {
            self.judge(&packet)
        };
        let reason = reason.expect("a filtered interface");
        if apart && reason.allowed() {
            self.rig.bench.clear_tables();
        }
        let expected = [Moved {
            slot,
            index: counter::index(direction, reason),
            by: Counter { packets: 1, bytes: frame.len() as u64 },
        }];
        let expected_verdict = if reason.allowed() { Verdict::Pass } else { Verdict::Drop };
        if moved != expected || verdict != expected_verdict {
            let text = |moved: &[Moved], verdict: Verdict| {
                format!("{verdict:?}, counted {}", show::moved(moved))
            };
            let program = format!("{:?}: ", trial.program);
            return Err((
                program.clone() + &text(&expected, expected_verdict),
                program + &text(&moved, verdict),
            ));
        }
        self.tally.packets += 1;
        self.tally.verdicts.push(reason);
        let program = match trial.program {
            Program::Xdp => "xdp",
            Program::TcIn => "tc in",
            Program::TcOut => "tc out",
        };
        *self.tally.reasons.entry((program, reason.name())).or_default() += 1;
        let had = features::of(frame, ethernet, via);
        for feature in had.into_iter().chain(started_over.then_some("a flow starts over")) {
            *self.tally.features.entry(feature).or_default() += 1;
        }
        Ok(())
    }

    /// The evaluator's reason, and whether the packet started a flow over.
    fn judge(&mut self, packet: &Packet<'_>) -> (Option<Reason>, bool) {
        let before = self.evaluator.flows(self.now);
        let reason = self.evaluator.judge(packet, self.now);
        let over = reason == Some(Reason::Rule) && {
            let after = self.evaluator.flows(self.now);
            after.len() == before.len() && after != before
        };
        (reason, over)
    }

    /// `explain` must know beforehand, and leave no trace.
    fn probe(
        &mut self,
        ifindex: u32,
        direction: Direction,
        frame: &[u8],
    ) -> Result<(), (String, String)> {
        if frame.len() > MAX_PROBE {
            return Ok(());
        }
        let mut padded = frame.to_vec();
        padded.resize(frame.len().max(MIN_FRAME), 0);
        let packet =
            Packet { ifindex, direction, frame: &padded, vlan_offloaded: false, gso: false };
        let expected = self.evaluator.would(&packet, self.now);
        let answer = self.rig.datapath.probe(ifindex, direction, frame).expect("an answer");
        let has_flow = matches!(expected, Some(Reason::Flow | Reason::FlowCut));
        // A SYN that may start a flow over, one that meets a flow that was picked up, and an error about a
        // flow, have one or none.
        let may_have = has_flow
            || matches!(
                expected,
                Some(
                    Reason::Rule
                        | Reason::NoRule
                        | Reason::NotSyn
                        | Reason::Related
                        | Reason::AllowanceExceeded
                )
            );
        let flow_fits = if answer.flow.is_some() { may_have } else { !has_flow };
        let moved = self.rig.bench.moved();
        if answer.reason == expected && flow_fits && moved.is_empty() {
            return Ok(());
        }
        Err((
            format!("probe: {expected:?}, counted nowhere"),
            format!("probe: {answer:?}, counted {}", show::moved(&moved)),
        ))
    }

    /// Both must have the same flows, in the same states.
    fn compare_flows(&mut self) -> Result<(), (String, String)> {
        let expected = self.evaluator.flows(self.now);
        let mut got = Vec::new();
        self.rig.datapath.for_each_flow(&mut |flow| {
            if let Some(live) = self.live.iter().find(|live| live.slot == flow.slot) {
                let tracking = &self.state.interfaces[live.entry].tracking;
                let timeout = ticks(timeout(flow.timeout, tracking), self.rig.ticks_per_1000s);
                let ended = flow.timeout == Timeout::TcpEnded;
                if !ended && self.now.wrapping_sub(flow.seen) <= timeout {
                    got.push(tracked(flow));
                }
            } else {
                got.push(tracked(flow));
            }
        });
        got.sort_unstable();
        if got == expected {
            for flow in &got {
                *self.tally.features.entry(flow.state).or_default() += 1;
            }
            return Ok(());
        }
        let only = |these: &[TrackedFlow], those: &[TrackedFlow]| {
            let these = these.iter().filter(|flow| !those.contains(flow));
            these.map(|flow| format!("{flow:?}")).collect::<Vec<_>>().join("\n  ")
        };
        Err((only(&expected, &got), only(&got, &expected)))
    }
}

/// A new one, with three interfaces.
fn options(max_flows: u32, max_interfaces: u16) -> Options {
    Options {
        abi: Abi::OURS,
        bpffs: sandbox::directory("bpffs"),
        max_flows,
        max_interfaces,
        flow_log: true,
        first: Receiver::Tc,
        loaded: || {},
    }
}

fn namespace() -> NetNs {
    let namespace = NetNs::new("trial");
    namespace.ip("link add left type veth peer name right");
    namespace
}

/// The hook that sees this direction, and how the frame gets there.
fn trial(ifindex: u32, direction: Direction, role: Role, frame: &[u8], via: Via) -> Trial<'_> {
    let receives = match role {
        Role::Host => direction == Direction::Ingress,
        Role::Port => direction == Direction::Egress,
    };
    let (program, gso, linear) = match (receives, via) {
        (true, Via::Xdp { linear }) => (Program::Xdp, false, linear),
        (true, Via::Tc { gso }) => (Program::TcIn, gso, None),
        (false, Via::Xdp { .. }) => (Program::TcOut, false, None),
        (false, Via::Tc { gso }) => (Program::TcOut, gso, None),
    };
    Trial { program, ifindex, frame, gso, linear }
}

fn ticks(seconds: u32, ticks_per_1000s: u32) -> Tick {
    (u64::from(seconds) * u64::from(ticks_per_1000s) / 1000) as Tick
}

/// Idle timeouts in seconds (semantics.md, "State").
fn timeout(which: Timeout, tracking: &Tracking) -> u32 {
    match which {
        Timeout::TcpOpening => 60,
        Timeout::TcpEstablished => tracking.tcp_established,
        Timeout::TcpClosing => 120,
        Timeout::TcpReset => 10,
        Timeout::Udp => tracking.udp,
        Timeout::UdpStream => tracking.udp_stream,
        Timeout::Icmp | Timeout::Fragment => 30,
        Timeout::Other => 600,
        Timeout::TcpEnded => 0,
    }
}

/// A flow of the table as the evaluator writes it.
fn tracked(flow: &FlowEntry) -> TrackedFlow {
    TrackedFlow {
        slot: flow.slot,
        protocol: flow.protocol,
        src: flow.src,
        sport: flow.sport,
        dst: flow.dst,
        dport: flow.dport,
        egress: flow.direction == Direction::Egress,
        state: flow.state,
        packets: flow.packets,
        seen: flow.seen,
    }
}

/// Direction and reason at an index in a counter row.
pub(super) fn counted(index: usize) -> (Direction, Option<Reason>) {
    let direction = Direction::BOTH[index / REASONS % 2];
    (direction, Reason::from_number((index % REASONS) as u8))
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.skipped += other.skipped;
        for (key, count) in &other.reasons {
            *self.reasons.entry(*key).or_default() += count;
        }
        for (feature, count) in &other.features {
            *self.features.entry(*feature).or_default() += count;
        }
    }

    /// Panics unless packets of all these reasons were met so often on each hook that can give them,
    /// and all these features.
    #[track_caller]
    pub fn has(&self, least: u64, reasons: &[Reason], features: &[&str]) {
        let mut thin = vec![];
        for reason in reasons {
            let hooks: &[_] = match reason {
                // Only an instance behind a port is checked, so only for frames that it sends.
                Reason::SourceCheck => &["xdp", "tc in"],
                _ => &["xdp", "tc in", "tc out"],
            };
            for hook in hooks {
                let count = self.reasons.get(&(*hook, reason.name())).copied().unwrap_or(0);
                if count < least {
                    thin.push(format!("{hook} {}: {count}", reason.name()));
                }
            }
        }
        for feature in features {
            let count = self.features.get(feature).copied().unwrap_or(0);
            if count < least {
                thin.push(format!("{feature}: {count}"));
            }
        }
        assert!(thin.is_empty(), "fewer than {least}: {}", thin.join(", "));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packets compared, {} not taken by the kernel:", self.packets, self.skipped)?;
        for ((program, reason), count) in &self.reasons {
            write!(f, " {program} {reason} {count},")?;
        }
        for (feature, count) in &self.features {
            write!(f, " {feature} {count},")?;
        }
        Ok(())
    }
}
