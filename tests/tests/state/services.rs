//! Exempt services: what the instance calls answers, and opens nothing by itself.

use std::net::IpAddr;

use sg_common::flow::tcp::{FIN, SYN};

use super::{
    tcp::{ACK, segment},
    *,
};
use Reason::{Exempt, Flow, FlowCut, NoRule, Untracked};

const CLOSED: &str = r#"
[settings.tracking]
pickup = 0
[[security_group]]
name = "in"
ingress = []
egress = []
"#;

fn metadata(script: &Script) -> IpAddr {
    let v4 = script.at.instance.is_ipv4();
    if v4 { "169.254.169.254" } else { "fd00:ec2::254" }.parse().expect("an address")
}

/// Between the metadata service and the instance.
#[track_caller]
fn gets(script: &mut Script, packets: &[(Direction, Message, Reason)]) {
    let service = metadata(script);
    for &(direction, message, reason) in packets {
        let packet = script.packet_with(service, direction, message);
        script.packet_gets(direction, &packet, reason);
    }
}

const QUERY: Message = Message::Udp { remote: 53, local: 4000 };

#[test]
fn answers_pass_as_the_flow_of_the_call() {
    everywhere(&["in"], CLOSED, |script| {
        gets(script, &[(In, QUERY, NoRule), (Out, QUERY, Exempt), (In, QUERY, Flow)]);
        gets(script, &[(In, Message::Udp { remote: 54, local: 4000 }, NoRule)]);
        gets(script, &[(In, Message::Udp { remote: 53, local: 4001 }, NoRule)]);
        script.seconds_pass(30);
        gets(script, &[(In, QUERY, Flow), (Out, QUERY, Exempt), (In, QUERY, Flow)]);
        // A stream by now.
        script.seconds_pass(180);
        gets(script, &[(In, QUERY, Flow)]);
        script.seconds_pass(180);
        script.tick_passes();
        gets(script, &[(In, QUERY, NoRule)]);
    });
}

#[test]
fn a_connection_to_a_service_lives_as_others_do() {
    let of = |flags| segment(80, 4000, flags);
    everywhere(&["in"], CLOSED, |script| {
        gets(script, &[(In, of(SYN), NoRule), (In, of(SYN | ACK), NoRule), (In, of(ACK), NoRule)]);
        // Nothing is kept of what opens nothing.
        gets(script, &[(Out, of(ACK), Exempt), (In, of(ACK), NoRule)]);
        gets(script, &[(Out, of(SYN), Exempt), (In, of(SYN | ACK), Flow), (Out, of(ACK), Exempt)]);
        script.seconds_pass(432_000);
        gets(script, &[(In, of(ACK), Flow), (Out, of(FIN | ACK), Exempt)]);
        script.seconds_pass(120);
        script.tick_passes();
        gets(script, &[(In, of(ACK), NoRule), (Out, of(SYN), Exempt), (In, of(SYN | ACK), Flow)]);
    });
}

/// A change of the rules does not take the call away, the end of the exemption does.
#[test]
fn cut_with_the_exemption() {
    let cut = CLOSED
        .replace("[settings.tracking]", "[settings]\non_revoke = \"cut\"\n[settings.tracking]");
    let without = cut.replace("[settings]\n", "[settings]\nexempt_services = false\n");
    everywhere(&["in"], &cut, |script| {
        gets(script, &[(Out, QUERY, Exempt)]);
        let other = cut.replace(
            "ingress = []",
            "ingress = [{ protocol = \"tcp\", ports = 1, cidrs = [\"10.9.0.0/24\"] }]",
        );
        script.apply(&["in"], &other);
        gets(script, &[(In, QUERY, Flow)]);
        script.flush_denied();
        gets(script, &[(In, QUERY, Flow)]);
        script.apply(&["in"], &without);
        gets(script, &[(In, QUERY, FlowCut), (Out, QUERY, FlowCut)]);
        script.apply(&["in"], &cut);
        gets(script, &[(Out, QUERY, Exempt), (In, QUERY, FlowCut)]);
        script.seconds_pass(30);
        script.tick_passes();
        gets(script, &[(In, QUERY, NoRule), (Out, QUERY, Exempt), (In, QUERY, Flow)]);
    });
}

/// Calls of an untracked service leave no entry, and need none.
#[test]
fn untracked_calls() {
    let open = CLOSED.replace(
        "ingress = []\negress = []",
        "ingress = [{ protocol = \"udp\", ports = \"all\", cidrs = [\"0.0.0.0/0\", \"::/0\"] }]\n\
         egress = [{ protocol = \"udp\", ports = 53, cidrs = [\"0.0.0.0/0\", \"::/0\"] }]",
    );
    everywhere(&["in"], &open, |script| {
        gets(script, &[(Out, QUERY, Exempt), (In, QUERY, Untracked)]);
    });
}

/// A session of before the filter goes on, whichever side speaks next.
#[test]
fn picked_up() {
    let rules = CLOSED.replace("pickup = 0", "pickup = 30");
    let of = |flags| segment(80, 4000, flags);
    for first in [In, Out] {
        everywhere(&["in"], &rules, |script| {
            let reason = |direction, passes| if direction == Out { Exempt } else { passes };
            let other = if first == In { Out } else { In };
            gets(script, &[(first, of(ACK), reason(first, Reason::Rule))]);
            gets(script, &[(other, of(ACK), reason(other, Flow)), (In, of(ACK), Flow)]);
            gets(script, &[(In, of(SYN), Flow)]);
            gets(script, &[(In, segment(80, 4001, SYN), NoRule)]);
        });
    }
}
