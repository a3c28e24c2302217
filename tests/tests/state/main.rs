//! State, packet by packet, by the loaded programs under a clock that the tests set. Tests cover
//! how a flow begins, which packets belong to it, its end to the very tick, and the effect of a
//! change of the rules.
//!
//! Each test is played in both families, in both roles, by XDP and by TC. The reference evaluator
//! plays it, too: it has to agree with every line, and to have the same flows in the end.

mod icmp;
mod pickup;
mod revoke;
mod services;
mod settings;
mod tcp;
mod timers;
mod untracked;

use sg_common::{Direction, Reason};
use sg_tests::differential::{Message, Script, everywhere};

use Direction::{Egress as Out, Ingress as In};

/// The remote side may come in; nothing may go out by itself.
const INBOUND: &str = r#"
[settings.tracking]
pickup = 0
[[security_group]]
name = "in"
ingress = [{ protocol = "all", cidrs = ["10.9.0.0/24", "fd09::/64"] }]
egress = []
"#;

/// After these packets, of which the first opens a flow, the flow lasts for so many seconds and no
/// tick longer.
struct Lasts<'a> {
    rules: &'a str,
    /// More lines of the interface's entry.
    entry: &'a str,
    packets: &'a [(Direction, Message)],
    seconds: u32,
}

#[track_caller]
fn last(cases: &[Lasts<'_>]) {
    everywhere(&["in"], INBOUND, |script| {
        for case in cases {
            for late in [false, true] {
                script.flush();
                script.apply_with(&["in"], case.rules, case.entry);
                for (number, (direction, message)) in case.packets.iter().enumerate() {
                    let reason = if number == 0 { Reason::Rule } else { Reason::Flow };
                    script.gets(*direction, *message, reason);
                }
                script.seconds_pass(case.seconds);
                if late {
                    script.tick_passes();
                }
                // Only its flow can carry what goes out.
                let answer = answer(script, case.packets[0].1);
                script.gets(Out, answer, if late { Reason::NoRule } else { Reason::Flow });
            }
        }
    });
}

/// Under the usual rules.
fn lasts(packets: &[(Direction, Message)], seconds: u32) -> Lasts<'_> {
    Lasts { rules: INBOUND, entry: "", packets, seconds }
}

/// The answer to a message, which would open nothing.
fn answer(script: &Script, message: Message) -> Message {
    match message {
        Message::Tcp { remote, local, .. } => tcp::segment(remote, local, tcp::ACK),
        Message::Query { kind, identifier } => {
            let reply = if script.at.instance.is_ipv4() { 0 } else { kind + 1 };
            Message::Query { kind: reply, identifier }
        }
        other => other,
    }
}
