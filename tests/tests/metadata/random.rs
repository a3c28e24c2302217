//! Random frames with random words beside them, by a tap, against the reference evaluator.

use std::{env, time::SystemTime};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use sg_common::{Direction, Reason};
use sg_policy::{
    model::LiveInterface,
    reference::{
        Evaluator, Metadata, Packet,
        generate::random_frame,
        metadata::{Kind, Segments},
    },
};
use sg_tests::{
    Counts,
    differential::fewer,
    probe::vnet::{Header, TCP4, TCP6, UFO, USO},
};

use crate::site::{NOTHING, Site};

/// No flows: each frame is judged by itself.
const SETTINGS: &str = "[settings]\nexempt_services = false\n";
const IFINDEX: u32 = 7;
const TICKS_PER_1000S: u32 = 250_000;

/// Kinds of segments, with the bytes of a transport header that each presumes.
const KINDS: [(u8, Kind, usize); 4] = [
    (TCP4, Kind::Tcp4, 20),
    (TCP6, Kind::Tcp6, 20),
    (USO, Kind::Udp, 8),
    (UFO, Kind::UdpFragments, 8),
];

/// Offsets of a checksum in transport headers, and others.
const OFFSETS: [u16; 6] = [16, 6, 2, 8, 0, 14];

/// A header that a guest may send with a frame of `length` bytes.
fn random_header(rng: &mut SmallRng, length: usize) -> Header {
    let length = u16::try_from(length).expect("frames are short");
    if rng.random_ratio(1, 8) {
        return Header::default();
    }
    let at = if rng.random() { rng.random_range(0..length) } else { rng.random_range(14..100) };
    let offset = *OFFSETS.choose(rng).expect("offsets");
    let segments = rng.random_ratio(1, 3).then(|| {
        let (kind, ..) = *KINDS.choose(rng).expect("kinds");
        let size = if rng.random() { rng.random_range(1..12) } else { rng.random_range(12..1500) };
        (kind, rng.random_range(14..length.max(15)), size)
    });
    Header { unfinished: Some((at.saturating_sub(offset), offset)), segments }
}

/// Judges the frame and its header as TC has them. The kernel has taken off a VLAN tag. A frame that is too
/// short to be cut is no GSO packet (`virtio_net_hdr_to_skb`).
fn expected(evaluator: &mut Evaluator, header: Header, frame: &[u8]) -> Option<Reason> {
    let unfinished = header.unfinished.map(|(start, offset)| u32::from(start) + u32::from(offset));
    let segments = header.segments.and_then(|(kind, _, size)| {
        let (start, _) = header.unfinished?;
        let (_, kind, headers) = KINDS.into_iter().find(|(number, ..)| *number == kind)?;
        let payload = match kind {
            // The size may include the header.
            Kind::UdpFragments => frame.len() - usize::from(start),
            _ => frame.len() - usize::from(start) - headers,
        };
        (payload > usize::from(size)).then_some(Segments { kind, size })
    });
    let has_tag = matches!(frame[12..14], [0x81, 0] | [0x88, 0xa8]);
    if has_tag && frame.len() < 20 {
        // The kernel drops it before any hook.
        return None;
    }
    let untagged = if has_tag { [&frame[..12], &frame[16..]].concat() } else { vec![] };
    let (frame, moved) = if has_tag { (&untagged[..], 4) } else { (frame, 0) };
    let packet = Packet {
        ifindex: IFINDEX,
        direction: Direction::Egress,
        frame,
        vlan_offloaded: has_tag,
        gso: segments.is_some(),
    };
    let unfinished = unfinished.map(|at| at.wrapping_sub(moved));
    evaluator.judge_beside(&packet, &Metadata { unfinished, segments }, 0)
}

fn seed() -> u64 {
    match env::var("SG_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_millis() as u64),
    }
}

/// The one reason that was counted.
fn counted(counts: &Counts) -> Option<Reason> {
    assert!(counts.total() <= 1, "{counts}");
    let is_counted = |reason: &Reason| counts.get(&format!("egress {}", reason.name())) == 1;
    Reason::ALL.iter().copied().find(is_counted)
}

#[test]
fn whatever_a_guest_says_beside_a_frame() {
    let site = Site::new("");
    let rules = site.rules(&format!("{SETTINGS}{NOTHING}"));
    site.agent.ctl().apply(&rules, &[]);
    let state = sg_policy::parse("rules.toml", rules.as_bytes()).expect("valid rules");
    let live = LiveInterface {
        slot: 0,
        ifindex: IFINDEX,
        entry: 0,
        addresses: vec![],
        ethernet: true,
        delivers: false,
        pickup_until: 0,
    };
    let seed = seed();
    eprintln!("SG_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut evaluator = Evaluator::new(state.clone(), vec![live.clone()], TICKS_PER_1000S);
    let mut seen = [0u32; 4];
    let mut before = site.counters();
    let cases = if fewer() { 100 } else { 800 };
    for _ in 0..cases {
        let frame = loop {
            if let (Direction::Egress, frame) = random_frame(&mut rng, &state, &live) {
                break frame;
            }
        };
        let header = random_header(&mut rng, frame.len());
        if site.tap.send(header, &frame).is_err() {
            // The kernel does not take every header.
            seen[0] += 1;
            continue;
        }
        let now = site.counters();
        let found = counted(&now.clone().all_since(&before).of_direction("egress"));
        before = now;
        let expected = expected(&mut evaluator, header, &frame);
        assert_eq!(found, expected, "{header:?} {frame:02x?} SG_SEED={seed}");
        seen[1] += u32::from(header.segments.is_some());
        match expected {
            // Its bytes alone are in order.
            Some(Reason::Malformed) if by_bytes(&mut evaluator, &frame) => seen[2] += 1,
            Some(Reason::NoRule) => seen[3] += 1,
            _ => {}
        }
    }
    eprintln!(
        "{cases} frames: refused, in segments, malformed beside the bytes, in order: {seen:?}"
    );
    // Each kind of frame came often enough to find a mistake.
    assert!(seen[1..].iter().all(|count| *count * 60 > cases), "{seen:?}");
}

fn by_bytes(evaluator: &mut Evaluator, frame: &[u8]) -> bool {
    expected(evaluator, Header::default(), frame) != Some(Reason::Malformed)
}
