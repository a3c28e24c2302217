//! The archive that a kernel unpacks as its first root file system: cpio in the "newc" format
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

const DIRECTORY: u32 = 0o040_755;
const REGULAR: u32 = 0o100_000;

/// Files by their path in the guest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archive(BTreeMap<PathBuf, Entry>);

#[derive(Clone, Debug)]
struct Entry {
    mode: u32,
    data: Vec<u8>,
}

impl Archive {
    /// A copy of a file of this machine.
    pub(crate) fn copy(&mut self, from: &Path, to: impl AsRef<Path>) -> Result<()> {
        let context = || format!("cannot read {}", from.display());
        let mode = fs::metadata(from).with_context(context)?.permissions().mode() & 0o777;
        let data = fs::read(from).with_context(context)?;
        self.insert(to.as_ref(), Entry { mode: REGULAR | mode, data });
        Ok(())
    }

    /// A file of this text.
    pub(crate) fn text(&mut self, to: impl AsRef<Path>, text: impl Into<String>) {
        self.insert(to.as_ref(), Entry { mode: REGULAR | 0o644, data: text.into().into_bytes() });
    }

    pub(crate) fn directory(&mut self, at: impl AsRef<Path>) {
        self.insert(at.as_ref(), Entry { mode: DIRECTORY, data: Vec::new() });
    }

    pub(crate) fn has(&self, at: impl AsRef<Path>) -> bool {
        self.0.contains_key(at.as_ref())
    }

    /// The folders above come with it; a path sorts behind its parent's.
    fn insert(&mut self, at: &Path, entry: Entry) {
        for parent in at.ancestors().skip(1).filter(|parent| *parent != Path::new("/")) {
            self.0
                .entry(parent.to_owned())
                .or_insert_with(|| Entry { mode: DIRECTORY, data: Vec::new() });
        }
        self.0.insert(at.to_owned(), entry);
    }

    pub(crate) fn write(&self, to: &Path) -> Result<()> {
        let mut bytes = Vec::new();
        for (number, (path, entry)) in (1..).zip(&self.0) {
            let name = path.strip_prefix("/").unwrap_or(path);
            append(&mut bytes, number, &name.display().to_string(), entry);
        }
        append(&mut bytes, 0, "TRAILER!!!", &Entry { mode: 0, data: Vec::new() });
        fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
    }
}

fn append(bytes: &mut Vec<u8>, number: u32, name: &str, entry: &Entry) {
    let (links, time, owner, device) = (1, 0, 0, 0);
    let size = entry.data.len() as u32;
    let name_size = name.len() as u32 + 1;
    bytes.extend(b"070701");
    for field in [
        number, entry.mode, owner, owner, links, time, size, device, device, device, device,
        name_size, 0,
    ] {
        bytes.extend(format!("{field:08x}").bytes());
    }
    bytes.extend(name.bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(&entry.data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
