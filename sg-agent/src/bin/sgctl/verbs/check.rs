use std::{path::PathBuf, process::ExitCode};

use crate::{error::Result, input::Input, output::Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rules file; - for standard input
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let input = Input::read(&self.file)?;
        let _ = (input, self.output);
        Ok(ExitCode::SUCCESS)
    }
}
