//! Services that are open to all are not tracked, and what becomes of that when the rules change.

use sg_common::flow::tcp::{ACK, SYN};

use super::{
    tcp::{DATA, OPEN, of},
    *,
};
use Reason::{Flow, NoRule, NotSyn, Rule, Untracked};

const ANYONE: &str = r#"cidrs = ["0.0.0.0/0", "::/0"]"#;
const SOME: &str = r#"cidrs = ["10.9.0.0/24", "fd09::/64"]"#;
const DATAGRAM: Message = Message::Udp { remote: 4000, local: 80 };

/// TCP and UDP on port 80 from these peers, everything out.
fn web(peers: &[&str]) -> String {
    let rule = |peer| {
        let rule = |protocol| format!("{{ protocol = \"{protocol}\", ports = 80, {peer} }},\n");
        rule("tcp") + &rule("udp")
    };
    let rules: String = peers.iter().map(rule).collect();
    format!(
        "[settings.tracking]\npickup = 0\n[[security_group]]\nname = \"in\"\ningress = [\n{rules}]\n"
    )
}

#[test]
fn neither_a_packet_nor_its_answer_makes_an_entry() {
    // A narrower rule beside the open one changes nothing.
    for peers in [&[ANYONE][..], &[SOME, ANYONE]] {
        everywhere(&["in"], &web(peers), |script| {
            for (direction, flags) in [(In, ACK), (Out, ACK), (In, SYN), (Out, SYN | ACK)] {
                script.gets(direction, of(flags), Untracked);
                script.gets(direction, DATAGRAM, Untracked);
            }
            // With an entry these would be its flow's.
            script.apply(&["in"], &web(&[SOME]).replace("ingress", "egress = []\ningress"));
            script.get(&[(Out, DATA, NoRule), (Out, DATAGRAM, NoRule)]);
            script.get(&[(In, DATA, NotSyn), (In, OPEN, Rule), (In, DATAGRAM, Rule)]);
        });
    }
}

#[test]
fn it_stops_with_its_rule_at_once() {
    for settings in ["", "[settings]\non_revoke = \"cut\"\n"] {
        let rules = |peers: &[&str]| format!("{settings}{}", web(peers));
        everywhere(&["in"], &rules(&[ANYONE]), |script| {
            script.get(&[(In, OPEN, Untracked), (In, DATAGRAM, Untracked)]);
            script.apply(&["in"], &rules(&[]));
            script.get(&[(In, DATA, NoRule), (In, DATAGRAM, NoRule), (Out, DATA, NotSyn)]);
        });
    }
}

#[test]
fn tracked_and_untracked_by_turns() {
    everywhere(&["in"], &web(&[SOME]), |script| {
        tcp::connects(script);
        script.gets(In, DATAGRAM, Rule);
        // Judged by the rules alone, the flow as it was.
        script.apply(&["in"], &web(&[ANYONE]));
        script.get(&[(In, DATA, Untracked), (Out, DATA, Untracked), (In, DATAGRAM, Untracked)]);
        script.gets(Out, of(sg_common::flow::tcp::RST), Untracked);
        script.seconds_pass(30);
        script.apply(&["in"], &web(&[SOME]));
        script.get(&[(In, DATA, Flow), (Out, DATA, Flow), (In, DATAGRAM, Flow)]);
        // It idles out, whatever passes untracked.
        script.apply(&["in"], &web(&[ANYONE]));
        script.seconds_pass(30);
        script.gets(In, DATAGRAM, Untracked);
        script.tick_passes();
        script.gets(In, DATAGRAM, Untracked);
        script.apply(&["in"], &web(&[SOME]));
        script.get(&[(In, DATAGRAM, Rule), (In, DATA, Flow)]);
    });
}

#[test]
fn the_other_direction_has_to_be_open_too() {
    let open = web(&[ANYONE]);
    let narrowed = open.replace(
        "ingress",
        "egress = [{ protocol = \"all\", cidrs = [\"10.9.0.0/24\", \"fd09::/64\"] }]\ningress",
    );
    everywhere(&["in"], &narrowed, |script| {
        script.get(&[(In, OPEN, Rule), (In, DATAGRAM, Rule), (Out, DATAGRAM, Flow)]);
        script.apply(&["in"], &open);
        script.get(&[(In, DATA, Untracked), (In, DATAGRAM, Untracked)]);
    });
}
