//! The daemon; see [`sg_agent::agent`].

use std::{io, process::ExitCode};

use clap::{CommandFactory as _, Parser as _};
use sg_agent::{
    agent,
    config::{Cli, Command, Config},
    system::allocator,
};

fn main() -> ExitCode {
    allocator::one_heap();
    let cli = Cli::parse();
    sg_log::start();
    let done = match cli.command {
        Some(Command::Man) => man(),
        Some(Command::Detach) => Config::load(&cli).and_then(|config| agent::detach(&config)),
        Some(Command::Mount) => Config::load(&cli).and_then(|config| agent::mount(&config)),
        None => {
            Config::load(&cli).and_then(|config| agent::run(&config, move || Config::load(&cli)))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn man() -> anyhow::Result<()> {
    let page = clap_mangen::Man::new(Cli::command()).section("8");
    Ok(page.render(&mut io::stdout())?)
}
