//! A case in words, for whoever has to find out what is wrong.

use std::fmt::Write as _;

use etherparse::LaxSlicedPacket;
use sg_datapath::testing::trial::Moved;
use sg_policy::{
    export::to_toml,
    model::{DesiredState, LiveInterface},
};

use super::{
    case::{Case, Kind, Step},
    rig::{Mismatch, counted},
};

/// A frame in hex, and what another parser than ours makes of it.
pub fn frame(frame: &[u8], ethernet: bool) -> String {
    format!("{}\n{}", hex(frame), decoded(frame, ethernet))
}

/// Counters by name.
pub fn moved(moved: &[Moved]) -> String {
    let one = |moved: &Moved| {
        let (direction, reason) = counted(moved.index);
        let reason = reason.map_or("no reason", sg_common::Reason::name);
        let (packets, bytes) = (moved.by.packets, moved.by.bytes);
        format!("slot {} {direction:?} {reason} ({packets} packets, {bytes} bytes)", moved.slot)
    };
    match moved {
        [] => "nowhere".to_owned(),
        moved => moved.iter().map(one).collect::<Vec<_>>().join(" and "),
    }
}

/// The whole case, with the difference at its end.
pub fn case(case: &Case, mismatch: &Mismatch) -> String {
    let mut text = format!("clock starts at {}\n", case.start);
    text += &rules(&case.state, &case.live);
    for (number, step) in case.steps.iter().enumerate() {
        let is_last = number == mismatch.step;
        if case.kind == Kind::Apart && !is_last {
            continue;
        }
        writeln!(text, "\n--- step {number}{}", if is_last { ", the wrong one" } else { "" })
            .expect("memory");
        text += &show_step(step, &case.live);
        if is_last {
            break;
        }
    }
    writeln!(text, "\nexpected {}\ngot      {}", mismatch.expected, mismatch.got).expect("memory");
    text
}

fn rules(state: &DesiredState, live: &[LiveInterface]) -> String {
    let mut text = format!("{}\n", to_toml(state));
    for interface in live {
        writeln!(text, "# {interface:?}").expect("memory");
    }
    text
}

fn show_step(step: &Step, live: &[LiveInterface]) -> String {
    match step {
        Step::Packet { ifindex, direction, frame: bytes, via } => {
            let ethernet = live.iter().all(|live| live.ifindex != *ifindex || live.ethernet);
            format!(
                "packet on {ifindex} {direction:?} by {via:?}, {} bytes\n{}\n",
                bytes.len(),
                frame(bytes, ethernet)
            )
        }
        Step::Advance(ticks) => format!("{ticks} ticks pass\n"),
        Step::Apply(applied) => format!("apply\n{}", rules(&applied.0, &applied.1)),
        Step::ApplyUntil(applied, ticks) => {
            format!("apply, taken back after {ticks} ticks\n{}", rules(&applied.0, &applied.1))
        }
        Step::Flush => "flush\n".to_owned(),
        Step::FlushDenied => "flush --denied\n".to_owned(),
    }
}

fn hex(frame: &[u8]) -> String {
    const SHOWN: usize = 256;
    let bytes = frame.iter().take(SHOWN).map(|byte| format!("{byte:02x}"));
    let rest = if frame.len() > SHOWN { " …" } else { "" };
    bytes.collect::<Vec<_>>().join(" ") + rest
}

/// As far as another parser than ours gets.
fn decoded(frame: &[u8], ethernet: bool) -> String {
    let sliced = if ethernet {
        LaxSlicedPacket::from_ethernet(frame).map_err(|error| error.to_string())
    } else {
        LaxSlicedPacket::from_ip(frame).map_err(|error| error.to_string())
    };
    match sliced {
        Err(error) => error,
        Ok(packet) => {
            let mut text = String::new();
            if let Some(link) = packet.link.and_then(|link| link.to_header()) {
                writeln!(text, "{link:?}").expect("memory");
            }
            for extension in &packet.link_exts {
                writeln!(text, "{extension:?}").expect("memory");
            }
            if let Some(net) = &packet.net {
                writeln!(text, "{net:?}").expect("memory");
            }
            if let Some(transport) = &packet.transport {
                writeln!(text, "{transport:?}").expect("memory");
            }
            text
        }
    }
}
