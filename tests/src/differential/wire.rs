//! Single packets as [`super::rig`] plays them, but come by a wire: through a NIC, its driver and the
//! hook that the driver gives.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use sg_common::{Direction, counter};
use sg_datapath::{AttachMode, Hook, HookChoice, testing::trial::Moved};
use sg_policy::{
    model::Role,
    reference::{Evaluator, Packet},
};

use super::{
    case::{Case, Step},
    rig::{MAX_FLOWS, Mismatch, Rig},
    show, single_case,
};
use crate::{
    Datapath, NetNs, Ran, eventually,
    outside::{Nic, Outside},
    probe::PATIENCE,
};

/// Lengths of frames on Ethernet; shorter frames would be padded on the way.
const FRAMES: std::ops::RangeInclusive<usize> = 60..=1514;

/// Plays the frames of so many random cases that a NIC can receive, of seeds from `seed` on; how many
/// frames that were. Panics where the data path and the evaluator differ.
#[track_caller]
pub fn over_a_wire(nic: Nic, datapath: Datapath, seed: u64, cases: u64) -> u64 {
    let namespace = NetNs::new("wire");
    // The kernel is to send nothing.
    namespace.sysctl("ipv6/conf/default/disable_ipv6", "1");
    let mut outside = Outside::connect(nic, &namespace);
    namespace.ip("link add left type veth peer name right
                  link set dev nic0 up");
    let result = Rig::inside(&namespace, ["nic0", "left", "right"], MAX_FLOWS, |rig| {
        let choice = match datapath {
            Datapath::Xdp => HookChoice::Xdp,
            Datapath::Tc => HookChoice::Tc,
        };
        let attached = rig
            .datapath
            .attach(rig.ifindexes[0], "nic0", choice, AttachMode::Preferred)
            .expect("it attaches");
        let natively = datapath == Datapath::Xdp && nic.has_xdp();
        assert_eq!(attached.hook == Hook::Xdp, natively, "{attached:?}");
        // Drivers take the link down to give or take a hook.
        eventually("the link is up", || {
            let mut ip = Command::new("ip");
            Ran::of(ip.args(["link", "show", "dev", "nic0"])).stdout.contains("LOWER_UP")
        });
        let hides_tags = natively && nic.hides_tags();
        let played = (seed..seed + cases).try_fold(0, |sum, seed| {
            let case = single_case(seed, rig.ifindexes, rig.ticks_per_1000s);
            let played = play(rig, &mut outside, &case, hides_tags);
            played
                .map(|frames| sum + frames)
                .map_err(|mismatch| format!("seed {seed}\n{}", show::case(&case, &mismatch)))
        });
        rig.datapath.detach(rig.ifindexes[0]).expect("it detaches");
        played
    });
    result.unwrap_or_else(|failure| panic!("{failure}"))
}

fn play(
    rig: &mut Rig,
    outside: &mut Outside,
    case: &Case,
    hides_tags: bool,
) -> Result<u64, Mismatch> {
    rig.datapath.set_clock(case.start);
    rig.start(&case.state, &case.live);
    let evaluator = Evaluator::new(case.state.clone(), case.live.clone(), rig.ticks_per_1000s);
    let live = case.live.iter().find(|live| live.ifindex == rig.ifindexes[0]);
    let Some(live) = live else { return Ok(0) };
    let receives = match case.state.interfaces[live.entry].role {
        Role::Host => Direction::Ingress,
        Role::Port => Direction::Egress,
    };
    let mut frames = 0;
    for (step, played) in case.steps.iter().enumerate() {
        let Step::Packet { ifindex, direction, frame, .. } = played else { continue };
        let comes = *ifindex == live.ifindex && *direction == receives;
        if !comes || !FRAMES.contains(&frame.len()) {
            continue;
        }
        let mut judged = frame.clone();
        if hides_tags && is_tagged(frame) {
            judged.drain(12..16);
        }
        let packet = Packet {
            ifindex: *ifindex,
            direction: *direction,
            frame: &judged,
            vlan_offloaded: false,
            gso: false,
        };
        // Again if a tick came between.
        let (expected, moved) = loop {
            let now = rig.datapath.now();
            outside.send(frame);
            let moved = counted(rig);
            let reason = evaluator.would(&packet, now).expect("a filtered interface");
            rig.bench.clear_tables();
            if rig.datapath.now() == now {
                break (reason, moved);
            }
        };
        let index = counter::index(*direction, expected);
        // Bytes without a VLAN tag that the driver or the kernel took off.
        let as_expected = matches!(moved[..], [Moved { slot, index: at, by }]
            if slot == live.slot && at == index && by.packets == 1);
        if !as_expected {
            let (expected, got) = (format!("{expected:?}"), show::moved(&moved));
            return Err(Mismatch { step, expected, got });
        }
        frames += 1;
    }
    Ok(frames)
}

fn is_tagged(frame: &[u8]) -> bool {
    matches!(frame[12..14], [0x81, 0x00] | [0x88, 0xa8])
}

/// Counters that a frame on its way moves; none, where it does not come.
fn counted(rig: &mut Rig) -> Vec<Moved> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let moved = rig.bench.moved();
        if !moved.is_empty() || Instant::now() > deadline {
            return moved;
        }
        thread::sleep(Duration::from_micros(100));
    }
}
