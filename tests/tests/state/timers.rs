//! Idle times of what is not TCP.

use super::*;

const DATAGRAM: Message = Message::Udp { remote: 4000, local: 53 };

#[test]
fn udp_until_more_than_one_request_and_response() {
    const ASKS: (Direction, Message) = (In, DATAGRAM);
    const ANSWERS: (Direction, Message) = (Out, DATAGRAM);
    let entry = "tracking = { udp = 45, udp_stream = 61 }\n";
    let short: [&[_]; 5] = [
        &[ASKS],
        &[ASKS, ASKS, ASKS],
        &[ASKS, ANSWERS],
        &[ASKS, ANSWERS, ANSWERS, ANSWERS],
        &[ASKS, ASKS, ANSWERS, ASKS],
    ];
    let stream: [&[_]; 3] = [
        &[ASKS, ANSWERS, ASKS, ANSWERS],
        &[ASKS, ASKS, ANSWERS, ANSWERS],
        &[ASKS, ANSWERS, ANSWERS, ASKS],
    ];
    let mut cases = vec![];
    for packets in short {
        cases.extend([lasts(packets, 30), Lasts { entry, ..lasts(packets, 45) }]);
    }
    for packets in stream {
        cases.extend([lasts(packets, 180), Lasts { entry, ..lasts(packets, 61) }]);
    }
    last(&cases);
}

#[test]
fn each_packet_either_way_starts_the_idle_time_anew() {
    everywhere(&["in"], INBOUND, |script| {
        script.gets(In, DATAGRAM, Reason::Rule);
        for _ in 0..4 {
            script.seconds_pass(30);
            script.gets(In, DATAGRAM, Reason::Flow);
        }
        script.gets(Out, DATAGRAM, Reason::Flow);
        // A stream by its second answer, and no datagram later than that.
        script.seconds_pass(30);
        script.gets(Out, DATAGRAM, Reason::Flow);
        for direction in [Out, In, Out] {
            script.seconds_pass(180);
            script.gets(direction, DATAGRAM, Reason::Flow);
        }
        script.seconds_pass(180);
        script.tick_passes();
        script.get(&[(Out, DATAGRAM, Reason::NoRule), (In, DATAGRAM, Reason::Rule)]);
    });
}

/// GRE, ESP, SCTP, UDP-Lite, 253 for experiments: by addresses and protocol, for ten minutes.
#[test]
fn other_protocols() {
    let messages = [47, 50, 132, 136, 253].map(|protocol| Message::Other { protocol });
    let once = messages.map(|message| [(In, message)]);
    let often = messages.map(|message| [(In, message), (Out, message), (In, message)]);
    let cases = once.iter().map(|packets| lasts(packets, 600));
    last(&cases.chain(often.iter().map(|packets| lasts(packets, 600))).collect::<Vec<_>>());
    everywhere(&["in"], INBOUND, |script| {
        script.gets(In, Message::Other { protocol: 47 }, Reason::Rule);
        script.gets(Out, Message::Other { protocol: 50 }, Reason::NoRule);
        let other = script.packet_with(script.at.other, Out, Message::Other { protocol: 47 });
        script.packet_gets(Out, &other, Reason::NoRule);
    });
}

/// The other family's ICMP is a protocol like any other.
#[test]
fn icmp_of_the_other_family() {
    everywhere(&["in"], INBOUND, |script| {
        let protocol = if script.at.instance.is_ipv4() { 58 } else { 1 };
        let message = Message::Other { protocol };
        script.gets(In, message, Reason::Rule);
        script.seconds_pass(600);
        script.gets(Out, message, Reason::Flow);
        script.seconds_pass(600);
        script.tick_passes();
        script.gets(Out, message, Reason::NoRule);
    });
}
