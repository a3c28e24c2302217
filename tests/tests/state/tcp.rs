//! The life of a TCP connection.

pub use sg_common::flow::tcp::ACK;
use sg_common::flow::tcp::{FIN, RST, SYN};

use super::*;
use Reason::{Flow, NoRule, NotSyn, Rule};
use sg_tests::{
    differential::PSH,
    probe::craft::{ISN, Numbers},
};

pub const fn segment(remote: u16, local: u16, flags: u8) -> Message {
    Message::Tcp { remote, local, flags }
}

/// A segment of the connection from port 4000 to 80.
pub const fn of(flags: u8) -> Message {
    segment(4000, 80, flags)
}

pub const OPEN: Message = of(SYN);
const ANSWER: Message = of(SYN | ACK);
pub const DATA: Message = of(ACK);
/// The same with data in it.
const BYTES: Message = of(ACK | PSH);
const END: Message = of(FIN | ACK);
const RESET: Message = of(RST);

/// A handshake.
pub fn connects(script: &mut Script) {
    script.get(&[(In, OPEN, Rule), (Out, ANSWER, Flow), (In, DATA, Flow)]);
}

#[test]
fn only_a_syn_opens_a_connection_and_only_its_segments_belong_to_it() {
    everywhere(&["in"], INBOUND, |script| {
        for flags in [ACK, SYN | ACK, FIN, FIN | ACK, RST, RST | ACK, SYN | FIN, SYN | RST, 0] {
            script.gets(In, of(flags), NotSyn);
            script.gets(Out, of(flags), NoRule);
        }
        connects(script);
        for flags in [ACK, SYN, SYN | ACK, 0] {
            script.get(&[(In, of(flags), Flow), (Out, of(flags), Flow)]);
        }
        for (remote, local) in [(4001, 80), (4000, 81), (80, 4000)] {
            script.gets(Out, segment(remote, local, ACK), NoRule);
            script.gets(In, segment(remote, local, ACK), NotSyn);
        }
        let other = script.packet_with(script.at.other, Out, DATA);
        script.packet_gets(Out, &other, NoRule);
    });
}

#[test]
fn idle_times() {
    let established = [(In, OPEN), (Out, ANSWER), (In, DATA)];
    let wide = INBOUND.replace("pickup = 0", "pickup = 0\ntcp_established = 1000");
    let short = "tracking = { tcp_established = 60 }\n";
    let narrow = "tracking = { tcp_established = 350 }\n";
    let with = |rules, entry, seconds| Lasts { rules, entry, packets: &established, seconds };
    last(&[
        lasts(&established[..1], 60),
        lasts(&established[..2], 60),
        // Neither side's repetition ends the handshake, nor does a segment without an answer before it.
        lasts(&[(In, OPEN), (In, OPEN), (In, DATA)], 60),
        lasts(&[(In, OPEN), (Out, ANSWER), (Out, ANSWER), (In, OPEN)], 60),
        lasts(&established, 432_000),
        with(INBOUND, narrow, 350),
        with(INBOUND, short, 60),
        with(&wide, "", 1000),
        with(&wide, narrow, 350),
    ]);
}

#[test]
fn ends_leave_two_minutes_and_resets_ten_seconds() {
    let open = [(In, OPEN), (Out, ANSWER), (In, DATA)];
    let ends: &[(&[_], u32)] = &[
        (&[(In, END)], 120),
        (&[(Out, END)], 120),
        // Simultaneous close: both ends cross.
        (&[(In, END), (Out, END), (In, DATA), (Out, DATA)], 120),
        (&[(In, RESET)], 10),
        (&[(Out, RESET)], 10),
        (&[(In, BYTES), (Out, RESET)], 10),
        (&[(Out, BYTES), (In, RESET)], 10),
        (&[(In, DATA), (Out, DATA), (In, RESET)], 10),
        // It has carried data both ways.
        (&[(In, BYTES), (Out, BYTES), (In, RESET)], 120),
        (&[(Out, BYTES), (In, BYTES), (Out, RESET), (In, RESET)], 120),
        (&[(In, END), (Out, RESET)], 120),
        // A segment of one side alone after a reset does not take it back.
        (&[(Out, RESET), (In, DATA), (In, END)], 10),
        (&[(Out, RESET), (Out, BYTES), (Out, DATA)], 10),
        (&[(Out, RESET), (In, DATA), (Out, RESET), (Out, DATA)], 10),
    ];
    let whole: Vec<_> =
        ends.iter().map(|(end, seconds)| ([&open, *end].concat(), *seconds)).collect();
    let mut cases: Vec<_> =
        whole.iter().map(|(packets, seconds)| lasts(packets, *seconds)).collect();
    // A shorter time for established ones does not cut the end short, nor does a longer one stretch it.
    let entry = "tracking = { tcp_established = 60 }\n";
    cases.push(Lasts { entry, ..lasts(&whole[0].0, 120) });
    // Closed before it was open.
    let closed = [(In, OPEN), (Out, END)];
    cases.push(lasts(&closed, 120));
    last(&cases);
}

#[test]
fn established_is_who_acknowledged_the_answer() {
    let numbered = |flags, sequence, acknowledges| Message::Numbered {
        flags,
        numbers: Numbers { sequence, acknowledges },
    };
    everywhere(&["in"], INBOUND, |script| {
        for sequence in [0, 1, ISN, 0x7fff_ffff, u32::MAX] {
            for (flags, above, established) in [
                (ACK, 1, true),
                (ACK | PSH, 65_535, true),
                (ACK, 0, false),
                (ACK, 65_536, false),
                (ACK, 0x8000_0001, false),
                (0, 1, false),
                (PSH, 1, false),
                (SYN, 1, false),
                (SYN | ACK, 1, false),
            ] {
                script.flush();
                script.gets(In, numbered(SYN, 77, 0), Rule);
                script.gets(Out, numbered(SYN | ACK, sequence, 78), Flow);
                // The answer's sender cannot acknowledge it.
                script.gets(Out, numbered(ACK, 78, sequence.wrapping_add(1)), Flow);
                script.gets(In, numbered(flags, 78, sequence.wrapping_add(above)), Flow);
                script.seconds_pass(61);
                script.gets(Out, DATA, if established { Flow } else { NoRule });
            }
        }
    });
}

