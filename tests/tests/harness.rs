//! The harness itself: without a filter everything passes, and without a listener nothing does.

use std::{fs, thread};

use sg_tests::{
    FAMILIES, NetNs, Role, Topology,
    probe::{Outcome, PATIENCE, SILENCE, icmp, raw, tcp, udp},
};

fn everything_passes(role: Role) {
    let Topology { remote, instance, router: _router } = Topology::new(role);
    for at in FAMILIES {
        let server = tcp::serve(&instance, at.instance_port(80));
        tcp::passes(&remote, at.remote, at.instance_port(80));
        tcp::passes(&remote, at.other, at.instance_port(80));
        let mut open = tcp::open(&remote, at.other, at.instance_port(80));
        drop(server);
        open.passes();
        assert_eq!(
            tcp::attempt(&remote, at.remote, at.instance_port(80), PATIENCE),
            Outcome::Refused
        );
        let _server = udp::serve(&remote, at.remote_port(53));
        udp::passes(&instance, at.instance, at.remote_port(53));
        icmp::passes(&remote, at.other, at.instance);
        icmp::passes(&instance, at.instance, at.remote);
        raw::passes(253, (&remote, at.other), (&instance, at.instance));
    }
}

#[test]
fn everything_passes_host() {
    everything_passes(Role::Host);
}

#[test]
fn everything_passes_port() {
    everything_passes(Role::Port);
}

/// Probes tell silence from a refusal: without a route back nothing answers.
#[test]
fn silence_is_seen() {
    let Topology { remote, instance, router: _router } = Topology::new(Role::Host);
    instance.ip("link set dev nic0 down");
    let at = FAMILIES[0];
    let outcome = icmp::ping(&remote, at.remote, at.instance, 1, SILENCE);
    assert_eq!(outcome, Outcome::Silent);
    tcp::is_dropped(&remote, at.remote, at.instance_port(80));
    udp::is_dropped(&remote, at.remote, at.instance_port(80));
    raw::is_dropped(253, (&remote, at.remote), (&instance, at.instance));
}

/// A sandbox's mounts are seen by no other thread, and a namespace's name goes with its guard.
#[test]
fn sandboxes_are_apart() {
    let names = || fs::read_dir("/run/netns").map_or(0, Iterator::count);
    let outside = names();
    let inside = thread::spawn(move || {
        let first = NetNs::new("one");
        let second = NetNs::new("one");
        assert_ne!(first.name(), second.name());
        assert_eq!(names(), 2);
        drop(first);
        names()
    });
    assert_eq!(inside.join().expect("no panic"), 1);
    assert_eq!(names(), outside);
}
