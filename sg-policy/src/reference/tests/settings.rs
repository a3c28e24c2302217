//! Settings are those of the packet's interface.

use super::{frames::*, *};
use crate::model::OnRevoke;
use Reason::{Exempt, Flow, FlowCut, NoRule, Related, Rule as Allowed};

/// The interface with the settings of a file, and the other one.
const OTHER: u32 = IFINDEX + 1;

fn host(change: impl Fn(&mut FilterSettings)) -> Host {
    let mut state = state(&[(udp_port(53), "192.0.2.0/24")], &[]);
    state.interfaces.push(interface("eth1", Role::Host, &["web"]));
    change(&mut state.interfaces[1].filter);
    Host::new(state)
}

/// Checks the packet's reasons on both interfaces.
#[track_caller]
fn check(host: &mut Host, direction: Direction, ip: &Ip, expected: [Reason; 2]) {
    for (ifindex, expected) in [IFINDEX, OTHER].into_iter().zip(expected) {
        host.check_on(ifindex, direction, &ip.frame(), expected);
    }
}

#[test]
fn related_icmp() {
    let mut host = host(|filter| filter.related_icmp = false);
    check(&mut host, I, &udp("192.0.2.1:9", "10.0.0.5:53"), [Allowed, Allowed]);
    let sent = udp("10.0.0.5:53", "192.0.2.1:9");
    check(&mut host, E, &sent, [Flow, Flow]);
    let error = icmp_error("203.0.113.9", "10.0.0.5", 3, &sent.bytes());
    check(&mut host, I, &error, [Related, NoRule]);
}

#[test]
fn exempt_services() {
    let mut host = host(|filter| filter.exempt_services = false);
    check(&mut host, E, &udp("10.0.0.5:9", "169.254.169.254:80"), [Exempt, NoRule]);
}

#[test]
fn on_revoke() {
    let mut host = host(|filter| filter.on_revoke = OnRevoke::Cut);
    let request = udp("192.0.2.1:9", "10.0.0.5:53");
    check(&mut host, I, &request, [Allowed, Allowed]);
    host.apply(|state| state.groups[0] = group("web", &[], &[]));
    host.check_states(&["new", "cut"]);
    check(&mut host, I, &request, [Flow, FlowCut]);
    host.evaluator.flush_denied(host.now);
    check(&mut host, I, &request, [FlowCut, FlowCut]);
}
