//! How many new flows find no lane in either of their two buckets, by how full the table is of flows
//! that nothing evicts. The figures in docs/internals/data-path.md, "Flows", are from here.

use std::{collections::hash_map::RandomState, hash::BuildHasher as _};

use sg_common::flow::LANES;

const BUCKETS: usize = 1 << 16;
const PERCENT: [usize; 5] = [50, 60, 70, 80, 90];

/// Which of two buckets takes a flow, by their numbers of taken lanes.
type Choice = fn(usize, usize) -> bool;

fn main() {
    println!("buckets: {BUCKETS}, lanes in each: {LANES}");
    fill("the emptier bucket", |first, second| first <= second);
    fill("the first bucket unless full", |first, _| first < LANES);
}

fn fill(name: &str, takes_first: Choice) {
    let hash = RandomState::new();
    let mut taken = vec![0; BUCKETS];
    let mut flows = 0;
    let mut numbers = 0u64..;
    for percent in PERCENT {
        while flows < BUCKETS * LANES * percent / 100 {
            let bits = hash.hash_one(numbers.next()) as usize;
            let [first, second] = [bits % BUCKETS, bits / BUCKETS % BUCKETS];
            let bucket = if takes_first(taken[first], taken[second]) { first } else { second };
            if taken[bucket] < LANES {
                taken[bucket] += 1;
                flows += 1;
            }
        }
        let full = taken.iter().filter(|taken| **taken == LANES).count() as f64 / BUCKETS as f64;
        println!("{name}, {percent} % taken: {:.2} % refused", 100.0 * full * full);
    }
}
