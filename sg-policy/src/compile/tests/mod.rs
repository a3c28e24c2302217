//! A lookup in a compiled image gives the verdict of the rules.

mod changes;
mod damage;
mod maps;
mod members;
mod random;
mod records;
mod rules;
mod scale;
mod wide;

use super::*;
use check::{Answers, Check, interface::CheckedInterface};

const PARAMETERS: Parameters =
    Parameters { ticks_per_1000s: 20_000, revision: 0x0123_4567_89ab_cdef, cut_since: 77 };

fn compiled(state: &DesiredState, live: &[LiveInterface]) -> Image {
    compile(state, live, &PARAMETERS).expect("it fits")
}

/// The desired state of a rules.toml, each entry live: entry N with slot N and ifindex 10 + N.
fn parsed(text: &str) -> (DesiredState, Vec<LiveInterface>) {
    let state = crate::parse("test", text.as_bytes()).expect("valid rules");
    let live = (0..state.interfaces.len()).map(live).collect();
    (state, live)
}

fn live(entry: usize) -> LiveInterface {
    LiveInterface {
        slot: entry as u16,
        ifindex: 10 + entry as u32,
        entry,
        addresses: Vec::new(),
        ethernet: true,
        delivers: false,
        pickup_until: 0,
    }
}
