use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::CommandFactory as _;
use sg_policy::describe::plain;

use crate::{
    Cli,
    error::{Error, Result},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where sgctl.1, sgctl-apply.1 and so on go; made if absent
    dir: PathBuf,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let dir = self.dir;
        write(&dir).map_err(|error| {
            let dir = dir.display().to_string();
            Error::Failed(format!("cannot write man pages to {}: {error}", plain(&dir)))
        })
    }
}

fn write(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)
}
