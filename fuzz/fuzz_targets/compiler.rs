//! Any state of the model, compiled: always to the same image, and to what the reference evaluator
//! says of the rules. Exported and read again it is still that image.
//!
//! First byte: bit 0 many nested prefixes instead of few rules of all kinds, bit 1 interfaces in
//! the other order. Bit 2 is the tick from which flows are held against the rules once more. The
//! other bytes make the choices of the generators in sg-policy, in their order.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sg_policy::{
    compile::{
        Parameters,
        check::{Answers, Check},
        compile,
    },
    export::to_toml,
    parse,
    reference::generate::{
        Bytes, Identity, SeedableRng as _, SmallRng, random_nested, random_state,
    },
};

const QUESTIONS: u32 = 24;

const IDENTITIES: [Identity; 4] = [
    Identity { slot: 5, ifindex: 17, ethernet: true, pickup_until: 900 },
    Identity { slot: 0, ifindex: 1, ethernet: false, pickup_until: 901 },
    Identity { slot: 9, ifindex: 0x7fff_ffff, ethernet: true, pickup_until: 902 },
    Identity { slot: 2, ifindex: 16, ethernet: true, pickup_until: 903 },
];

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Bytes(bytes);
    let [what, count] = [choices.byte(), choices.byte()];
    let (mut state, mut live) = match what & 1 {
        0 => random_state(&mut choices, &IDENTITIES[..1 + usize::from(count % 4)]),
        _ => random_nested(&mut choices, usize::from(count % 64)),
    };
    if what & 2 != 0 {
        live.reverse();
    }
    let parameters = Parameters {
        ticks_per_1000s: 20_000,
        revision: u64::MAX,
        cut_since: if what & 4 != 0 { 7 } else { u32::MAX },
    };
    let image = compile(&state, &live, &parameters).expect("a few rules fit");
    assert_eq!(compile(&state, &live, &parameters).expect("as before"), image);

    // The questions take no bytes of the input; a hash of all of it seeds them.
    let seed = bytes.iter().fold(0, |sum: u64, byte| sum.rotate_left(7) ^ u64::from(*byte));
    let mut rng = SmallRng::seed_from_u64(seed);
    let (check, mut answers) = (Check::new(&state, &live, &image), Answers::default());
    check.some(&mut rng, QUESTIONS, &mut answers);
    // The reference tries each port.
    if seed % 64 == 0 {
        check.all_of(&mut rng, &mut answers);
    }

    // Nested ones are more than the quotas of a file admit.
    if what & 1 == 0 {
        // A file has one setting for all interfaces.
        let of_all = state.settings.filter;
        state.change_filters(|filter| *filter = of_all);
        let image = compile(&state, &live, &parameters).expect("as before");
        let text = to_toml(&state);
        let read = parse("export", text.as_bytes());
        let read = read.unwrap_or_else(|faults| panic!("{}\n{text}", faults.render(false)));
        // All but the ids, which the generator makes up.
        let again = compile(&read, &live, &parameters).expect("as before");
        assert_eq!(again, image, "{text}");
    }
});
