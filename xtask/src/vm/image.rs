//! A disk with a Debian system on it, for `vm-test --systemd`: made once for a kernel, and copied for
//! each run. No package of ours is in it.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::kernel::Kernel;
use crate::run::say;

const SUITE: &str = "bookworm";
/// Beside what is essential.
const PACKAGES: &str = "systemd-sysv,udev,kmod,iproute2,mawk";
const SIZE: &str = "700M";

/// The guest's address is that of `tests/src/bin/systemd`.
const FILES: &[(&str, &str)] = &[
    ("etc/hostname", "guest\n"),
    // Not empty, or systemd takes the first boot for the installation of the machine.
    ("etc/machine-id", "73672d6775657374000000000000000a\n"),
    (
        "etc/systemd/journald.conf.d/test.conf",
        "[Journal]\nStorage=persistent\nSyncIntervalSec=1s\n",
    ),
    (
        "etc/systemd/network/10-nic.network",
        "[Match]\nDriver=virtio_net\n[Network]\nAddress=10.77.0.2/24\nLinkLocalAddressing=no\n",
    ),
    // An echo server on each of two ports.
    (
        "etc/systemd/system/echo.socket",
        "[Socket]\nListenStream=80\nListenStream=81\nAccept=yes\nMaxConnections=1000\n\
         TriggerLimitIntervalSec=0\n[Install]\nWantedBy=sockets.target\n",
    ),
    ("etc/systemd/system/echo@.service", "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n"),
    (
        "etc/systemd/system/control.service",
        "[Unit]\nAfter=dev-virtio\\x2dports-sg.control.device network.target\n\
         BindsTo=dev-virtio\\x2dports-sg.control.device\n\
         [Service]\nExecStart=/bin/bash /usr/local/sbin/control\nStandardOutput=journal\n\
         [Install]\nWantedBy=multi-user.target\n",
    ),
    ("etc/udev/rules.d/99-control.rules", "SUBSYSTEM==\"virtio-ports\", TAG+=\"systemd\"\n"),
    // Runs each line that comes by the port; output, then a line with the status.
    (
        "usr/local/sbin/control",
        "export PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive\n\
         exec 3<>/dev/virtio-ports/sg.control\n\
         echo '= ready' >&3\n\
         while IFS= read -r line <&3; do\n\
         said=$(bash -c \"$line\" 2>&1 </dev/null); status=$?\n\
         printf '%s\\n= %s\\n' \"$said\" \"$status\" >&3\n\
         done\n",
    ),
];

/// Units that are not started, and those that are.
const MASKED: &[&str] = &[
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "systemd-networkd-wait-online.service",
    "getty@tty1.service",
];
const WANTED: &[(&str, &str)] = &[
    ("sockets.target.wants", "/etc/systemd/system/echo.socket"),
    ("multi-user.target.wants", "/etc/systemd/system/control.service"),
    ("multi-user.target.wants", "/usr/lib/systemd/system/systemd-networkd.service"),
];

/// A disk of its own for a run, with a fresh system.
pub(crate) fn fresh(kernel: &Kernel, folder: &Path) -> Result<PathBuf> {
    let made = folder.join(format!("debian-{}-{:016x}.ext4", kernel.version, recipe(kernel)?));
    if !made.exists() {
        make(kernel, folder, &made)?;
    }
    let disk = folder.join("disk.ext4");
    say(Command::new("cp").arg("--sparse=always").args([&made, &disk]))?;
    Ok(disk)
}

/// Tells disks apart that are made otherwise.
fn recipe(kernel: &Kernel) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    (SUITE, PACKAGES, SIZE, FILES, MASKED, WANTED, kernel.release()?).hash(&mut hasher);
    Ok(hasher.finish())
}

fn make(kernel: &Kernel, folder: &Path, to: &Path) -> Result<()> {
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    say(Command::new("mmdebstrap")
        .args(["--quiet", "--mode=root", "--variant=essential", "--format=directory"])
        .arg(format!("--include={PACKAGES}"))
        .arg(SUITE)
        .arg(&root))?;
    for (name, text) in FILES {
        let file = root.join(name);
        fs::create_dir_all(file.parent().context("a folder")?)?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let units = root.join("etc/systemd/system");
    for unit in MASKED {
        symlink("/dev/null", units.join(unit))?;
    }
    for (folder, unit) in WANTED {
        let folder = units.join(folder);
        fs::create_dir_all(&folder)?;
        symlink(unit, folder.join(Path::new(unit).file_name().context("a unit")?))?;
    }
    let modules = root.join("usr/lib/modules");
    fs::create_dir_all(&modules)?;
    say(Command::new("cp").arg("--recursive").arg(kernel.modules_folder()?).arg(&modules))?;
    // As mmdebstrap leaves it, only root may enter the system.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755))?;
    let new = to.with_extension("new");
    say(Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-d"])
        .args([&root, &new])
        .arg(SIZE))?;
    fs::rename(&new, to)?;
    fs::remove_dir_all(&root)?;
    Ok(())
}
