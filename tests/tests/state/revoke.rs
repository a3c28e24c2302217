//! Flows and changes of the rules: the table in docs/internals/changes.md.

use sg_common::flow::tcp::RST;

use super::{
    tcp::{DATA, OPEN, connects, of},
    *,
};
use Reason::{Flow, FlowCut, NoRule, NotSyn, Rule};

const DATAGRAM: Message = Message::Udp { remote: 4000, local: 53 };
const GRE: Message = Message::Other { protocol: 47 };

/// `on_revoke`, and two groups: `in` has everything from the remote network, `none` nothing.
fn rules(on_revoke: &str, peers: &str) -> String {
    format!(
        r#"
        [settings]
        on_revoke = "{on_revoke}"
        [settings.tracking]
        pickup = 0
        [[security_group]]
        name = "in"
        ingress = [{{ protocol = "all", cidrs = {peers} }}]
        egress = []
        [[security_group]]
        name = "none"
        egress = []
        "#
    )
}

const REMOTE: &str = r#"["10.9.0.0/24", "fd09::/64"]"#;
const WIDER: &str = r#"["10.0.0.0/8", "fd00::/8"]"#;
/// Not the remote machine's first address.
const OTHERS: &str = r#"["10.9.0.11/32", "fd09::11/128"]"#;

/// A flow of each kind, and one of an address that [`OTHERS`] has as well.
fn opens(script: &mut Script) -> Vec<u8> {
    connects(script);
    script.get(&[(In, DATAGRAM, Rule), (Out, DATAGRAM, Flow), (In, GRE, Rule)]);
    let other = script.packet_with(script.at.other, In, DATAGRAM);
    script.packet_gets(In, &other, Rule);
    other
}

fn have_flows(script: &mut Script) {
    for message in [DATA, DATAGRAM, GRE] {
        script.get(&[(In, message, Flow), (Out, message, Flow)]);
    }
}

fn are_cut(script: &mut Script) {
    for message in [DATA, DATAGRAM, GRE, of(RST)] {
        script.get(&[(In, message, FlowCut), (Out, message, FlowCut)]);
    }
    script.gets(In, OPEN, NoRule);
}

#[test]
fn a_rule_that_still_allows_the_opening_packet() {
    for on_revoke in ["keep", "cut"] {
        everywhere(&["in"], &rules(on_revoke, REMOTE), |script| {
            opens(script);
            script.seconds_pass(1);
            script.apply(&["in"], &rules(on_revoke, WIDER));
            have_flows(script);
            script.flush_denied();
            have_flows(script);
        });
    }
}

#[test]
fn keep_lets_flows_idle_out() {
    // The rules change, or the groups do.
    for (groups, peers) in [("in", OTHERS), ("none", REMOTE)] {
        everywhere(&["in"], &rules("keep", REMOTE), |script| {
            opens(script);
            script.seconds_pass(1);
            script.apply(&[groups], &rules("keep", peers));
            have_flows(script);
            script.gets(In, tcp::segment(4001, 80, tcp::ACK), NoRule);
            script.gets(In, tcp::segment(4001, 80, sg_common::flow::tcp::SYN), NoRule);
            script.seconds_pass(600);
            script.get(&[(Out, GRE, Flow), (Out, DATAGRAM, NoRule), (In, DATAGRAM, NoRule)]);
            script.seconds_pass(432_000);
            script.get(&[(Out, GRE, NoRule), (In, DATA, NoRule), (Out, DATA, NoRule)]);
        });
    }
}

#[test]
fn cut_ends_flows_at_once() {
    for (groups, peers, others) in [("in", OTHERS, Flow), ("none", REMOTE, FlowCut)] {
        everywhere(&["in"], &rules("cut", REMOTE), |script| {
            let other = opens(script);
            script.seconds_pass(1);
            script.apply(&[groups], &rules("cut", peers));
            are_cut(script);
            script.packet_gets(In, &other, others);
            // Also when the rules are back, until they idle out, or until a SYN.
            script.seconds_pass(20);
            script.apply(&["in"], &rules("cut", REMOTE));
            script.get(&[(In, DATA, FlowCut), (Out, OPEN, NoRule), (In, OPEN, Rule)]);
            script.seconds_pass(10);
            script.get(&[(In, DATAGRAM, FlowCut), (Out, DATAGRAM, FlowCut), (Out, DATA, Flow)]);
            script.tick_passes();
            script.get(&[(Out, DATAGRAM, NoRule), (In, DATAGRAM, Rule), (In, GRE, FlowCut)]);
            script.seconds_pass(570);
            script.tick_passes();
            script.gets(In, GRE, Rule);
        });
    }
}

#[test]
fn a_silent_flow_is_cut_by_each_of_several_changes() {
    everywhere(&["in"], &rules("cut", REMOTE), |script| {
        opens(script);
        script.seconds_pass(1);
        script.apply(&["none"], &rules("cut", REMOTE));
        script.seconds_pass(1);
        script.apply(&["in"], &rules("keep", REMOTE));
        are_cut_but_may_open(script);
    });
}

fn are_cut_but_may_open(script: &mut Script) {
    for message in [DATA, DATAGRAM, GRE] {
        script.get(&[(In, message, FlowCut), (Out, message, FlowCut)]);
    }
    connects(script);
}

#[test]
fn flush_denied_cuts_once_what_was_kept() {
    everywhere(&["in"], &rules("keep", REMOTE), |script| {
        let other = opens(script);
        script.seconds_pass(1);
        script.apply(&["in"], &rules("keep", OTHERS));
        have_flows(script);
        script.flush_denied();
        are_cut(script);
        script.packet_gets(In, &other, Flow);
        script.apply(&["none"], &rules("keep", OTHERS));
        script.packet_gets(In, &other, Flow);
    });
}

#[test]
fn an_interface_that_is_gone_takes_its_flows_along() {
    for on_revoke in ["keep", "cut"] {
        everywhere(&["in"], &rules(on_revoke, REMOTE), |script| {
            opens(script);
            script.interface_is_replaced(&["in"], &rules(on_revoke, REMOTE));
            for message in [DATA, DATAGRAM, GRE] {
                script.gets(Out, message, NoRule);
            }
            script.get(&[(In, DATA, NotSyn), (In, DATAGRAM, Rule), (In, GRE, Rule)]);
            connects(script);
        });
    }
}
