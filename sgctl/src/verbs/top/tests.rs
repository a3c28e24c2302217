use std::time::{Duration, Instant};

use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};
use sg_api::{
    Count, Counters, Explanation, FilterState, FlowRecord, FlowUse, InterfaceStatus, ShownRule,
    Status,
};

use super::{
    draw::draw,
    question,
    state::{Explained, News, Pane, State, Wish},
};

fn counters(allowed: u64, dropped: u64) -> Counters {
    let mut counters = Counters::default();
    let count = |packets| Count { packets, bytes: packets * 100 };
    counters.allowed.insert("flow".into(), count(allowed));
    counters.dropped.insert("no_rule".into(), count(dropped));
    counters
}

fn status(seconds: u64) -> Status {
    let interface = |ifindex: u32, name: &str, role: &str, datapath: &str| InterfaceStatus {
        others: Vec::new(),
        name: name.into(),
        ifindex,
        role: role.into(),
        state: FilterState::Filtered,
        fault: None,
        datapath: datapath.into(),
        datapath_reason: String::new(),
        groups: vec!["web".into()],
        ingress: counters(1000 * seconds * u64::from(ifindex), 50 * seconds),
        egress: counters(10 * seconds, 0),
        flows: FlowUse { used: 12, capacity: 524_288, max: 262_144 },
    };
    Status {
        version: "0.1.0".into(),
        pid: 1,
        revision: 7,
        kernel: "6.1".into(),
        confirm_until: None,
        rules: 9,
        interfaces: vec![interface(1, "eth0", "host", "xdp"), interface(2, "tap0", "port", "tcx")],
        control: None,
    }
}

fn record(interface: &str, action: &str, reason: &str, dport: u16, bytes: u64) -> FlowRecord {
    FlowRecord {
        action: Some(action.into()),
        reason: Some(reason.into()),
        direction: Some("ingress".into()),
        protocol: Some(6),
        src: Some([192, 0, 2, 1].into()),
        sport: Some(40_000),
        dst: Some([10, 0, 0, 5].into()),
        dport: Some(dport),
        packets: Some(bytes / 100),
        bytes: Some(bytes),
        ..FlowRecord::of(interface, 3600, 3725, "OK")
    }
}

/// Two seconds of traffic.
fn busy() -> State {
    let (mut state, began) = (State::new(), Instant::now());
    state.take(News::Status(status(0)), began);
    state.take(News::Status(status(2)), began + Duration::from_secs(2));
    let first = vec![record("tap0", "REJECT", "no_rule", 22, 300)];
    state.take(News::Records(first), began);
    let then = vec![
        record("eth0", "ACCEPT", "flow", 443, 1000),
        record("tap0", "ACCEPT", "flow", 80, 90_000),
        record("eth0", "REJECT", "not_syn", 25, 100),
    ];
    state.take(News::Records(then), began);
    state
}

fn press(state: &mut State, code: KeyCode) -> Wish {
    state.press(KeyEvent::new(code, KeyModifiers::NONE))
}

/// The screen without what is empty at the end of lines.
fn screen(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(frame, state)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let line = |y: u16| {
        let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        line.trim_end().to_owned() + "\n"
    };
    (0..height).map(line).collect()
}

#[test]
fn a_busy_host_on_a_small_screen() {
    let expected = "\
sg top  revision 7, 9 rules, 24 of 524k flows
Interfaces──────────────────────────────────────────────────────────────────────
                 ROLE  PATH  IN PKT/BIT/S    OUT PKT/BIT/S   DROP/S   FLOWS
eth0             host  xdp   1.0k/800k       10/8.0k         50       12
tap0             port  tcx   2.0k/1.6M       10/8.0k         50       12
Packets/s by reason───────────Busiest flows, bit/s──────────────────────────────
in  3.0k   flow               720k   tap0     tcp 192.0.2.1:40000 > 10.0.0.5:80
in  100    no_rule            8.0k   eth0     tcp 192.0.2.1:40000 > 10.0.0.5:443
out 20     flow
out 0      no_rule




Newest drops (UTC, packets)─────────────────────────────────────────────────────
01:02:05 eth0     in  1     not_syn      tcp 192.0.2.1:40000 > 10.0.0.5:25
01:02:05 tap0     in  3     no_rule      tcp 192.0.2.1:40000 > 10.0.0.5:22






Tab pane  Up/Down select  Enter explain/filter  p pause  Esc back  q quit
";
    let shown = screen(&busy(), 80, 24);
    assert_eq!(shown, expected, "\n{shown}");
}

/// Names that others choose show what is in them, and neither move nor hide anything.
#[test]
fn names_are_escaped() {
    let mut state = State::new();
    let name = "\x1b[2J\u{202e}t";
    let mut status = status(1);
    status.interfaces[0].name = name.into();
    state.take(News::Status(status), Instant::now());
    let record = record(name, "REJECT", "no_rule", 22, 1);
    state.take(News::Records(vec![record.clone()]), Instant::now());
    let shown = screen(&state, 100, 24);
    assert_eq!(shown.matches("\\u{1b}").count(), 2, "{shown}");
    assert!(shown.contains("\\u{1b}[2J\\u{202"), "{shown}");
    let answer = Err("gone\n\x1b[2J".to_owned());
    state.take(News::Explained(Explained { record, answer }.into()), Instant::now());
    let shown = screen(&state, 100, 24);
    assert!(shown.contains("\\u{1b}[2J\\u{202e}t ingress"), "{shown}");
    assert!(shown.lines().any(|line| line.contains("│\\u{1b}[2J ")), "{shown}");
}

