//! TCP in mid-stream: connections older than the filter.

use sg_common::flow::tcp::{FIN, RST, SYN};

use super::{
    tcp::{ACK, DATA, OPEN, of},
    *,
};
use Reason::{Flow, NoRule, NotSyn, Rule};

/// Port 80 may come in, where mid-stream segments are picked up for 30 s, the default.
const WEB: &str = r#"
[[security_group]]
name = "in"
ingress = [{ protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24", "fd09::/64"] }]
egress = []
"#;

/// Ports 4000 and 80 do not tell who opened the connection: the rules of either direction count.
#[test]
fn segments_that_the_rules_allow_are_picked_up() {
    for (first, second) in [(In, Out), (Out, In)] {
        everywhere(&["in"], WEB, |script| {
            script.get(&[(first, DATA, Rule), (first, DATA, Flow), (second, DATA, Flow)]);
            script.gets(In, tcp::segment(4000, 81, ACK), NoRule);
            script.gets(Out, tcp::segment(4000, 81, ACK), NoRule);
            script.seconds_pass(432_000);
            script.gets(second, DATA, Flow);
        });
    }
}

/// One side alone does not establish it.
#[test]
fn it_is_half_open_until_both_sides_have_spoken() {
    for first in [In, Out] {
        everywhere(&["in"], WEB, |script| {
            script.get(&[(first, DATA, Rule), (first, DATA, Flow), (first, of(SYN | ACK), Flow)]);
            script.seconds_pass(60);
            script.gets(first, DATA, Flow);
            script.seconds_pass(60);
            script.tick_passes();
            script.gets(first, DATA, if first == In { NotSyn } else { NoRule });
        });
    }
}

/// Where exactly one port is 32768 or higher, only the rules of that side's direction count.
#[test]
fn the_side_with_the_only_high_port_has_opened_it() {
    let rules = r#"
[[security_group]]
name = "in"
ingress = [
  { protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24", "fd09::/64"] },
  { protocol = "tcp", ports = 50000, cidrs = ["10.9.0.0/24", "fd09::/64"] },
]
egress = [{ protocol = "tcp", ports = 443, cidrs = ["10.9.0.0/24", "fd09::/64"] }]
"#;
    for first in [In, Out] {
        everywhere(&["in"], rules, |script| {
            for (remote, local, reason) in [
                // The remote side called port 80, or 22.
                (40_000, 80, Rule),
                (32_768, 80, Rule),
                (65_535, 80, Rule),
                (40_000, 22, NoRule),
                // It called from port 443, and no rule has port 81.
                (443, 81, Rule),
                (32_767, 81, NoRule),
                // The instance called port 443, or 444, or 80, and was not called on port 50000.
                (443, 40_000, Rule),
                (443, 32_768, Rule),
                (444, 40_000, NoRule),
                (444, 50_000, NoRule),
                // Its port 443 was called, from a high port.
                (40_000, 443, NoRule),
                // Both ports are high.
                (40_000, 50_000, Rule),
                (50_000, 40_000, NoRule),
            ] {
                let data = tcp::segment(remote, local, ACK);
                script.gets(first, data, reason);
                let then = if reason == Rule { Flow } else { reason };
                let other = if first == In { Out } else { In };
                script.gets(other, data, then);
            }
        });
    }
}

/// An entry that was picked up opens no port to a connection that begins, whichever side begins it and
/// whatever flags it adds.
#[test]
fn a_syn_on_it_is_judged_as_new() {
    for flags in [SYN, SYN | FIN, SYN | RST] {
        for first in [In, Out] {
            everywhere(&["in"], WEB, |script| {
                script.get(&[(first, DATA, Rule), (Out, of(flags), NoRule)]);
                script.gets(Out, tcp::segment(4001, 80, flags), NoRule);
                let other = if first == In { Out } else { In };
                script.gets(other, DATA, Flow);
            });
        }
    }
    // A SYN that the rules allow begins anew, and needs its own handshake.
    for first in [In, Out] {
        everywhere(&["in"], WEB, |script| {
            script.get(&[(first, DATA, Rule), (In, OPEN, Rule), (Out, of(SYN | ACK), Flow)]);
            script.seconds_pass(60);
            script.tick_passes();
            script.gets(Out, DATA, NoRule);
        });
    }
}

#[test]
fn for_as_long_as_the_settings_say_and_no_tick_longer() {
    for (seconds, settings) in [(30, ""), (1, "pickup = 1"), (3600, "pickup = 3600")] {
        let rules = format!("[settings.tracking]\n{settings}\n{WEB}");
        everywhere(&["in"], &rules, |script| {
            script.all_but_a_tick_passes(seconds);
            script.gets(In, DATA, Rule);
            script.tick_passes();
            script.get(&[(In, tcp::segment(4001, 80, ACK), NotSyn), (In, DATA, Flow)]);
        });
    }
    everywhere(&["in"], &format!("[settings.tracking]\npickup = 0\n{WEB}"), |script| {
        script.gets(In, DATA, NotSyn);
    });
}

/// Ticks are 32 bits: half a round later a signed difference takes what is long over for what is to come.
#[test]
fn it_does_not_begin_anew_when_ticks_come_round() {
    everywhere(&["in"], WEB, |script| {
        script.ticks_pass((1 << 31) + 100_000);
        script.gets(In, DATA, NotSyn);
        script.ticks_pass(1 << 30);
        script.gets(In, DATA, NotSyn);
    });
}

#[test]
fn what_is_picked_up_at_its_end_does_not_last() {
    for flags in [RST, RST | ACK] {
        everywhere(&["in"], WEB, |script| {
            script.gets(In, of(flags), Rule);
            script.seconds_pass(30);
            script.gets(Out, DATA, NoRule);
        });
    }
    for (flags, seconds) in [(FIN | ACK, 120), (0, 60)] {
        everywhere(&["in"], WEB, |script| {
            script.gets(In, of(flags), Rule);
            script.seconds_pass(seconds);
            script.gets(In, of(0), Flow);
            script.seconds_pass(seconds);
            script.tick_passes();
            script.gets(Out, DATA, NoRule);
        });
    }
}

#[test]
fn the_next_apply_ends_it() {
    everywhere(&["in"], WEB, |script| {
        script.gets(In, DATA, Rule);
        script.apply(&["in"], WEB);
        script.get(&[(In, tcp::segment(4001, 80, ACK), NotSyn), (In, DATA, Flow)]);
    });
}

#[test]
fn a_flush_forgets_all_and_opens_the_time_anew() {
    everywhere(&["in"], WEB, |script| {
        script.apply(&["in"], WEB);
        script.gets(In, DATA, NotSyn);
        tcp::connects(script);
        script.flush();
        script.get(&[(Out, DATA, Rule), (In, DATA, Flow), (Out, DATA, Flow)]);
        script.seconds_pass(30);
        script.gets(In, tcp::segment(4001, 80, ACK), NotSyn);
        // Not where there is none.
        script.apply(&["in"], &format!("[settings.tracking]\npickup = 0\n{WEB}"));
        script.flush();
        script.gets(In, DATA, NotSyn);
    });
}
