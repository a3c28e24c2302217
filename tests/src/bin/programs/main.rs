//! What it takes to load the BPF programs on the running kernel, a line for each: name, instructions
//! that the verifier looked at, instructions, bytes of machine code, microseconds. For `cargo xtask
//! vm-test`, which makes a table of it.

use sg_tests::differential::Rig;

fn main() {
    for cost in Rig::run(|rig| rig.datapath.load_costs()).expect("the programs load") {
        println!(
            "sg-programs: {} {} {} {} {}",
            cost.name,
            cost.verified,
            cost.instructions,
            cost.machine_code,
            cost.took.as_micros()
        );
    }
}
