//! Rows under rules, run on every hook.

use std::{
    net::IpAddr,
    sync::{
        LazyLock, Mutex,
        mpsc::{Sender, channel},
    },
    thread,
};

use sg_common::{
    Direction, Reason,
    counter::{self, Counter},
    reason::REASONS,
};
use sg_datapath::testing::trial::{Moved, Program, Trial, Verdict};
use sg_policy::{
    model::{LiveInterface, Role},
    reference::{Evaluator, Packet, TrackedFlow},
};
use sg_tests::differential::{MAX_LINEAR, Rig, fewer, show};

use crate::row::{Calls, Opens, Row};

/// The rules of the instance's interface: rules.toml without its entry, its
/// groups, and more keys of a port's entry.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    pub rules: &'a str,
    pub groups: &'a str,
    /// Keys of a port's entry. Its source is checked unless they say otherwise.
    pub port: &'a str,
}

impl<'a> Setup<'a> {
    /// The instance 10.0.0.5, fd00::5 in the group `web`.
    pub fn new(rules: &'a str) -> Self {
        Self { rules, groups: r#""web""#, port: "" }
    }
}

/// Checks all rows under these rules.
#[track_caller]
pub fn check(rules: &str, rows: &[Row]) {
    check_setups(&[(Setup::new(rules), rows)]);
}

/// Rules with the rows for them.
pub type Table = (String, Vec<Row>);

#[track_caller]
pub fn check_all(tables: &[Table]) {
    let setups: Vec<_> =
        tables.iter().map(|(rules, rows)| (Setup::new(rules), &rows[..])).collect();
    check_setups(&setups);
}

/// Lanes of the flow table: one row has one flow.
const CAPACITY: u32 = 512;
/// Failures that are shown in full.
const SHOWN: usize = 3;

/// Rows of a table that are run in guests: software emulates them, and the table of all protocol
/// numbers would take minutes. Odd steps meet all ways, and other rows in each role.
const FEWER_ROWS: usize = 48;

fn step(rows: usize) -> usize {
    if fewer() { rows.div_ceil(FEWER_ROWS) | 1 } else { 1 }
}

/// A setup in each role, with its rows.
struct Prepared {
    rules: String,
    texts: [(Role, String); 2],
    rows: Vec<Row>,
}

#[track_caller]
pub fn check_setups(setups: &[(Setup<'_>, &[Row])]) {
    let prepared: Vec<_> = setups
        .iter()
        .map(|(setup, rows)| Prepared {
            rules: setup.rules.to_owned(),
            texts: [Role::Host, Role::Port].map(|role| (role, setup.text(role))),
            rows: rows.to_vec(),
        })
        .collect();
    let failures = on_rig(move |rig| prepared.iter().flat_map(|setup| setup.run(rig)).collect());
    let shown = failures[..failures.len().min(SHOWN)].join("\n");
    assert!(failures.is_empty(), "{} failures\n{shown}", failures.len());
}

impl Prepared {
    /// Runs all rows and describes each failure.
    fn run(&self, rig: &mut Rig) -> Vec<String> {
        let mut failures = vec![];
        for (role, text) in &self.texts {
            let mut bench = Bench::new(rig, text, *role);
            let (first, step) = (usize::from(*role == Role::Port), step(self.rows.len()));
            for (number, row) in self.rows.iter().enumerate().skip(first % step).step_by(step) {
                let failed = row.roles.contains(role).then(|| bench.row(row)).flatten();
                failures.extend(failed.map(|text| format!("{}\nrow {number}, {text}", self.rules)));
            }
        }
        failures
    }
}

type Job = Box<dyn FnOnce(&mut Rig) + Send>;

/// Runs `job` with the programs loaded. In a guest, where that takes seconds, all tests of the process
/// have one rig.
fn on_rig(job: impl FnOnce(&mut Rig) -> Vec<String> + Send + 'static) -> Vec<String> {
    static JOBS: LazyLock<Mutex<Sender<Job>>> = LazyLock::new(|| {
        let (jobs, taken) = channel::<Job>();
        thread::spawn(move || {
            let mut rig = Rig::stay(CAPACITY);
            taken.into_iter().for_each(|job| job(&mut rig));
        });
        Mutex::new(jobs)
    });
    if !fewer() {
        return Rig::with_capacity(CAPACITY, job);
    }
    let (done, failures) = channel();
    let job: Job = Box::new(move |rig| done.send(job(rig)).expect("somebody waits"));
    JOBS.lock().expect("no test panics with it").send(job).expect("a rig");
    failures.recv().expect("the rig, which another test has broken")
}

impl Setup<'_> {
    /// The instance twice: on an interface with an Ethernet header, and on one without.
    fn text(self, role: Role) -> String {
        let (role, keys) = match role {
            Role::Host => ("host", ""),
            Role::Port => ("port", self.port),
        };
        let groups = self.groups;
        let entry = |name: &str| {
            format!(
                "[[interface]]\nname = \"{name}\"\nrole = \"{role}\"\ngroups = [{groups}]\n\
                 addresses = [\"10.0.0.5\", \"fd00::5\"]\n{keys}\n"
            )
        };
        format!("{}\n{}{}", self.rules, entry("ethernet"), entry("bare"))
    }
}

/// Bytes in the linear part of a multi-buffer frame: cuts through and between headers.
const LINEAR: [u32; 7] = [14, 20, 34, 40, 54, 58, 70];

/// A way into the programs.
#[derive(Clone, Copy, Debug)]
struct Hook {
    program: Program,
    linear: Option<u32>,
}

impl Hook {
    const fn new(program: Program) -> Self {
        Self { program, linear: None }
    }
}

struct Bench<'a> {
    rig: &'a mut Rig,
    role: Role,
    evaluator: Evaluator,
    live: [LiveInterface; 2],
    /// Whether test runs have multi-buffer frames as short as these (kernel 6.18).
    multi_buffer: bool,
}

impl<'a> Bench<'a> {
    #[track_caller]
    fn new(rig: &'a mut Rig, text: &str, role: Role) -> Self {
        let state = match sg_policy::parse("rules.toml", text.as_bytes()) {
            Ok(state) => state,
            Err(faults) => panic!("{faults}\n{text}"),
        };
        let live = ["ethernet", "bare"].map(|name| LiveInterface {
            // Not the first, which a mistake would find.
            slot: if name == "bare" { 3 } else { 2 },
            ifindex: rig.ifindexes[usize::from(name == "bare")],
            entry: state.entry_for(name).expect("the entry is there"),
            addresses: vec![],
            ethernet: name == "ethernet",
            delivers: false,
            pickup_until: 0,
        });
        rig.start(&state, &live);
        let evaluator = Evaluator::new(state, live.to_vec(), rig.ticks_per_1000s);
        let (program, ifindex) = (Program::Xdp, rig.ifindexes[0]);
        let short =
            Trial { program, ifindex, frame: &[0; 60], gso: false, linear: Some(LINEAR[0]) };
        let multi_buffer = rig.judge(&short).is_ok();
        Self { rig, role, evaluator, live, multi_buffer }
    }

