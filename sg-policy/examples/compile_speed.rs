//! Times the compiler: `cargo run --release -p sg-policy --example compile_speed [CASE | member N]`
//!
//! `member N` times one member more or less of a group that has N. Each case runs in a process of its own, so that its peak of memory is its own.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr},
    process::Command,
    time::{Duration, Instant},
};

use sg_policy::{
    DesiredState,
    compile::{Compiler, Parameters, compile},
    model::{Interface, LiveInterface, Peer, Rule},
    parse,
};

type Case = (&'static str, fn() -> String);

const CASES: [Case; 8] = [
    ("10k-rules", || rules(10_000, 1000)),
    ("60k-rules", || rules(60_000, 1000)),
    ("60k-rules-one-group", || rules(60_000, 60_000)),
    ("60k-rules-1000-interfaces", || shared(60_000, 1000)),
    ("100k-list-ipv4", || {
        list(|index| format!("10.{}.{}.{}/30", index >> 13, index >> 5 & 255, index % 32 * 8))
    }),
    // A Weyl sequence: scattered, never twice the same.
    ("100k-hosts-ipv4", || {
        list(|index| {
            format!("{}/32", Ipv4Addr::from_bits((index as u32).wrapping_mul(0x9e37_79b1)))
        })
    }),
    ("100k-list-ipv6", || {
        list(|index| format!("2001:db8:{:x}:{:x}::/64", index >> 4, index % 16 * 2))
    }),
    ("1000-interfaces", || interfaces(1000)),
];

const MEMBERS: [&str; 3] = ["1000", "10000", "50000"];

const QUOTAS: &str = "[settings.quotas]\nrules_per_group = 1000000\ngroups_per_interface = 1\n\
                      rules_per_interface = 1000000\n";

const PARAMETERS: Parameters = Parameters { ticks_per_1000s: 20_000, revision: 1, cut_since: 0 };

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    match given.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["member", count] => member(count.parse().expect("a number of members")),
        [name, ..] => CASES.iter().filter(|case| case.0 == name).for_each(time),
        [] => {
            CASES.iter().for_each(|case| in_process(&[case.0]));
            MEMBERS.iter().for_each(|count| in_process(&["member", count]));
        }
    }
}

fn in_process(case: &[&str]) {
    let program = std::env::current_exe().expect("a path");
    let status = Command::new(program).args(case).status().expect("itself runs");
    assert!(status.success(), "{case:?}: {status}");
}

/// Times changes of a group's members: the interfaces of other hosts, of which one comes or goes.
fn member(count: usize) {
    let text = members(count);
    let mut state = parse("generated", text.as_bytes()).unwrap_or_else(|faults| panic!("{faults}"));
    let live = [live(0)];
    let mut compiler = Compiler::default();
    let mut compile = |state: &DesiredState| {
        let start = Instant::now();
        let image = compiler.compile(state, &live, &PARAMETERS);
        let taken = start.elapsed();
        (taken, image.unwrap_or_else(|error| panic!("{error}")).words.len() * 4)
    };
    let (first, bytes) = compile(&state);
    let (mut edits, mut compiles) = (Vec::new(), Vec::new());
    for at in 0..400 {
        let start = Instant::now();
        let mut next = state.clone();
        let place = 1 + at * 7919 % count;
        if at % 2 == 0 {
            let address = IpAddr::from([172, 16, (at >> 8) as u8, at as u8]);
            let name = format!("new{at}");
            let new = Interface { name, addresses: vec![address], ..next.interfaces[1].clone() };
            next.interfaces.insert(place, new);
        } else {
            next.interfaces.remove(place);
        }
        state = next;
        edits.push(start.elapsed());
        compiles.push(compile(&state).0);
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        (times[times.len() / 2], times[times.len() * 99 / 100])
    };
    let (edit, compile) = (median(&mut edits), median(&mut compiles));
    let mut documents: Vec<Duration> = (0..20).map(|_| document(&state).0).collect();
    println!(
        "member {count:<19} first {first:>9.1?}, one member more or less: compile {:>9.1?} (99 % {:>9.1?}), \
         edit {:>9.1?}, image {:>6} KiB; the state as JSON {:>9.1?}, {:>6} KiB",
        compile.0,
        compile.1,
        edit.0,
        bytes >> 10,
        median(&mut documents).0,
        document(&state).1 >> 10
    );
}

/// Writes the state as JSON, as the agent's journal does for an edit: time and bytes.
fn document(state: &DesiredState) -> (Duration, usize) {
    let start = Instant::now();
    let json = serde_json::to_string(state).expect("a state has a JSON form");
    (start.elapsed(), json.len())
}

fn time((name, text): &Case) {
    let state = parse("generated", text().as_bytes()).unwrap_or_else(|faults| panic!("{faults}"));
    let live: Vec<_> = (0..state.interfaces.len()).map(live).collect();
    reset_peak();
    let before = peak();
    let (first, bytes) = run(&state, &live);
    let memory = peak() - before;
    let best = (0..9).map(|_| run(&state, &live).0).fold(first, Duration::min);
    let next = next(state, &live);
    println!(
        "{name:26} best {best:>9.1?}, first {first:>9.1?}, one address more or less {next:>9.1?}, \
         image {:>6} KiB, peak RSS +{memory} KiB",
        bytes >> 10
    );
}

