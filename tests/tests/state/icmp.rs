//! ICMP: queries, and errors about packets of flows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sg_tests::probe::craft::Path;

use super::{
    tcp::{DATA, OPEN, connects},
    *,
};
use Reason::{Flow, NoRule, Related, Rule, Untracked};

/// Everything but ICMP from the remote network, echo requests too, and so out.
const PEERS: &str = r#"
[settings.tracking]
pickup = 0
[[security_group]]
name = "in"
ingress = [
  { protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24", "fd09::/64"] },
  { protocol = "udp", ports = 53, cidrs = ["10.9.0.0/24", "fd09::/64"] },
  { protocol = 47, cidrs = ["10.9.0.0/24", "fd09::/64"] },
  { protocol = "icmp", type = 8, cidrs = ["10.9.0.0/24"] },
  { protocol = "icmpv6", type = 128, cidrs = ["fd09::/64"] },
]
egress = [
  { protocol = "udp", ports = 4001, cidrs = ["10.9.0.0/24", "fd09::/64"] },
  { protocol = "icmp", type = 8, cidrs = ["10.9.0.0/24"] },
  { protocol = "icmpv6", type = 128, cidrs = ["fd09::/64"] },
]
"#;

const DATAGRAM: Message = Message::Udp { remote: 4000, local: 53 };
const GRE: Message = Message::Other { protocol: 47 };

fn echo(script: &Script, identifier: u16) -> Message {
    let (_, kind) = script.at.icmp();
    Message::Query { kind, identifier }
}

fn reply(script: &Script, identifier: u16) -> Message {
    super::answer(script, echo(script, identifier))
}

#[test]
fn an_echo_and_its_replies() {
    everywhere(&["in"], PEERS, |script| {
        let [ours, theirs] =
            [1, 2].map(|identifier| (echo(script, identifier), reply(script, identifier)));
        // A reply that nobody asked for.
        script.get(&[(In, theirs.1, NoRule), (Out, theirs.1, NoRule)]);
        script.get(&[(In, ours.0, Rule), (In, ours.0, Flow), (Out, ours.1, Flow)]);
        script.get(&[(Out, theirs.1, NoRule), (In, ours.1, NoRule)]);
        let other = script.packet_with(script.at.other, Out, ours.1);
        script.packet_gets(Out, &other, NoRule);
        script.seconds_pass(30);
        script.gets(Out, ours.1, Flow);
        script.seconds_pass(30);
        script.tick_passes();
        script.get(&[(Out, ours.1, NoRule), (In, ours.0, Rule)]);
    });
}

#[test]
fn the_same_identifier_from_both_sides_is_two_flows() {
    everywhere(&["in"], PEERS, |script| {
        let (echo, reply) = (echo(script, 7), reply(script, 7));
        script.get(&[(In, echo, Rule), (In, reply, NoRule), (Out, echo, Rule)]);
        script.get(&[(In, reply, Flow), (Out, reply, Flow)]);
        // Each idles out by itself.
        script.seconds_pass(20);
        script.gets(Out, reply, Flow);
        script.seconds_pass(11);
        script.get(&[(In, reply, NoRule), (Out, reply, Flow)]);
    });
}

/// Types of errors, and some of other messages.
fn kinds(script: &Script) -> (&'static [u8], &'static [u8]) {
    if script.at.instance.is_ipv4() {
        (&[3, 11, 12], &[4, 5, 9, 30])
    } else {
        (&[1, 2, 3, 4], &[5, 100, 127, 138])
    }
}

/// From a router that no rule knows, or from the instance to the remote machine.
pub(super) fn error(script: &Script, direction: Direction, kind: u8, quoted: &[u8]) -> Vec<u8> {
    let router = match script.at.instance {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9)),
    };
    let path = match direction {
        In => Path { source: router, destination: script.at.instance },
        Out => Path { source: script.at.instance, destination: script.at.remote },
    };
    let rest = [&[0; 4], quoted].concat();
    path.packet(path.icmp_protocol(), &path.icmp(kind, &rest))
}

fn opens(script: &mut Script) {
    connects(script);
    let (echo, asked) = (echo(script, 7), Message::Udp { remote: 4001, local: 9 });
    script.get(&[(In, DATAGRAM, Rule), (In, GRE, Rule), (In, echo, Rule), (Out, asked, Rule)]);
}

/// The packets sent in `direction` that an error may quote.
fn sent(script: &Script, direction: Direction) -> Vec<Message> {
    let asked = Message::Udp { remote: 4001, local: 9 };
    let query = if direction == In { echo(script, 7) } else { reply(script, 7) };
    vec![DATA, DATAGRAM, GRE, query, asked]
}

#[test]
fn errors_pass_that_quote_a_packet_of_a_flow() {
    everywhere(&["in"], PEERS, |script| {
        opens(script);
        let header = if script.at.instance.is_ipv4() { 20 } else { 40 };
        let (errors, others) = kinds(script);
        for (direction, back) in [(In, Out), (Out, In)] {
            for message in sent(script, back) {
                let quoted = script.packet(back, message);
                // All that RFC 792 promises, and more.
                for quoted in [&quoted[..header + 8], &quoted] {
                    for &kind in errors {
                        let error = error(script, direction, kind, quoted);
                        script.packet_gets(direction, &error, Related);
                    }
                }
                for &kind in others {
                    let other = error(script, direction, kind, &quoted);
                    script.packet_gets(direction, &other, NoRule);
                }
            }
        }
    });
}

