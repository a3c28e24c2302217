//! `cargo xtask mutants`: plants the bugs of `tests/mutations.toml` one by one, in a copy of the
//! sources, and sees that the tests find them.

mod list;
mod trial;

use anyhow::{Result, bail, ensure};

use self::{
    list::Mutation,
    trial::{Outcome, Tree},
};
use crate::setup;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only say which mutations do not apply to the sources any more
    #[arg(long)]
    check: bool,
    /// Try all tests on what gets through those that are named for it
    #[arg(long)]
    thorough: bool,
    /// Only those whose name or file contains this
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mutations = list::read()?;
    check(&mutations)?;
    if args.check {
        return Ok(());
    }
    let wanted = |mutation: &&Mutation| {
        let filter = args.filter.as_deref().unwrap_or_default();
        mutation.name.contains(filter) || mutation.file.contains(filter)
    };
    let wanted: Vec<&Mutation> = mutations.iter().filter(wanted).collect();
    ensure!(!wanted.is_empty(), "no mutation of that name");
    setup::ensure()?;
    let tree = Tree::copy()?;
    let mut outcomes = Vec::new();
    for mutation in wanted {
        let outcome = tree.try_mutation(mutation, args.thorough)?;
        eprintln!("mutants: {}: {outcome}", mutation.name);
        outcomes.push((mutation, outcome));
    }
    report(&outcomes)
}

/// Every mutation must apply, and name tests that there are.
fn check(mutations: &[Mutation]) -> Result<()> {
    let faults: Vec<String> = mutations.iter().filter_map(Mutation::fault).collect();
    if faults.is_empty() {
        return Ok(());
    }
    bail!("tests/mutations.toml does not fit the sources:\n{}", faults.join("\n"))
}

/// [`check`] of the list as it is.
pub(crate) fn check_list() -> Result<()> {
    check(&list::read()?)
}

fn report(outcomes: &[(&Mutation, Outcome)]) -> Result<()> {
    for (mutation, outcome) in outcomes {
        println!("{:44} {outcome}", mutation.name);
    }
    let caught = outcomes.iter().filter(|(_, outcome)| outcome.is_caught()).count();
    println!("{caught} of {} were caught", outcomes.len());
    ensure!(caught == outcomes.len(), "not all were caught");
    Ok(())
}
