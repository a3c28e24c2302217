//! One agent for a set of directories.

use std::{fs::File, io, path::Path};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

/// Held for the life of the process; the kernel gives it back however that ends.
#[derive(Debug)]
pub struct DirectoryLock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

/// Creates `directory` if need be and locks it.
///
/// # Errors
/// Another agent holds it, or it is no directory.
pub fn acquire(directory: &Path) -> anyhow::Result<DirectoryLock> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    // The directory itself, so that one on a read-only disk will do.
    let file =
        File::open(directory).with_context(|| format!("cannot open {}", directory.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(DirectoryLock(lock)),
        Err((_, Errno::EWOULDBLOCK)) => {
            anyhow::bail!(
                "another sg-agent runs on {}: end it first, or give this one --state-dir, \
                 --runtime-dir and --bpffs of its own",
                directory.display()
            )
        }
        Err((_, error)) => Err(io::Error::from(error))
            .with_context(|| format!("cannot lock {}", directory.display())),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_second_lock_is_refused_while_the_first_is_held() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er");
        let first = super::acquire(&path).unwrap();
        let error = super::acquire(&path).unwrap_err().to_string();
        let expected = format!("another sg-agent runs on {}: end it first", path.display());
        assert!(error.starts_with(&expected), "{error}");
        drop(first);
        super::acquire(&path).unwrap();
    }
}