/// The best time after a first state, with a rule for one address that comes and goes.
fn next(mut state: DesiredState, live: &[LiveInterface]) -> Duration {
    let mut compiler = Compiler::default();
    let mut times = Vec::new();
    for at in 0..20u8 {
        let rules = &mut state.groups[0].ingress;
        if at % 2 == 1 {
            rules.pop();
        } else {
            let address = IpAddr::from([10, 1, at, 77]);
            let rule = rules[0].clone();
            rules.push(Rule { peer: Peer::Cidr(address.into()), ..rule });
        }
        let start = Instant::now();
        compiler.compile(&state, live, &PARAMETERS).unwrap_or_else(|error| panic!("{error}"));
        times.push(start.elapsed());
    }
    times[1..].iter().min().copied().unwrap_or_default()
}

fn run(state: &DesiredState, live: &[LiveInterface]) -> (Duration, usize) {
    let start = Instant::now();
    let image = compile(state, live, &PARAMETERS).unwrap_or_else(|error| panic!("{error}"));
    (start.elapsed(), image.words.len() * 4)
}

fn live(entry: usize) -> LiveInterface {
    LiveInterface {
        slot: entry as u16,
        ifindex: 2 + entry as u32,
        entry,
        addresses: Vec::new(),
        ethernet: true,
        delivers: false,
        pickup_until: 0,
    }
}

/// Resets the peak, so that it is not that of parsing; see proc(5), `/proc/PID/clear_refs`.
fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("proc is mounted");
}

/// KiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// One rule of many: its own prefix and port; a reference to a group in every hundredth.
fn rule(text: &mut String, index: usize, groups: usize) {
    let port = 1024 + index % 60_000;
    let peer = match index % 100 {
        99 => format!("groups = [\"group-{}\"]", index * 7 % groups),
        98 => format!("cidrs = [\"2001:db8:{index:x}::/48\"]"),
        _ => format!(
            "cidrs = [\"10.{}.{}.{}/28\"]",
            index >> 12 & 255,
            index >> 4 & 255,
            index % 16 * 16
        ),
    };
    let _ = writeln!(text, "  {{ protocol = \"tcp\", ports = {port}, {peer} }},");
}

/// `count` rules over groups of `per_group`, an interface for each group.
fn rules(count: usize, per_group: usize) -> String {
    let groups = count / per_group;
    let mut text = QUOTAS.to_owned();
    for group in 0..groups {
        let _ = writeln!(text, "[[security_group]]\nname = \"group-{group}\"\ningress = [");
        (group * per_group..(group + 1) * per_group)
            .for_each(|index| rule(&mut text, index, groups));
        text += "]\n";
        let _ = writeln!(
            text,
            "[[interface]]\nname = \"tap{group}\"\ngroups = [\"group-{group}\"]\n\
             addresses = [\"172.16.{}.{}\", \"fd00::{group:x}\"]",
            group >> 8,
            group & 255,
        );
    }
    text
}

/// As [`rules`], with a rule for a prefix that holds all the others in each group.
fn shared(count: usize, groups: usize) -> String {
    rules(count, count / groups).replace(
        "ingress = [\n",
        "ingress = [\n  { protocol = \"tcp\", ports = 22, cidrs = [\"10.0.0.0/8\"] },\n",
    )
}

/// A list of 100,000 prefixes that two rules name.
fn list(prefix: fn(usize) -> String) -> String {
    let mut text = format!(
        "{QUOTAS}[[interface]]\nname = \"tap0\"\ngroups = [\"a\"]\n\
         [[security_group]]\nname = \"a\"\ningress = [\n\
         {{ protocol = \"tcp\", ports = [22, 443], prefix_lists = [\"l\"] }},\n]\n\
         [[prefix_list]]\nname = \"l\"\nentries = [\n"
    );
    for index in 0..100_000 {
        let _ = writeln!(text, "\"{}\",", prefix(index));
    }
    text + "]\n"
}

/// Interfaces with a group each, of ten rules, half of which name other groups.
fn interfaces(count: usize) -> String {
    let mut text = QUOTAS.to_owned();
    for group in 0..count {
        let peers: Vec<_> =
            (1..6).map(|step| format!("\"group-{}\"", (group + step * 37) % count)).collect();
        let _ = writeln!(
            text,
            "[[security_group]]\nname = \"group-{group}\"\ningress = [\n\
             {{ protocol = \"tcp\", ports = {}, groups = [{}] }},\n\
             {{ protocol = \"tcp\", ports = [80, 443], cidrs = [\"0.0.0.0/0\", \"::/0\"] }},\n\
             {{ protocol = \"tcp\", ports = 22, cidrs = [\"10.{}.0.0/16\"] }},\n]\n\
             [[interface]]\nname = \"tap{group}\"\ngroups = [\"group-{group}\"]\n\
             addresses = [\"172.16.{}.{}\", \"fd00::{group:x}\"]",
            1024 + group,
            peers.join(", "),
            group & 255,
            group >> 8,
            group & 255,
        );
    }
    text
}

/// One interface of this host, which lets a group in, and `count` of other hosts in that group.
fn members(count: usize) -> String {
    let mut text = QUOTAS.to_owned()
        + "[[security_group]]\nname = \"web\"\ningress = [\n\
           { protocol = \"tcp\", ports = 22, cidrs = [\"192.0.2.0/24\"] },\n\
           { protocol = \"tcp\", ports = [80, 443], groups = [\"all\"] },\n]\n\
           [[security_group]]\nname = \"all\"\n\
           [[interface]]\nname = \"eth0\"\ngroups = [\"web\"]\n";
    for number in 0..count {
        let address =
            Ipv4Addr::from_bits((number as u32).wrapping_mul(0x9e37_79b1) >> 8 | 10 << 24);
        let _ = writeln!(
            text,
            "[[interface]]\nname = \"far{number}\"\ngroups = [\"all\"]\naddresses = [\"{address}\"]"
        );
    }
    text
}
