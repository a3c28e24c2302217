//! `sgctl`: the command line of sg. It talks to the agent over its unix socket and shows what that
//! says; only `check` looks at rules itself, with the code that the agent uses.

mod aws;
mod client;
mod error;
mod input;
mod output;
mod reasons;
mod session;
mod table;
mod verbs;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

/// Security groups for this host: validate, apply and look at rules.toml.
#[derive(Debug, Parser)]
#[command(name = "sgctl", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit status: 0 done; 1 it could not be done; 2 wrong usage or an invalid file."
)]
struct Cli {
    /// The agent's socket [env: SGCTL_SOCKET] [default: /run/sg/agent.sock]
    #[arg(long, global = true, value_name = "PATH", display_order = 100)]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    verb: verbs::Verb,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.verb.run(&client::Client::new(cli.socket)) {
        Ok(status) => status,
        Err(error) => error.report(),
    }
}