    /// A row on all hooks; what failed.
    fn row(&mut self, row: &Row) -> Option<String> {
        let [ethernet, bare] = self.live.clone();
        let bytes = &row.frame.bytes;
        let failed = self.on_interface(row, &ethernet, bytes);
        let is_plain_ip = matches!(bytes.get(12..14), Some([0x08, 0x00] | [0x86, 0xdd]));
        if failed.is_none() && is_plain_ip && !row.ethernet_only {
            return self.on_interface(row, &bare, &bytes[14..]);
        }
        failed
    }

    fn on_interface(&mut self, row: &Row, live: &LiveInterface, frame: &[u8]) -> Option<String> {
        let packet = Packet {
            ifindex: live.ifindex,
            direction: row.direction,
            frame,
            vlan_offloaded: false,
            gso: row.gso,
        };
        let mut evaluator = self.evaluator.clone();
        let by_evaluator = evaluator.judge(&packet, 0).expect("a filtered interface");
        let its_flows = timeless(evaluator.flows(0));

        let reason = row.expected.reason();
        let by = Counter { packets: 1, bytes: frame.len() as u64 };
        let expected = Seen {
            verdict: if reason.allowed() { Verdict::Pass } else { Verdict::Drop },
            moved: vec![Moved {
                slot: live.slot,
                index: counter::index(row.direction, reason),
                by,
            }],
            flows: opened(row, live.slot).into_iter().collect(),
        };
        let shown = |who: &str, got: &str| {
            format!(
                "{:?}, {:?} on {live:?}\n{}expected {expected}\n{who} {got}\n",
                row.direction,
                self.role,
                show::frame(frame, live.ethernet)
            )
        };
        if by_evaluator != reason || its_flows != expected.flows {
            let got = format!("{by_evaluator:?}, flows {its_flows:?}");
            return Some(shown("the evaluator has", &got));
        }
        for hook in self.hooks(row, live, frame.len()) {
            let Some(got) = on_hook(self.rig, live.ifindex, frame, row.gso, hook) else { continue };
            if got != expected {
                return Some(shown(&format!("{hook:?} has"), &got.to_string()));
            }
        }
        None
    }