#[test]
fn a_reset_before_it_is_established_ends_the_entry() {
    everywhere(&["in"], INBOUND, |script| {
        let begun = [(In, OPEN, Rule), (Out, ANSWER, Flow)];
        for before in [1, 2] {
            for (direction, reset) in
                [(In, RESET), (In, of(RST | ACK)), (Out, RESET), (Out, of(RST | ACK))]
            {
                script.get(&begun[..before]);
                script.gets(direction, reset, Flow);
                script.get(&[(In, DATA, NotSyn), (Out, DATA, NoRule), (Out, ANSWER, NoRule)]);
                connects(script);
                script.flush();
            }
        }
    });
}

#[test]
fn a_strangers_reset_or_end_leaves_the_idle_time_as_it_was() {
    for (direction, ending) in [(In, RESET), (Out, RESET), (In, END), (Out, END)] {
        everywhere(&["in"], INBOUND, |script| {
            connects(script);
            script.get(&[(In, BYTES, Flow), (Out, BYTES, Flow), (direction, ending, Flow)]);
            script.seconds_pass(119);
            for _ in 0..2 {
                script.get(&[(Out, BYTES, Flow), (In, BYTES, Flow)]);
            }
            script.seconds_pass(432_000);
            script.gets(Out, DATA, Flow);
        });
    }
}

#[test]
fn a_half_closed_connection_carries_data_the_other_way() {
    for (closes, sends) in [(In, Out), (Out, In)] {
        everywhere(&["in"], INBOUND, |script| {
            connects(script);
            script.gets(closes, END, Flow);
            for _ in 0..4 {
                script.seconds_pass(120);
                script.get(&[(sends, DATA, Flow), (closes, DATA, Flow)]);
            }
            script.get(&[(sends, END, Flow), (closes, DATA, Flow)]);
            script.seconds_pass(120);
            script.tick_passes();
            script.get(&[(In, DATA, NotSyn), (Out, DATA, NoRule), (Out, RESET, NoRule)]);
        });
    }
}

#[test]
fn simultaneous_open() {
    // Each side would be allowed to open it, or only the one whose SYN comes first.
    let both = INBOUND.replace(
        "egress = []",
        "egress = [{ protocol = \"tcp\", ports = 4000, cidrs = [\"10.9.0.0/24\", \"fd09::/64\"] }]",
    );
    let crossing = |first, second| {
        [(first, OPEN, Rule), (second, OPEN, Flow), (first, ANSWER, Flow), (second, ANSWER, Flow)]
    };
    for (rules, first, second) in [(INBOUND, In, Out), (&both, In, Out), (&both, Out, In)] {
        everywhere(&["in"], rules, |script| {
            // Half open until the opener says something else than SYN.
            script.get(&crossing(first, second));
            script.seconds_pass(60);
            script.gets(first, DATA, Flow);
            script.seconds_pass(432_000);
            script.get(&[(second, DATA, Flow), (first, DATA, Flow)]);
        });
    }
}

#[test]
fn a_syn_starts_a_closing_connection_over() {
    for ending in [END, RESET] {
        for ends in [In, Out] {
            everywhere(&["in"], INBOUND, |script| {
                connects(script);
                script.gets(ends, ending, Flow);
                script.seconds_pass(5);
                // Not from the side that may not, which leaves the entry as it is.
                script.gets(Out, OPEN, NoRule);
                script.gets(In, DATA, Flow);
                script.get(&[(In, OPEN, Rule), (Out, ANSWER, Flow)]);
                script.seconds_pass(60);
                script.gets(In, DATA, Flow);
                script.seconds_pass(432_000);
                script.gets(Out, DATA, Flow);
            });
        }
    }
}

/// RFC 5961, section 4: such a SYN is answered with a challenge, which has to pass.
#[test]
fn a_syn_on_an_open_connection_belongs_to_it() {
    everywhere(&["in"], INBOUND, |script| {
        connects(script);
        script.get(&[(In, OPEN, Flow), (Out, DATA, Flow)]);
        script.seconds_pass(432_000);
        // Then the peer that has forgotten it resets it, and opens it anew.
        script.get(&[(Out, OPEN, Flow), (In, RESET, Flow), (In, OPEN, Rule)]);
        script.seconds_pass(60);
        script.tick_passes();
        script.gets(In, DATA, NotSyn);
    });
}

#[test]
fn the_side_that_starts_it_over_is_the_opener() {
    let both = INBOUND.replace("egress = []", "");
    everywhere(&["in"], &both, |script| {
        connects(script);
        script.get(&[(Out, of(RST | ACK), Flow), (Out, OPEN, Rule)]);
        script.get(&[(In, ANSWER, Flow), (Out, DATA, Flow)]);
        script.seconds_pass(432_000);
        script.gets(In, DATA, Flow);
    });
}

#[test]
fn a_new_connection_on_the_ports_of_one_that_has_idled_out() {
    everywhere(&["in"], INBOUND, |script| {
        connects(script);
        script.gets(In, RESET, Flow);
        script.seconds_pass(10);
        script.tick_passes();
        script.get(&[(In, DATA, NotSyn), (Out, DATA, NoRule)]);
        connects(script);
    });
}
