//! Whose process this is. Verbs of root become the owner of the state directory first, so that root follows
//! no link that somebody has planted there.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use nix::unistd::{Gid, Uid, User, chown, geteuid, setgid, setgroups, setuid};

/// The user that the package makes.
const USER: &str = "sg-server";

/// Refuses to serve as root: the server needs no rights, and a fault in it should not have them.
pub fn refuse_root() -> anyhow::Result<()> {
    if geteuid().is_root() {
        bail!("sg-server does not serve as root; run it as the user {USER}, as its unit does");
    }
    Ok(())
}

/// Makes the state directory, of mode 0700, where it is not there. As root it becomes that of the user
/// `sg-server`, if there is one.
pub fn make_state_dir(state_dir: &Path) -> anyhow::Result<()> {
    let place = || format!("cannot make {}", state_dir.display());
    match fs::DirBuilder::new().mode(0o700).create(state_dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.with_context(place)?,
    }
    if geteuid().is_root()
        && let Some(user) = User::from_name(USER).with_context(place)?
    {
        // Nobody else had the directory yet, so this is the one that was made.
        chown(state_dir, Some(user.uid), Some(user.gid)).with_context(place)?;
    }
    Ok(())
}

/// As root, gives up root's rights for those of the directory's owner.
pub fn become_owner(state_dir: &Path) -> anyhow::Result<()> {
    let place = || state_dir.display().to_string();
    let found = fs::symlink_metadata(state_dir).with_context(place)?;
    if !found.is_dir() {
        bail!("{}: it is no directory", place());
    }
    if !geteuid().is_root() || found.uid() == 0 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
    let cannot = || format!("cannot become the owner of {}", state_dir.display());
    setgroups(&[gid]).with_context(cannot)?;
    setgid(gid).with_context(cannot)?;
    setuid(uid).with_context(cannot)
}