#[test]
fn no_screen_is_too_small() {
    let mut state = busy();
    for (width, height) in [(1, 1), (5, 3), (20, 8), (80, 24), (300, 100)] {
        screen(&state, width, height);
    }
    let answer = Err("gone".to_owned());
    let explained = Explained { record: record("eth0", "REJECT", "not_syn", 25, 1), answer };
    state.take(News::Explained(explained.into()), Instant::now());
    for (width, height) in [(1, 1), (5, 3), (80, 24)] {
        screen(&state, width, height);
    }
}

#[test]
fn a_drop_is_explained() {
    let mut state = busy();
    press(&mut state, KeyCode::Tab);
    assert_eq!(state.pane, Pane::Flows);
    press(&mut state, KeyCode::Tab);
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::Down);
    let Wish::Explain(record) = press(&mut state, KeyCode::Enter) else { panic!("{state:?}") };
    assert_eq!(record.dport, Some(22), "the second of two");
    let asked = question(&record).expect("a question");
    assert_eq!((asked.interface.as_str(), asked.direction.as_str()), ("tap0", "ingress"));
    assert_eq!(
        (asked.protocol.as_str(), asked.sport, asked.dport),
        ("tcp", Some(40_000), Some(22))
    );
    let rule = ShownRule {
        id: "sgr-1".into(),
        group: "web".into(),
        direction: "ingress".into(),
        protocol: "tcp".into(),
        ports: "22".into(),
        peer: "192.0.2.0/24".into(),
        description: String::new(),
    };
    let answer = Explanation {
        verdict: "allow".into(),
        reason: "rule".into(),
        flow: None,
        rules: vec![rule],
    };
    let explained = Explained { record: *record, answer: Ok(answer) };
    state.take(News::Explained(explained.into()), Instant::now());
    let shown = screen(&state, 80, 24);
    for part in [
        "tap0 ingress tcp 192.0.2.1:40000 > 10.0.0.5:22",
        "REJECT then: no_rule, no rule of any group",
        "a packet like it now: allow: rule",
        "allowed by sgr-1: group web, ingress tcp 22 192.0.2.0/24",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert_eq!(press(&mut state, KeyCode::Char('q')), Wish::Nothing);
    assert!(state.explained.is_none(), "q leads back first");
    assert_eq!(press(&mut state, KeyCode::Char('q')), Wish::Quit);
}

#[test]
fn one_interface_alone() {
    let mut state = busy();
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.only.as_deref(), Some("tap0"));
    let shown = screen(&state, 80, 24);
    assert!(shown.contains("only tap0") && !shown.contains("10.0.0.5:443"), "{shown}");
    assert!(shown.contains("in  2.0k   flow"), "{shown}");
    press(&mut state, KeyCode::Esc);
    assert!(screen(&state, 80, 24).contains("10.0.0.5:443"));
}

#[test]
fn what_one_has_chosen_stays_chosen_as_drops_come() {
    let mut state = busy();
    press(&mut state, KeyCode::BackTab);
    press(&mut state, KeyCode::Down);
    state.take(News::Records(vec![record("eth0", "REJECT", "no_rule", 9, 1)]), Instant::now());
    let Wish::Explain(record) = press(&mut state, KeyCode::Enter) else { panic!("{state:?}") };
    assert_eq!(record.dport, Some(22));
}

#[test]
fn flows_are_those_of_the_last_second() {
    let (mut state, began) = (State::new(), Instant::now());
    let past = vec![record("a", "ACCEPT", "flow", 1, 1), record("a", "REJECT", "no_rule", 2, 1)];
    state.take(News::Past(past.clone()), began);
    assert_eq!((state.busiest.len(), state.drops.len()), (0, 1));
    state.take(News::Records(past), began);
    state.take(News::Status(status(1)), began + Duration::from_secs(1));
    assert_eq!(state.busiest.len(), 1);
    state.take(News::Status(status(2)), began + Duration::from_secs(4));
    assert_eq!((state.busiest.len(), state.drops.len()), (0, 2));
}

#[test]
fn a_pause_keeps_the_screen() {
    let mut state = busy();
    press(&mut state, KeyCode::Char('p'));
    let before = screen(&state, 80, 24);
    assert!(before.contains("PAUSED"));
    state.take(News::Status(status(9)), Instant::now());
    state.take(News::Records(Vec::new()), Instant::now());
    assert_eq!(screen(&state, 80, 24), before);
    state.take(News::Lost("the agent has ended".into()), Instant::now());
    assert!(screen(&state, 80, 24).contains("the agent has ended"));
    assert_eq!(state.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Wish::Quit);
}
