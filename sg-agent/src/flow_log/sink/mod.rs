//! Where records go when their window closes.

mod file;
mod journal;
mod style;

use std::{io, path::PathBuf};

pub use self::style::Style;
use self::{file::File, journal::Journal};
use sg_policy::describe::plain;

use crate::api::FlowRecord;

/// A place for records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    File(PathBuf),
    Journald,
    Stdout,
}

impl Place {
    /// As the settings say it.
    pub fn of(text: &str) -> Self {
        match text {
            "journald" => Self::Journald,
            "stdout" => Self::Stdout,
            path => Self::File(path.into()),
        }
    }
}

#[derive(Debug)]
enum Sink {
    File(File),
    Journal(Journal),
    Stdout(io::Stdout),
}

/// All places, with what went wrong there last: that is said once.
#[derive(Debug)]
pub(super) struct Sinks {
    style: Style,
    sinks: Vec<(Place, Sink, bool)>,
}

impl Sinks {
    /// # Errors
    /// A file cannot be written.
    pub(super) fn open(places: &[Place], style: &Style) -> io::Result<Self> {
        let open = |place: &Place| {
            Ok(match place {
                Place::File(path) => Sink::File(File::open(path.clone(), style)?),
                Place::Journald => Sink::Journal(Journal::open()?),
                Place::Stdout => Sink::Stdout(io::stdout()),
            })
        };
        let sinks = places.iter().map(|place| {
            let sink = open(place).map_err(|error: io::Error| {
                io::Error::new(error.kind(), format!("cannot log flows to {place:?}: {error}"))
            })?;
            Ok((place.clone(), sink, true))
        });
        Ok(Self { style: style.clone(), sinks: sinks.collect::<io::Result<_>>()? })
    }

    pub(super) fn write(&mut self, records: &[FlowRecord]) {
        if self.sinks.is_empty() || records.is_empty() {
            return;
        }
        let Style { format, account, .. } = &self.style;
        let lines: Vec<String> = records
            .iter()
            // An interface is called as somebody else likes.
            .map(|record| plain(&format.line(record, account)).into_owned())
            .collect();
        for (place, sink, worked) in &mut self.sinks {
            let done = match sink {
                Sink::File(file) => file.write(&lines),
                Sink::Journal(journal) => journal.write(&lines, records),
                Sink::Stdout(stdout) => print(stdout, &lines),
            };
            if let Err(error) = &done
                && *worked
            {
                let count = records.len();
                tracing::error!(%error, "{count} records of flows could not be written to {place:?}");
            }
            *worked = done.is_ok();
        }
    }
}

fn print(stdout: &mut io::Stdout, lines: &[String]) -> io::Result<()> {
    use io::Write as _;
    let mut stdout = stdout.lock();
    lines.iter().try_for_each(|line| writeln!(stdout, "{line}"))?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_cannot_hide_a_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("flows.log");
        let format = "${interface-id} ${end}".parse().expect("a format");
        let style = Style { format, account: "-".into(), max_bytes: 1000, keep: 0 };
        let mut sinks = Sinks::open(&[Place::File(path.clone())], &style).expect("a file");
        sinks.write(&[FlowRecord::of("\x1b[8mtap0", 1, 2, "OK")]);
        let text = std::fs::read_to_string(path).expect("a file");
        assert_eq!(text, "interface-id end\n\\u{1b}[8mtap0 2\n");
    }
}
