//! Random states, frames and sequences for differential tests of the data path against the
//! [`Evaluator`](super::Evaluator). All from a seeded generator, so that a seed is a test case.

mod frame;
mod sequence;
mod shape;
mod state;

pub use frame::random_frame;
pub use rand::{SeedableRng, rngs::SmallRng};
pub use sequence::{Sequence, Step, random_sequence};
pub use state::{Identity, random_state};

use rand::{RngExt, seq::IndexedRandom};

fn pick<T: Copy>(rng: &mut SmallRng, from: &[T]) -> T {
    *from.choose(rng).expect("something to choose from")
}

/// True once in `n` times.
fn one_in(rng: &mut SmallRng, n: u32) -> bool {
    rng.random_ratio(1, n)
}
