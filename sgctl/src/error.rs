//! The errors of sgctl, and an exit status for each.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use sg_api::client;
use sg_policy::describe::plain;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It could not be done: the agent is unreachable, refused or failed.
    #[error("error: {0}")]
    Failed(String),
    /// Wrong usage, or a file that cannot be taken as rules.
    #[error("error: {0}")]
    Usage(String),
    /// The faults of a rules file, rendered with their source lines.
    #[error("{0}")]
    Faults(String),
    /// Standard output takes nothing any more.
    #[error("error: cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl From<client::Error> for Error {
    fn from(error: client::Error) -> Self {
        match error {
            client::Error::Failed(text) => Self::Failed(text),
            client::Error::Usage(text) => Self::Usage(text),
            client::Error::Faults(text) => Self::Faults(text),
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Tells the user and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        if self.is_broken_pipe() {
            return ExitCode::SUCCESS;
        }
        // Nobody is left to tell when this fails.
        let _ = writeln!(io::stderr(), "{}", self.text().trim_end());
        ExitCode::from(self.status())
    }

    /// Names of files and interfaces, which others have chosen, are escaped. A rendered fault is
    /// not: it has colours of ours, and its parser has escaped names already.
    fn text(&self) -> String {
        let text = self.to_string();
        if matches!(self, Self::Faults(_)) {
            return text;
        }
        text.lines().map(|line| plain(line).into_owned() + "\n").collect()
    }

    const fn status(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Output(_) => 1,
            Self::Usage(_) | Self::Faults(_) => 2,
        }
    }

    /// The reader had enough (`sgctl flows | head`), which is no error.
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