    /// Where the kernel lets a frame of this length in, in this direction.
    fn hooks(&self, row: &Row, live: &LiveInterface, length: usize) -> Vec<Hook> {
        let receives = match self.role {
            Role::Host => row.direction == Direction::Ingress,
            Role::Port => row.direction == Direction::Egress,
        };
        let mut hooks = vec![];
        // A test run has 14 bytes of Ethernet header whatever the interface, and TC one more.
        // It takes skb->protocol from there, by which the programs judge GSO on a bare interface.
        if (15..=MAX_LINEAR).contains(&length) && (live.ethernet || !row.gso) {
            hooks.push(Hook::new(if receives { Program::TcIn } else { Program::TcOut }));
        }
        if receives && !row.gso && length >= 14 {
            hooks.push(Hook::new(Program::Xdp));
            let splits = LINEAR.iter().filter(|linear| **linear < length as u32);
            let splits = splits.filter(|_| self.multi_buffer && length <= MAX_LINEAR);
            hooks
                .extend(splits.map(|linear| Hook { program: Program::Xdp, linear: Some(*linear) }));
        }
        hooks
    }
}

/// Runs a hook on a frame; `None` if the kernel cannot have such a frame in a test run.
fn on_hook(rig: &mut Rig, ifindex: u32, frame: &[u8], gso: bool, hook: Hook) -> Option<Seen> {
    let Hook { program, linear } = hook;
    let trial = Trial { program, ifindex, frame, gso, linear };
    let (verdict, moved) = match rig.judge(&trial) {
        Ok(judged) => judged,
        Err(error) => {
            assert!(may_be_refused(program, frame), "{error}: {trial:?}");
            return None;
        }
    };
    let flows = timeless(rig.flows());
    // Clearing the tables takes time, so do it only after packets that leave something. The only
    // drop that leaves something is a first fragment's refusal.
    if verdict != Verdict::Drop || moved.iter().any(|moved| moved.index % REASONS == REFUSAL) {
        rig.forget();
    }
    Some(Seen { verdict, moved, flows })
}

const REFUSAL: usize = Reason::NotSyn as usize;

/// TC's test runs want the header that the EtherType announces (net/bpf/test_run.c, from 6.18 on).
fn may_be_refused(program: Program, frame: &[u8]) -> bool {
    let header = match frame.get(12..14) {
        Some([0x08, 0x00]) => 20,
        Some([0x86, 0xdd]) => 40,
        _ => 0,
    };
    program != Program::Xdp && frame.len() < 14 + header
}

/// A packet's verdict, counters and flows.
#[derive(PartialEq)]
struct Seen {
    verdict: Verdict,
    moved: Vec<Moved>,
    flows: Vec<TrackedFlow>,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {}, flows {:?}", self.verdict, show::moved(&self.moved), self.flows)
    }
}

/// The entry that a row's packet makes.
fn opened(row: &Row, slot: u16) -> Option<TrackedFlow> {
    let (Opens | Calls) = row.expected else { return None };
    let ip = row.frame.ip.as_ref().expect("a packet that opens something is made from addresses");
    let (src, dst): (IpAddr, IpAddr) = (ip.src, ip.dst);
    let (protocol, sport, dport) = ip.flow;
    Some(TrackedFlow {
        slot,
        protocol,
        src,
        sport,
        dst,
        dport,
        egress: row.direction == Direction::Egress,
        state: "new",
        packets: 1,
        seen: 0,
    })
}

fn timeless(mut flows: Vec<TrackedFlow>) -> Vec<TrackedFlow> {
    for flow in &mut flows {
        flow.seen = 0;
    }
    flows
}
