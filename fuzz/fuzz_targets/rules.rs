//! Any bytes as a rules.toml. A refused file is refused at a place in it. An accepted file comes
//! back from its export as it was, and compiles to the rules that it has.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sg_policy::{
    DesiredState,
    compile::{
        Parameters,
        check::{Answers, Check},
        compile,
    },
    export::to_toml,
    model::LiveInterface,
    parse, plan,
    reference::generate::{SeedableRng as _, SmallRng},
    rules::Faults,
};

const QUESTIONS: u32 = 4;
const PARAMETERS: Parameters = Parameters { ticks_per_1000s: 20_000, revision: 1, cut_since: 0 };

fuzz_target!(|text: &[u8]| {
    match parse("rules.toml", text) {
        Ok(state) => {
            exported(&state);
            // Without interfaces an image holds no rules.
            if !state.interfaces.is_empty() {
                compiled(&state);
            }
        }
        Err(faults) => refused(text, &faults),
    }
});

fn refused(text: &[u8], faults: &Faults) {
    assert!(faults.total() > 0);
    // Drawing them takes longer than finding them, and what is drawn differs little.
    if text.len().is_multiple_of(8) {
        assert!(!faults.render(true).is_empty());
    }
    let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
    for fault in faults {
        assert!((1..=lines).contains(&fault.line), "{fault:?}");
        assert!((1..=text.len() + 1).contains(&fault.column), "{fault:?}");
    }
}

fn exported(state: &DesiredState) {
    let text = to_toml(state);
    match parse("export", text.as_bytes()) {
        Ok(again) => {
            assert_eq!(again, *state, "{text}");
            assert_eq!(plan::diff(state, &again), [], "{text}");
            assert_eq!(to_toml(&again), text);
        }
        Err(faults) => panic!("the export is refused:\n{}\n{text}", faults.render(false)),
    }
}

/// With one interface for each entry.
fn compiled(state: &DesiredState) {
    let live = |entry| LiveInterface {
        slot: entry as u16,
        ifindex: 1 + entry as u32,
        entry,
        addresses: vec!["192.0.2.1".parse().expect("an address")],
        ethernet: true,
        delivers: false,
        pickup_until: 0,
    };
    let live: Vec<_> = (0..state.interfaces.len()).map(live).collect();
    let image = compile(state, &live, &PARAMETERS).expect("a file of some kilobytes fits");
    let mut rng = SmallRng::seed_from_u64(live.len() as u64);
    Check::new(state, &live, &image).some(&mut rng, QUESTIONS, &mut Answers::default());
}
