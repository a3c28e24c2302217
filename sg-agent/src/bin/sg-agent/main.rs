//! The daemon; see [`sg_agent::agent`].

use std::process::ExitCode;

use clap::Parser as _;
use sg_agent::{
    agent,
    config::{Cli, Command, Config},
    logging, memory,
};

fn main() -> ExitCode {
    memory::one_heap();
    let cli = Cli::parse();
    logging::start();
    let done = Config::load(&cli).and_then(|config| match cli.command {
        Some(Command::Detach) => agent::detach(&config),
        Some(Command::Mount) => agent::mount(&config),
        None => agent::run(&config),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