/// They touch nothing: what they quote idles out as if they had not come.
#[test]
fn an_error_keeps_no_flow_alive() {
    everywhere(&["in"], PEERS, |script| {
        opens(script);
        let (errors, _) = kinds(script);
        let quoted = script.packet(Out, DATAGRAM);
        let error = error(script, In, errors[0], &quoted);
        for _ in 0..2 {
            script.seconds_pass(15);
            script.packet_gets(In, &error, Related);
        }
        script.tick_passes();
        script.packet_gets(In, &error, NoRule);
        script.gets(Out, DATAGRAM, NoRule);
    });
}

#[test]
fn forged_quotes_pass_nothing_and_make_no_state() {
    everywhere(&["in"], PEERS, |script| {
        opens(script);
        let (errors, _) = kinds(script);
        let at = script.at;
        let udp = |remote, local| Message::Udp { remote, local };
        let mut quotes = vec![
            // Wrong ports, protocol, identifier; what nobody sent.
            script.packet(Out, tcp::segment(4000, 81, tcp::ACK)),
            script.packet(Out, tcp::segment(4001, 80, tcp::ACK)),
            script.packet(Out, tcp::segment(80, 4000, tcp::ACK)),
            script.packet(Out, udp(4000, 80)),
            script.packet(Out, udp(4002, 53)),
            script.packet(Out, reply(script, 8)),
            script.packet(Out, echo(script, 7)),
            script.packet(Out, Message::Other { protocol: 50 }),
            // Wrong addresses, direction.
            script.packet_with(at.other, Out, DATA),
            script.packet_with(at.other, Out, GRE),
            script.packet(In, DATA),
            script.packet(In, DATAGRAM),
            Path { source: at.other, destination: at.remote }.packet(47, &[7; 16]),
            // No whole ports.
            script.packet(Out, DATA)[..if at.instance.is_ipv4() { 27 } else { 47 }].to_vec(),
            vec![],
            b"no packet at all, nor the beginning of one, whatever".to_vec(),
        ];
        // A later fragment, whose bytes read as ports.
        let path = Path { source: at.instance, destination: at.remote };
        quotes.push(path.fragment(17, 1, 8, true, &path.udp(53, 4000, &[0; 8])));
        for quoted in &quotes {
            for &kind in errors {
                let error = error(script, In, kind, quoted);
                script.packet_gets(In, &error, NoRule);
            }
        }
        // To somebody else than who sent what is quoted.
        let quoted = script.packet(Out, DATAGRAM);
        let rest = [&[0; 4], &quoted[..]].concat();
        let path = Path { source: at.remote, destination: at.other };
        let astray = path.packet(path.icmp_protocol(), &path.icmp(errors[0], &rest));
        script.packet_gets(In, &astray, NoRule);
        // Nothing that was quoted is a flow now.
        script.get(&[(Out, udp(4000, 80), NoRule), (Out, udp(4002, 53), NoRule)]);
        script.get(&[
            (Out, Message::Other { protocol: 50 }, NoRule),
            (Out, reply(script, 8), NoRule),
        ]);
    });
}

/// Else the rules decide; and always, where errors are not related to flows.
#[test]
fn rules_for_errors() {
    let unrelated = format!("[settings]\nrelated_icmp = false\n{PEERS}");
    let all_icmp = r#"
        [[security_group]]
        name = "errors"
        ingress = [
          { protocol = "icmp", cidrs = ["0.0.0.0/0"] },
          { protocol = "icmpv6", cidrs = ["::/0"] },
        ]
        egress = []
    "#;
    everywhere(&["in"], &unrelated, |script| {
        opens(script);
        let (errors, others) = kinds(script);
        let quoted = script.packet(Out, DATA);
        for &kind in errors {
            let error = error(script, In, kind, &quoted);
            script.packet_gets(In, &error, NoRule);
        }
        script.apply(&["in", "errors"], &format!("{unrelated}{all_icmp}"));
        for &kind in errors.iter().chain(others) {
            let error = error(script, In, kind, &quoted);
            script.packet_gets(In, &error, Rule);
        }
        script.apply(&["in", "errors"], &format!("{PEERS}{all_icmp}"));
        for &kind in errors {
            let [related, forged] =
                [&quoted[..], b"nothing"].map(|quoted| error(script, In, kind, quoted));
            script.packet_gets(In, &related, Related);
            script.packet_gets(In, &forged, Rule);
        }
        script.gets(Out, DATA, Flow);
    });
}

/// A flow that was cut has ended, and so have errors about it; untracked services have them, too.
#[test]
fn errors_about_cut_flows_and_untracked_services() {
    let cut = format!("[settings]\non_revoke = \"cut\"\n{PEERS}");
    let none = "[settings]\non_revoke = \"cut\"\n[[security_group]]\nname = \"in\"\negress = []\n";
    let open = r#"
        [[security_group]]
        name = "in"
        ingress = [{ protocol = "tcp", ports = 80, cidrs = ["0.0.0.0/0", "::/0"] }]
    "#;
    everywhere(&["in"], &cut, |script| {
        opens(script);
        let (errors, _) = kinds(script);
        let [quoted, other] =
            [DATA, tcp::segment(4000, 81, tcp::ACK)].map(|message| script.packet(Out, message));
        let [about, not] = [quoted, other].map(|quoted| error(script, In, errors[0], &quoted));
        script.packet_gets(In, &about, Related);
        script.apply(&["in"], none);
        script.packet_gets(In, &about, NoRule);
        script.apply(&["in"], open);
        script.packet_gets(In, &about, Related);
        script.packet_gets(In, &not, NoRule);
        script.gets(In, OPEN, Untracked);
    });
}
