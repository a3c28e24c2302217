//! `sgctl`: the command line of sg. It talks to the agent over its unix socket and shows what that
//! says; only `check` looks at rules itself, with the code that the agent uses.

mod aws;
mod error;
mod input;
mod output;
mod reasons;
mod session;
mod table;
mod verbs;

use std::{env, path::PathBuf, process::ExitCode};

use clap::Parser;
use sg_api::client::Client;

const DEFAULT_SOCKET: &str = "/run/sg/agent.sock";

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
    match cli.verb.run(&Client::new(socket(cli.socket))) {
        Ok(status) => status,
        Err(error) => error.report(),
    }
}

/// The socket of the flag, else of the environment, else the default.
fn socket(flag: Option<PathBuf>) -> PathBuf {
    let environment = || env::var_os("SGCTL_SOCKET").filter(|path| !path.is_empty());
    flag.or_else(|| environment().map(PathBuf::from)).unwrap_or_else(|| DEFAULT_SOCKET.into())
}
