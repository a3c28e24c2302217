//! The demo of the API passes: the AWS CLI drives the built server and agent, and packets say the rest.

use std::process::Command;

use sg_tests::Ran;

#[test]
fn the_aws_cli_makes_three_tiers() {
    let ran = Ran::of(Command::new(env!("CARGO_BIN_EXE_sg-demo")).arg("--api")).expect(0);
    assert!(ran.stdout.contains("32 passed, 0 failed"), "{}", ran.stdout);
}
