use clap::CommandFactory as _;

use crate::{Cli, error::Result, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    shell: clap_complete::Shell,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        // Not straight to standard output, because `generate` panics on a closed pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "sgctl", &mut script);
        output::print(&String::from_utf8_lossy(&script))
    }
}
