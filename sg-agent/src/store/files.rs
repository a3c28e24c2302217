//! Files that are there whole or not at all, whenever the power goes.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

/// Replaces `directory/name` by `content`. When this returns, the new content survives a crash;
/// whenever it fails or is cut short, the old file is as it was.
pub(super) fn replace(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = directory.join(format!(".{name}.new"));
    let written =
        write(&temporary, content).and_then(|()| std::fs::rename(&temporary, directory.join(name)));
    if written.is_err() {
        // Best effort: a leftover is overwritten next time and never read.
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    sync(directory)
}

/// A name is only on the disk once its directory is.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}
