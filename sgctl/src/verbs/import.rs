use std::{io::Write as _, path::PathBuf, process::ExitCode};

use sg_policy::describe::plain;

use crate::{
    aws::{self, Imported},
    error::Result,
    input::Input,
    output::Output,
};

/// Exit status of `import --exit-code` when something is not carried over.
const INCOMPLETE: u8 = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    /// Output of the AWS CLI: describe-security-groups, describe-security-group-rules,
    /// describe-managed-prefix-lists, get-managed-prefix-list-entries (to pl-….json)
    Aws(Aws),
}

#[derive(Debug, clap::Args)]
struct Aws {
    /// JSON files, in any order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Exit with 3 if something other than tags is not carried over
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let From::Aws(Aws { files, exit_code, output }) = self.from;
        let inputs: Vec<Input> =
            files.iter().map(|file| Input::read(file)).collect::<Result<_>>()?;
        let imported = aws::import(&inputs)?;
        output.print(&imported, |imported| imported.rules_toml.clone())?;
        tell(&imported);
        let is_incomplete = exit_code && !imported.not_carried_over.is_empty();
        Ok(if is_incomplete { ExitCode::from(INCOMPLETE) } else { ExitCode::SUCCESS })
    }
}

/// Repeats the head of the file on standard error, for people who do not open the file.
fn tell(imported: &Imported) {
    let Imported { rules, carried_over, not_carried_over, tagged, .. } = imported;
    let mut stderr = std::io::stderr().lock();
    // Nobody is left to tell when this fails.
    let _ = writeln!(stderr, "{carried_over} of {rules} rules are carried over");
    for left in not_carried_over {
        let _ = writeln!(stderr, "not carried over: {}", plain(&left.to_string()));
    }
    if let Some(tags) = tagged.text() {
        let _ = writeln!(stderr, "not carried over: {tags}");
    }
}
