//! The API server; see [`sg_server`].

use std::{io, process::ExitCode};

use clap::{CommandFactory as _, Parser as _};
use sg_server::{
    cli::{Cli, Verb},
    serve,
    settings::Settings,
    verbs,
};

/// Wrong usage, or an invalid file.
const INVALID: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    sg_log::start();
    if let Some(Verb::Man) = cli.verb {
        return exit(man());
    }
    let settings = match Settings::load(cli.config.as_deref(), &cli.options) {
        Ok(settings) => settings,
        Err(error) => {
            tracing::error!("{error:#}");
            return ExitCode::from(INVALID);
        }
    };
    exit(match &cli.verb {
        None => serve::run(settings),
        Some(Verb::Init(verb)) => verbs::init::run(&settings, verb),
        Some(Verb::Check) => verbs::check::run(&settings),
        Some(Verb::Account(verb)) => verbs::account::run(&settings, verb),
        Some(Verb::Man) => Ok(()),
    })
}

fn exit(done: anyhow::Result<()>) -> ExitCode {
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
