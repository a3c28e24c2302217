//! Loads the BPF programs on the running kernel and prints a line for each: name, instructions that
//! the verifier looked at, instructions, bytes of machine code, microseconds. `cargo xtask vm-test`
//! makes a table of the lines.

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
