//! Random states, frames and sequences for differential tests of the data path against the
//! [`Evaluator`](super::Evaluator). All from a seeded generator, so that a seed is a test case.

mod bytes;
mod frame;
mod nested;
mod sequence;
mod shape;
mod state;

pub use bytes::Bytes;
pub use frame::random_frame;
pub use nested::random_nested;
pub use rand::{Rng, SeedableRng, rngs::SmallRng};
pub use sequence::{Conversation, Sequence, Step, random_sequence};
pub use state::{Identity, random_state, tweak};

use rand::{RngExt as _, seq::IndexedRandom as _};

fn pick<T: Copy>(rng: &mut dyn Rng, from: &[T]) -> T {
    *from.choose(rng).expect("something to choose from")
}

/// True once in `n` times.
fn one_in(rng: &mut dyn Rng, n: u32) -> bool {
    rng.random_ratio(1, n)
}
