//! Header and interface records.

use sg_common::{
    flow::Timeout,
    image::{MAX_PROBES, flags},
    usage::Allowance,
};

use super::*;
use crate::{
    compile::check::probes::address,
    model::{FilterSettings, OnRevoke},
};

#[test]
fn every_interface_is_found_and_no_other() {
    // One after the other, strewn, all at one place whatever the size, one too many at one place
    // until the hash has grown.
    let apart: u32 = 0x0e8b_2f51; // the inverse of the hash's factor
    let indexes: [Vec<u32>; 5] = [
        (1..=1000).collect(),
        (1..=1000).map(|index: u32| index.wrapping_mul(0x85eb_ca6b) & 0x7fff_ffff).collect(),
        (1..=MAX_PROBES).map(|low| apart.wrapping_mul(low)).collect(),
        (1..=MAX_PROBES + 1).map(|high| apart.wrapping_mul(high << 12)).collect(),
        vec![],
    ];
    for indexes in indexes {
        let (state, _) = parsed(
            "[[security_group]]\nname = \"a\"\n[[interface]]\nname = \"x*\"\ngroups = [\"a\"]",
        );
        let live: Vec<_> = indexes
            .iter()
            .enumerate()
            .map(|(at, ifindex)| LiveInterface {
                slot: (at * 3) as u16,
                ifindex: *ifindex,
                ..live(0)
            })
            .collect();
        let image = compiled(&state, &live);
        let view = image.view();
        for live in &live {
            let interface = CheckedInterface::of(&image, live.ifindex);
            assert_eq!(interface.slot(), u32::from(live.slot));
            assert_eq!(interface.record.ifindex(), live.ifindex);
        }
        for other in (1..3000).chain([u32::MAX, 0x7fff_ffff]) {
            assert_eq!(view.interface(other).is_some(), indexes.contains(&other), "{other}");
        }
        let slots = live.iter().map(|live| u32::from(live.slot) + 1).max().unwrap_or(0);
        assert_eq!(view.header().slots(), slots);
        // Slots that are not in use say so.
        for slot in (0..slots).filter(|slot| slot % 3 != 0) {
            assert!(view.slot(slot).is_none());
        }
    }
}

#[test]
fn interface_indexes_that_cannot_be_told_apart_are_an_error() {
    let (state, _) =
        parsed("[[security_group]]\nname = \"a\"\n[[interface]]\nname = \"x*\"\ngroups = [\"a\"]");
    let live: Vec<_> = (0..6).map(|slot| LiveInterface { slot, ifindex: 7, ..live(0) }).collect();
    let error = compile(&state, &live, &PARAMETERS).expect_err("no hash has room for these");
    assert!(matches!(error, CompileError::TooLarge { .. }));
}

/// Flags of settings that a file does not name.
const DEFAULTS: u32 = flags::RELATED_ICMP | flags::EXEMPT_SERVICES;

const TWO_ROLES: &str = r#"
    [settings.tracking]
    tcp_established = 1000
    udp = 40
    [[security_group]]
    name = "a"
    [[interface]]
    name = "tap0"
    role = "port"
    groups = ["a"]
    addresses = ["10.0.0.5", "10.0.0.6", "fd00::5", "fd00::ffff:ffff:ffff:ffff", "fd00:0:0:1::"]
    mac = "02:03:04:05:06:07"
    tracking = { tcp_established = 350, udp_stream = 100 }
    [[interface]]
    name = "eth0"
    groups = ["a"]
    addresses = ["10.0.0.9"]
    [[interface]]
    name = "tap1"
    role = "port"
    groups = ["a"]
"#;

#[test]
fn records_say_what_the_entry_says() {
    let (mut state, mut live) = parsed(TWO_ROLES);
    // The ends of the family, which the front end refuses.
    state.interfaces[0].addresses.extend(["0.0.0.0", "255.255.255.255"].map(address));
    live[1].ethernet = false;
    live[1].pickup_until = 4321;
    live[2].delivers = true;
    let image = compiled(&state, &live);
    let [port, host, open] = [10, 11, 12].map(|ifindex| CheckedInterface::of(&image, ifindex));
    assert_eq!(port.record.flags(), flags::PORT | flags::SOURCE_CHECK | flags::MAC | DEFAULTS);
    assert_eq!(host.record.flags(), flags::NO_ETHERNET | DEFAULTS);
    assert_eq!(open.record.flags(), flags::PORT | flags::DELIVERS | DEFAULTS);
    let sends = [port, host, open].map(|interface| flags::instance_sends(interface.record.flags()));
    assert_eq!(sends, [true, false, false]);
    let macs = [port, host, open].map(|interface| interface.record.mac());
    assert_eq!(macs, [Some([2, 3, 4, 5, 6, 7]), None, None]);
    assert_eq!([port, host].map(|interface| interface.record.pickup_until()), [0, 4321]);
    let own = [
        ("10.0.0.4", false),
        ("10.0.0.5", true),
        ("10.0.0.6", true),
        ("10.0.0.7", false),
        ("0.0.0.0", true),
        ("0.0.0.1", false),
        ("255.255.255.254", false),
        ("255.255.255.255", true),
        ("fd00::4", false),
        ("fd00::5", true),
        ("fd00::6", false),
        ("fd00::ffff:ffff:ffff:fffe", false),
        ("fd00::ffff:ffff:ffff:ffff", true),
        ("fd00:0:0:1::", true),
        ("fd00:0:0:1::1", false),
        ("::", false),
        // The same number in the other family.
        ("::a00:5", false),
    ];
    for (text, is_own) in own {
        assert_eq!(port.owns(address(text)), is_own, "{text}");
        assert!(!host.owns(address(text)) && !open.owns(address(text)), "{text}");
    }
}

