//! Two interfaces under the same rules, each with settings of its own, as a control plane with several
//! VPCs on a host has them.

use std::net::IpAddr;

use sg_policy::model::{FilterSettings, OnRevoke};
use sg_tests::differential::everywhere_with;

use super::{tcp::OPEN, *};
use Reason::{Exempt, Flow, FlowCut, NoRule, Related, Rule};

const DATAGRAM: Message = Message::Udp { remote: 4000, local: 53 };

const DEFAULT: FilterSettings =
    FilterSettings { related_icmp: true, on_revoke: OnRevoke::Keep, exempt_services: true };
const CUT: FilterSettings = FilterSettings { on_revoke: OnRevoke::Cut, ..DEFAULT };

/// The same on both interfaces, and what the packet in question gets on each.
#[track_caller]
fn on_each(
    script: &mut Script,
    gets: [Reason; 2],
    packet: impl Fn(&Script) -> (Direction, Vec<u8>),
) {
    for (interface, reason) in gets.into_iter().enumerate() {
        script.turn_to(interface);
        let (direction, packet) = packet(script);
        script.packet_gets(direction, &packet, reason);
    }
}

fn opens_on_both(script: &mut Script) {
    on_each(script, [Rule, Rule], |script| (In, script.packet(In, DATAGRAM)));
    on_each(script, [Flow, Flow], |script| (Out, script.packet(Out, DATAGRAM)));
}

/// An answer, which only a flow lets out.
fn answer(script: &Script) -> (Direction, Vec<u8>) {
    (Out, script.packet(Out, DATAGRAM))
}

/// "Unreachable", about what the instance has sent.
fn error(script: &Script) -> (Direction, Vec<u8>) {
    let kind = if script.at.instance.is_ipv4() { 3 } else { 1 };
    (In, super::icmp::error(script, In, kind, &script.packet(Out, DATAGRAM)))
}

/// From the instance to the metadata service.
fn to_metadata(script: &Script) -> (Direction, Vec<u8>) {
    let service: IpAddr = match script.at.instance {
        IpAddr::V4(_) => "169.254.169.254",
        IpAddr::V6(_) => "fd00:ec2::254",
    }
    .parse()
    .expect("an address");
    (Out, script.packet_with(service, Out, OPEN))
}

/// Only DNS from the remote network; a wider rule would let errors in as well.
const DNS: &str = r#"
[settings.tracking]
pickup = 0
[[security_group]]
name = "in"
ingress = [{ protocol = "udp", ports = 53, cidrs = ["10.9.0.0/24", "fd09::/64"] }]
egress = []
[[security_group]]
name = "none"
egress = []
"#;

#[test]
fn related_icmp_is_by_interface() {
    let off = FilterSettings { related_icmp: false, ..DEFAULT };
    everywhere_with(&[DEFAULT, off], &["in"], DNS, |script| {
        opens_on_both(script);
        on_each(script, [Related, NoRule], error);
        script.set_filters(&[off, DEFAULT]);
        script.apply(&["in"], DNS);
        on_each(script, [NoRule, Related], error);
        on_each(script, [Flow, Flow], answer);
    });
}

#[test]
fn exempt_services_are_by_interface() {
    let off = FilterSettings { exempt_services: false, ..DEFAULT };
    everywhere_with(&[off, DEFAULT], &["in"], DNS, |script| {
        on_each(script, [NoRule, Exempt], to_metadata);
        script.set_filters(&[DEFAULT, off]);
        script.apply(&["in"], DNS);
        // A call that was made goes on, as all flows do with "keep".
        on_each(script, [Exempt, Flow], to_metadata);
        script.flush();
        on_each(script, [Exempt, NoRule], to_metadata);
    });
}

#[test]
fn on_revoke_is_by_interface() {
    for filters in [[DEFAULT, CUT], [CUT, DEFAULT]] {
        let after = filters.map(|of| if of.on_revoke == OnRevoke::Cut { FlowCut } else { Flow });
        everywhere_with(&filters, &["in"], DNS, |script| {
            opens_on_both(script);
            script.apply(&["in"], DNS);
            on_each(script, [Flow, Flow], answer);
            script.apply(&["none"], DNS);
            on_each(script, after, answer);
            on_each(script, after, |script| (In, script.packet(In, DATAGRAM)));
        });
    }
}

/// The sweep after a change ends silent flows where they are cut, and leaves the others, also when the
/// rule is back before their next packet.
#[test]
fn a_sweep_is_by_interface() {
    for filters in [[DEFAULT, CUT], [CUT, DEFAULT]] {
        let after = filters.map(|of| if of.on_revoke == OnRevoke::Cut { FlowCut } else { Flow });
        everywhere_with(&filters, &["in"], DNS, |script| {
            opens_on_both(script);
            script.apply(&["none"], DNS);
            script.tick_passes();
            script.apply(&["in"], DNS);
            script.tick_passes();
            on_each(script, after, answer);
        });
    }
}

/// `flows flush --denied` is an order of its own, whatever a change of the rules would do.
#[test]
fn flush_denied_is_of_all_interfaces() {
    everywhere_with(&[DEFAULT, CUT], &["in"], DNS, |script| {
        opens_on_both(script);
        script.apply(&["none"], DNS);
        script.flush_denied();
        on_each(script, [FlowCut, FlowCut], answer);
    });
}

/// A flow that "cut" has ended stays ended; from then on the interface keeps flows.
#[test]
fn a_change_of_on_revoke_is_of_one_interface() {
    everywhere_with(&[CUT, CUT], &["in"], DNS, |script| {
        opens_on_both(script);
        script.set_filters(&[CUT, DEFAULT]);
        script.apply(&["none"], DNS);
        on_each(script, [FlowCut, Flow], answer);
        script.set_filters(&[DEFAULT, CUT]);
        script.apply(&["none"], DNS);
        on_each(script, [FlowCut, FlowCut], answer);
    });
}
