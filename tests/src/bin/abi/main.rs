//! `sg-agent` of another ABI, for tests of upgrades: of that which `SG_ABI=NUMBER.TABLES` says, or of the one
//! after ours.

use anyhow::Context as _;
use clap::Parser as _;
use sg_agent::{
    agent,
    config::{Cli, Command, Config},
};
use sg_datapath::Abi;

fn main() -> anyhow::Result<()> {
    sg_log::start();
    let cli = Cli::parse();
    let mut config = Config::load(&cli)?;
    config.abi = abi()?;
    match cli.command {
        Some(Command::Detach) => agent::detach(&config),
        Some(Command::Mount) => agent::mount(&config),
        Some(Command::Man) => anyhow::bail!("sg-agent has the man page"),
        None => {
            let again = config.clone();
            agent::run(&config, move || Ok(again.clone()))
        }
    }
}

fn abi() -> anyhow::Result<Abi> {
    let Some(numbers) = std::env::var_os("SG_ABI") else {
        return Ok(Abi { number: Abi::OURS.number + 1, ..Abi::OURS });
    };
    let numbers = numbers.to_str().and_then(|numbers| numbers.split_once('.'));
    let (number, tables) = numbers.context("SG_ABI is NUMBER.TABLES")?;
    Ok(Abi { number: number.parse()?, tables: tables.parse()? })
}
