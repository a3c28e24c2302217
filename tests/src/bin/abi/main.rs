//! `sg-agent` of another ABI, which `SG_ABI=NUMBER.TABLES` says; for tests of upgrades.

use clap::Parser as _;
use sg_agent::{
    agent,
    config::{Cli, Config},
    datapath::Abi,
    logging,
};

fn main() -> anyhow::Result<()> {
    logging::start();
    let mut config = Config::load(&Cli::parse())?;
    let numbers = std::env::var("SG_ABI")?;
    let (number, tables) = numbers.split_once('.').ok_or(anyhow::anyhow!("NUMBER.TABLES"))?;
    config.abi = Abi { number: number.parse()?, tables: tables.parse()? };
    agent::run(&config)
}
