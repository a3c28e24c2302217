//! The features of a frame, in the words of its first layers. A campaign fails if its generators
//! made a frame of some kind no more.

use super::case::{MAX_LINEAR, Via};

type Feature = &'static str;

/// All that a frame shows.
pub(super) fn of(frame: &[u8], ethernet: bool, via: Via) -> Vec<Feature> {
    let mut found = vec![];
    match via {
        Via::Xdp { linear: Some(_) } => found.push("several buffers"),
        Via::Tc { gso: true } => found.push("gso"),
        _ => {}
    }
    if frame.len() > MAX_LINEAR {
        found.push("jumbo");
    }
    let Some(packet) = below_link(&mut found, frame, ethernet) else { return found };
    match packet.first().map(|first| first >> 4) {
        Some(4) if packet.len() >= 28 => ipv4(&mut found, packet),
        Some(6) if packet.len() >= 48 => ipv6(&mut found, packet),
        _ => {}
    }
    found
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The packet, or `None` for what is no IP.
fn below_link<'a>(found: &mut Vec<Feature>, frame: &'a [u8], ethernet: bool) -> Option<&'a [u8]> {
    if !ethernet {
        found.push("no Ethernet header");
        return Some(frame);
    }
    let mut at = 12;
    let mut tags = 0;
    while frame.len() >= at + 6 && matches!(half(frame, at), 0x8100 | 0x88a8) {
        tags += 1;
        at += 4;
    }
    match tags {
        0 => {}
        1 => found.push("1 tag"),
        2 => found.push("2 tags"),
        _ => found.push("3 tags"),
    }
    if frame.len() < at + 2 {
        return None;
    }
    match half(frame, at) {
        0x0800 | 0x86dd => return Some(&frame[at + 2..]),
        0x0806 => found.push("arp"),
        0x9100 => found.push("a tag of another type"),
        _ => {}
    }
    None
}

fn ipv4(found: &mut Vec<Feature>, packet: &[u8]) {
    let header = usize::from(packet[0] & 15) * 4;
    if header > 20 {
        found.push("IPv4 options");
    }
    let field = half(packet, 6);
    match (field & 0x1fff, field & 0x2000) {
        (0, 0) => {}
        (0, _) => found.push("IPv4 first fragment"),
        _ => found.push("IPv4 later fragment"),
    }
    if field & 0xc000 != 0 {
        found.push("DF or reserved bit");
    }
    let is_error =
        packet[9] == 1 && packet.get(header).is_some_and(|kind| [3, 11, 12].contains(kind));
    if let Some(quote) = packet.get(header + 8..).filter(|quote| is_error && !quote.is_empty()) {
        found.push("IPv4 quote");
        if quote[0] & 15 > 5 {
            found.push("IPv4 options in a quote");
        }
    }
}

/// Extension headers up to a fragment's end, more than anyone walks, and what comes behind them.
fn ipv6(found: &mut Vec<Feature>, packet: &[u8]) {
    let (mut next, mut at, mut headers) = (packet[6], 40, 0);
    while is_extension(next) && packet.len() >= at + 8 && headers < 12 {
        headers += 1;
        let length = match next {
            44 => {
                found.push(match half(packet, at + 2) & 0xfff9 {
                    0 => "IPv6 atomic fragment",
                    1 => "IPv6 first fragment",
                    _ => "IPv6 later fragment",
                });
                8
            }
            51 => (usize::from(packet[at + 1]) + 2) * 4,
            _ => (usize::from(packet[at + 1]) + 1) * 8,
        };
        next = packet[at];
        at += length;
    }
    match headers {
        0 => {}
        8 => found.push("8 extension headers"),
        1..8 => found.push("1 to 7 extension headers"),
        _ => found.push("9 or more extension headers"),
    }
    let is_error = next == 58 && packet.get(at).is_some_and(|kind| (1..=4).contains(kind));
    if let Some(quote) = packet.get(at + 8..).filter(|quote| is_error && !quote.is_empty()) {
        found.push("IPv6 quote");
        if quote.get(6).is_some_and(|next| is_extension(*next)) {
            found.push("extension headers in a quote");
        }
    }
}

fn is_extension(number: u8) -> bool {
    matches!(number, 0 | 43 | 44 | 51 | 60)
}
