//! TCP in mid-stream: connections older than the filter.

use sg_common::flow::tcp::{FIN, RST};

use super::{
    tcp::{ACK, DATA, of},
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

#[test]
fn segments_that_the_rules_allow_are_picked_up() {
    everywhere(&["in"], WEB, |script| {
        // Not by the side whose segments the rules deny.
        script.get(&[(Out, DATA, NoRule), (In, DATA, Rule), (Out, DATA, Flow), (In, DATA, Flow)]);
        script.gets(In, tcp::segment(4000, 81, ACK), NoRule);
        script.seconds_pass(432_000);
        script.gets(Out, DATA, Flow);
    });
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
            script.gets(Out, DATA, NoRule);
        });
    }
    for (flags, seconds) in [(FIN | ACK, 120), (0, 60)] {
        everywhere(&["in"], WEB, |script| {
            script.gets(In, of(flags), Rule);
            script.seconds_pass(seconds);
            script.gets(Out, DATA, Flow);
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
        script.get(&[(Out, DATA, NoRule), (In, DATA, Rule), (Out, DATA, Flow)]);
        script.seconds_pass(30);
        script.gets(In, tcp::segment(4001, 80, ACK), NotSyn);
        // Not where there is none.
        script.apply(&["in"], &format!("[settings.tracking]\npickup = 0\n{WEB}"));
        script.flush();
        script.gets(In, DATA, NotSyn);
    });
}
