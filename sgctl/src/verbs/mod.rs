//! One file per verb: its arguments and what it does.

mod accept_store;
mod apply;
mod check;
mod completions;
mod confirm;
mod detach;
mod explain;
mod export;
mod flows;
mod history;
mod import;
mod log;
mod man;
mod plan;
mod rollback;
mod show;
mod status;
mod top;

use std::process::ExitCode;

use sg_api::client::Client;

use crate::error::Result;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Validate a rules file, without an agent
    Check(check::Args),
    /// Show what `apply` would change
    Plan(plan::Args),
    /// Make the host match a rules file
    Apply(apply::Args),
    /// Keep the change that `apply --confirm` made
    Confirm(confirm::Args),
    /// Return to an earlier revision
    Rollback(rollback::Args),
    /// List the revisions that are kept
    History(history::Args),
    /// Show the agent, the interfaces, and the packets that they pass and drop
    Status(status::Args),
    /// Show the desired state, with rule ids
    Show(show::Args),
    /// Tell what a packet would get, and why
    Explain(explain::Args),
    /// List, follow or forget tracked flows
    Flows(flows::Args),
    /// Print or follow the flow log: accepted and rejected packets
    Log(log::Args),
    /// Watch interfaces, reasons, the busiest flows and the newest drops
    Top(top::Args),
    /// Print the desired state as rules.toml
    Export(export::Args),
    /// Make a rules.toml of another system's rules, without an agent
    Import(import::Args),
    /// Follow the other store that the control plane has now, as root
    AcceptStore(accept_store::Args),
    /// End all filtering: remove every program, link and pin
    Detach(detach::Args),
    /// Print a shell's completion script
    Completions(completions::Args),
    /// Write man pages
    Man(man::Args),
}

impl Verb {
    pub(crate) fn run(self, client: &Client) -> Result<ExitCode> {
        match self {
            Self::Check(args) => return args.run(),
            Self::Import(args) => return args.run(),
            Self::Plan(args) => return args.run(client),
            Self::Apply(args) => args.run(client),
            Self::Confirm(args) => args.run(client),
            Self::Rollback(args) => args.run(client),
            Self::History(args) => args.run(client),
            Self::Status(args) => args.run(client),
            Self::Show(args) => args.run(client),
            Self::Explain(args) => args.run(client),
            Self::Flows(args) => args.run(client),
            Self::Log(args) => args.run(client),
            Self::Top(args) => args.run(client),
            Self::Export(args) => args.run(client),
            Self::AcceptStore(args) => args.run(client),
            Self::Detach(args) => args.run(client),
            Self::Completions(args) => args.run(),
            Self::Man(args) => args.run(),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}
