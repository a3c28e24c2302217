//! The bpffs that pins lie in. The owner of a folder owns the pins in it, so all folders have to be
//! the agent's own.

use std::{
    ffi::CString,
    fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use crate::{advice, error::Error};

/// Below here the kernel has a mount point for it.
const STANDARD: &str = "/sys/fs/bpf";
/// Write permission of group and others.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Mounts a bpffs for `at` where there is none, closed to other users, and creates the folder.
pub fn mount(at: &Path) -> Result<(), Error> {
    ensure_mounted(at).map_err(|error| {
        Error::Other(format!(
            "cannot mount a BPF file system for {at}: {error}{advice}; once it is there, as by \
             `mount -t bpf bpf {STANDARD}`, none has to be mounted",
            at = at.display(),
            advice = advice::on(&error),
        ))
    })
}

fn ensure_mounted(at: &Path) -> io::Result<()> {
    let existing = at.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if !is_bpffs(existing)? {
        let standard = Path::new(STANDARD);
        let target = if at.starts_with(standard) { standard } else { at };
        fs::create_dir_all(target)?;
        let target = c_string(target)?;
        // The kernel's own default is 1777: any user could make our folders before us.
        let options = c"mode=0700";
        // SAFETY: all pointers are to terminated strings.
        let result = unsafe {
            libc::mount(
                c"bpf".as_ptr(),
                target.as_ptr(),
                c"bpf".as_ptr(),
                0,
                options.as_ptr().cast(),
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    fs::create_dir_all(at)
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn is_bpffs(path: &Path) -> io::Result<bool> {
    let path = c_string(path)?;
    // SAFETY: a zeroed statfs is a valid out parameter.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.f_type == libc::BPF_FS_MAGIC as libc::__fsword_t)
}

/// Makes sure that `folder` and all in `trees`, which are below it, belong to the agent's user, and that nobody
/// else can write there. Takes that right from others where the folders are the agent's own.
///
/// # Errors
/// Another user made something in it, or can put another folder in its place.
pub fn claim(folder: &Path, trees: &[PathBuf]) -> Result<(), Error> {
    let parents = folder.ancestors().skip(1).filter(|path| is_bpffs(path).unwrap_or(false));
    for parent in parents {
        // A sticky folder lets nobody remove another user's files.
        let metadata = metadata(parent)?;
        if metadata.uid() != 0 {
            owned(parent)?;
        }
        let mode = metadata.mode();
        if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
            return Err(open_to_others(parent, mode));
        }
    }
    close(folder)?;
    trees.iter().try_for_each(|tree| claim_tree(tree))
}

/// Takes the right to write from other users.
fn close(path: &Path) -> Result<(), Error> {
    owned(path)?;
    let mode = metadata(path)?.mode() & 0o7777;
    if mode & OTHERS_WRITE == 0 {
        return Ok(());
    }
    let closed = fs::Permissions::from_mode(mode & !OTHERS_WRITE);
    fs::set_permissions(path, closed)
        .map_err(|error| Error::kernel(format!("closing {} to other users", path.display()), error))
}

fn claim_tree(path: &Path) -> Result<(), Error> {
    let failed = |error| Error::kernel(format!("reading {}", path.display()), error);
    close(path)?;
    if metadata(path)?.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            claim_tree(&entry.map_err(failed)?.path())?;
        }
    }
    Ok(())
}

/// Whether a folder is still the agent's own and closed to others.
///
/// # Errors
/// Says which condition does not hold.
pub fn check(folder: &Path) -> Result<(), Error> {
    owned(folder)?;
    let mode = metadata(folder)?.mode();
    if mode & OTHERS_WRITE == 0 { Ok(()) } else { Err(open_to_others(folder, mode)) }
}

fn metadata(path: &Path) -> Result<fs::Metadata, Error> {
    fs::symlink_metadata(path)
        .map_err(|error| Error::kernel(format!("looking at {}", path.display()), error))
}

fn owned(path: &Path) -> Result<(), Error> {
    // SAFETY: takes no arguments and cannot fail.
    let (uid, ours) = (metadata(path)?.uid(), unsafe { libc::geteuid() });
    if uid == ours {
        return Ok(());
    }
    Err(Error::Other(format!(
        "{at} belongs to user {uid}, and the agent is user {ours}: whoever owns it can replace what \
         filters; remove it (`rm -r {at}`) and start the agent again",
        at = path.display()
    )))
}

fn open_to_others(path: &Path, mode: u32) -> Error {
    Error::Other(format!(
        "other users can write to {at} (mode {mode:o}) and so replace what filters: `chmod go-w {at}`",
        at = path.display(),
        mode = mode & 0o7777,
    ))
}