#[test]
fn timeouts_are_in_ticks() {
    let (state, live) = parsed(TWO_ROLES);
    let image = compiled(&state, &live);
    let seconds = |ifindex| {
        let record = CheckedInterface::of(&image, ifindex).record;
        [
            Timeout::TcpOpening,
            Timeout::TcpEstablished,
            Timeout::TcpClosing,
            Timeout::TcpReset,
            Timeout::Udp,
            Timeout::UdpStream,
            Timeout::Icmp,
            Timeout::Other,
            Timeout::Fragment,
        ]
        .map(|timeout| record.timeout(timeout) / 20)
    };
    assert_eq!(seconds(10), [60, 350, 120, 10, 40, 100, 30, 600, 30]);
    assert_eq!(seconds(11), [60, 1000, 120, 10, 40, 180, 30, 600, 30]);
    // Not whole ticks in a second: 15.625 a second, 432000 s.
    let state = DesiredState { settings: Default::default(), ..state };
    let parameters = Parameters { ticks_per_1000s: 15_625, ..PARAMETERS };
    let image = compile(&state, &live, &parameters).expect("it fits");
    let record = CheckedInterface::of(&image, 12).record;
    assert_eq!(record.timeout(Timeout::TcpReset), 156);
    assert_eq!(record.timeout(Timeout::TcpEstablished), 15_625);
}

#[test]
fn each_record_carries_its_interfaces_settings() {
    let (mut state, mut live) = parsed(TWO_ROLES);
    live.swap(0, 2);
    let settings = |related_icmp, on_revoke, exempt_services| FilterSettings {
        related_icmp,
        on_revoke,
        exempt_services,
    };
    let of_all = [
        settings(true, OnRevoke::Keep, false),
        settings(false, OnRevoke::Cut, true),
        settings(false, OnRevoke::Keep, true),
    ];
    for (entry, filter) in of_all.into_iter().enumerate() {
        state.interfaces[entry].filter = filter;
    }
    // The settings of the file are not looked at.
    state.settings.filter = settings(true, OnRevoke::Cut, false);
    let parameters = Parameters { cut_since: 42, ..PARAMETERS };
    let mut image = compile(&state, &live, &parameters).expect("it fits");
    let read = |image: &Image| {
        [10, 11, 12].map(|ifindex| {
            let record = CheckedInterface::of(image, ifindex).record;
            let has = |flag: u32| record.flags() & flag != 0;
            (has(flags::RELATED_ICMP), record.cut_since(), has(flags::EXEMPT_SERVICES))
        })
    };
    assert_eq!(read(&image), [(true, None, false), (false, Some(42), true), (false, None, true)]);
    let before = image.clone();
    image.set_cut_since(0);
    assert_eq!(read(&image)[1].1, Some(0));
    // Nothing else has changed.
    image.set_cut_since(42);
    assert_eq!(image, before);
}

/// One compiler keeps nothing of an interface's settings in its record.
#[test]
fn settings_of_the_next_state_replace_those_before() {
    let (mut state, live) = parsed(TWO_ROLES);
    let mut compiler = Compiler::default();
    for (related_icmp, on_revoke) in
        [(true, OnRevoke::Cut), (false, OnRevoke::Keep), (true, OnRevoke::Keep)]
    {
        state.interfaces[1].filter.related_icmp = related_icmp;
        state.interfaces[1].filter.on_revoke = on_revoke;
        let image = compiler.compile(&state, &live, &PARAMETERS).expect("it fits");
        assert_eq!(image, compiled(&state, &live));
    }
}

#[test]
fn the_header_carries_the_revision() {
    let (state, live) = parsed(TWO_ROLES);
    assert_eq!(compiled(&state, &live).view().header().revision(), PARAMETERS.revision);
}

#[test]
fn an_allowance_is_by_the_number_of_interfaces() {
    let rules = |own: &str, entries: usize| {
        let entry = |number| {
            let own = if number == 0 { own } else { "" };
            format!("[[interface]]\nname = \"tap{number}\"\ngroups = [\"a\"]\n{own}\n")
        };
        let entries: String = (0..entries).map(entry).collect();
        format!("[[security_group]]\nname = \"a\"\n{entries}")
    };
    let flows = "tracking = { max_flows = 500 }";
    let share = "tracking = { max_flows = \"25%\" }";
    let whole = "tracking = { max_flows = \"100%\" }";
    for (own, entries, first, fragments) in [
        ("", 1, Allowance::ALL, Allowance::ALL),
        ("", 2, Allowance::HALF, Allowance::HALF),
        (flows, 1, Allowance::lanes(500), Allowance::ALL),
        (flows, 3, Allowance::lanes(500), Allowance::HALF),
        (share, 1, Allowance::percent(25), Allowance::ALL),
        (whole, 2, Allowance::ALL, Allowance::HALF),
    ] {
        let (state, live) = parsed(&rules(own, entries));
        let image = compiled(&state, &live);
        let record =
            |number: u32| image.view().interface(10 + number).expect("it is filtered").record;
        assert_eq!(record(0).max_flows(), first, "{own} of {entries}");
        assert_eq!(record(0).max_fragmented(), fragments, "{own} of {entries}");
        if entries > 1 {
            assert_eq!(record(1).max_flows(), Allowance::HALF);
        }
    }
}
