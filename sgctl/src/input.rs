//! Reads the rules file that the user names.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use sg_api::{MAX_FILE, RulesFile};
use sg_policy::describe::plain;

use crate::error::{Error, Result};

/// Name that messages give to standard input.
const STDIN: &str = "<stdin>";

/// A rules file as it is: its name in messages, and its bytes.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Input {
    /// Reads `path`, or standard input for `-`; never more than [`MAX_FILE`] bytes.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            let bytes = read_limited(io::stdin().lock(), STDIN)?;
            return Ok(Self { name: STDIN.to_owned(), bytes });
        }
        // Each message that names the file is one line.
        let name = plain(&path.display().to_string()).into_owned();
        let metadata = fs::metadata(path).map_err(|error| unreadable(&name, &error))?;
        if metadata.is_dir() {
            return Err(Error::Usage(format!("cannot read {name}: it is a directory")));
        }
        if metadata.len() > MAX_FILE {
            return Err(too_large(&name));
        }
        let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
        let bytes = read_limited(file, &name)?;
        Ok(Self { name, bytes })
    }

    /// The file as the agent takes it.
    pub(crate) fn into_rules(self) -> Result<RulesFile> {
        let Self { name, bytes } = self;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            Error::Usage(format!("{name}: not UTF-8: invalid byte at offset {at}, line {line}"))
        })?;
        Ok(RulesFile { file: name, text })
    }
}

/// Pipes and devices do not tell their size, so the limit holds while reading, too.
fn read_limited(reader: impl Read, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
    if bytes.len() as u64 > MAX_FILE { Err(too_large(name)) } else { Ok(bytes) }
}

fn too_large(name: &str) -> Error {
    Error::Usage(format!("{name} is larger than {} MiB, the most that is taken", MAX_FILE >> 20))
}

fn unreadable(name: &str, error: &io::Error) -> Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    Error::Usage(format!("cannot read {name}: {why}"))
}
