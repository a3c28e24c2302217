use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use clap::CommandFactory as _;

use crate::{
    Cli,
    error::{Error, Result},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where sgctl.1, sgctl-apply.1 and so on go, and sg-agent.8; made if absent
    dir: PathBuf,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let dir = self.dir;
        write(&dir).map_err(|error| {
            Error::Failed(format!("cannot write man pages to {}: {error}", dir.display()))
        })
    }
}

fn write(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)?;
    let agent = sg_agent::config::Cli::command();
    clap_mangen::Man::new(agent).section("8").render(&mut File::create(dir.join("sg-agent.8"))?)
}
