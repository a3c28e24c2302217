//! The kernels that guests boot: Debian's packages, unpacked under `target/vm/kernels` and never
//! installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    run::{ask, say},
    workspace,
};

/// A line of stable kernels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    pub(crate) version: &'static str,
    /// Drivers that have native XDP, of those that a guest has NICs for.
    pub(crate) xdp_drivers: &'static [&'static str],
    /// The tests for guests that run on this kernel, as an expression of nextest without spaces.
    /// `matrix!` makes four ways of a test; one is enough for a kernel.
    pub(crate) filter: &'static str,
    /// Tests that `--quick` leaves out: ways that another kernel's guest goes.
    pub(crate) left_out: &'static str,
}

/// To add a kernel, add an entry: the newest `linux-image-VERSION.*-cloud-amd64` that apt offers is it.
pub(crate) const KERNELS: &[Kernel] = &[
    Kernel {
        version: "6.1",
        xdp_drivers: &["virtio_net"],
        // clsact: it is older than TCX (6.6). An interface that is up keeps its name (until 6.2). The
        // reboot of the tests takes pins away, which filters of clsact outlive.
        filter: "not(test(/::(host_xdp|host_tc|port_xdp)$|^renamed::|^state_survives_a_reboot$/))",
        left_out: "test(/^(claims_are_dropped|honest_frames_pass)::xdp$|::vmxnet3_xdp$/)",
    },
    Kernel {
        version: "6.12",
        xdp_drivers: &["virtio_net", "vmxnet3"],
        filter: "not(test(/::(host_tc|port_xdp|port_tc)$/))",
        left_out: "test(/^(claims_are_dropped|honest_frames_pass)::tc$|::(virtio|vmxnet3)_tc$/)",
    },
];

/// Modules that guests need and that this kernel's image has not built in.
pub(crate) const MODULES: &[&str] = &[
    "veth",
    "sch_ingress",
    "cls_bpf",
    "bridge",
    "8021q",
    "virtio_pci",
    "virtio_net",
    "virtio_console",
    "vmxnet3",
    // Senders that choose metadata, and what carries others' packets.
    "tun",
    "vxlan",
    "geneve",
    "ip_gre",
    "ipip",
    "sctp",
    // IPsec with ciphers that keep nothing secret.
    "esp4",
    "xfrm_user",
    "authenc",
    "crypto_null",
];

impl Kernel {
    /// The tests to run, as an expression of nextest without spaces.
    pub(crate) fn expression(&self, quick: bool) -> String {
        let Self { filter, left_out, .. } = self;
        if quick { format!("{filter}-{left_out}") } else { (*filter).to_owned() }
    }

    fn folder(&self) -> PathBuf {
        workspace::target().join("vm/kernels").join(self.version)
    }

    pub(crate) fn is_there(&self) -> bool {
        self.image().is_ok() && self.release().is_ok()
    }

    pub(crate) fn image(&self) -> Result<PathBuf> {
        only(&self.folder().join("boot"), "vmlinuz-")
    }

    /// `uname -r` of it.
    pub(crate) fn release(&self) -> Result<String> {
        Ok(self.modules_folder()?.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }

    /// The folder of its modules.
    pub(crate) fn modules_folder(&self) -> Result<PathBuf> {
        only(&self.folder().join("lib/modules"), "")
    }

    /// Files of these modules and what they need, in the order in which they are to be loaded.
    pub(crate) fn modules(&self, modules: &[&str]) -> Result<Vec<PathBuf>> {
        let release = self.release()?;
        let mut files = Vec::new();
        for module in modules {
            let shown = ask(Command::new("modprobe").arg("--dirname").arg(self.folder()).args([
                "--set-version",
                &release,
                "--show-depends",
                module,
            ]))
            .with_context(|| format!("modprobe knows no {module} of {release}"))?;
            // `insmod FILE` or `builtin NAME`
            for line in shown.lines() {
                if let Some(file) = line.strip_prefix("insmod ") {
                    let file = PathBuf::from(file.trim());
                    if !files.contains(&file) {
                        files.push(file);
                    }
                }
            }
        }
        Ok(files)
    }

    pub(crate) fn download(&self) -> Result<()> {
        let package = self.package()?;
        let folder = self.folder();
        // `with_extension` would take ".12" for one.
        let unpacked = folder.with_file_name(format!("{}.new", self.version));
        for old in [&unpacked, &folder] {
            if old.exists() {
                fs::remove_dir_all(old)
                    .with_context(|| format!("cannot remove {}", old.display()))?;
            }
        }
        fs::create_dir_all(&unpacked)?;
        // apt's user for downloads may not write here, and says so; root may.
        say(Command::new("apt-get")
            .args(["--quiet", "--option", "APT::Sandbox::User=root", "download", &package])
            .current_dir(&unpacked))?;
        let archive = only(&unpacked, "linux-image-")?;
        say(Command::new("dpkg-deb").arg("--extract").args([&archive, &unpacked]))?;
        fs::remove_file(&archive)?;
        let release = only(&unpacked.join("lib/modules"), "")?;
        let release = release.file_name().context("a folder of modules")?;
        say(Command::new("depmod").arg("--basedir").arg(&unpacked).arg(release))?;
        fs::rename(&unpacked, &folder).context("cannot rename the unpacked kernel")
    }

    /// The newest of its packages, signed as Debian boots it.
    fn package(&self) -> Result<String> {
        let prefix = format!("linux-image-{}.", self.version);
        let names = ask(Command::new("apt-cache").args(["pkgnames", &prefix])).unwrap_or_default();
        let newest = names
            .lines()
            .filter(|name| name.ends_with("-cloud-amd64") && is_offered(name))
            .max_by_key(|name| numbers(name));
        match newest {
            Some(name) => Ok(name.to_owned()),
            None => bail!("apt offers no {prefix}*-cloud-amd64; add a source that has it"),
        }
    }
}

/// apt also knows names that others only depend on.
fn is_offered(package: &str) -> bool {
    ask(Command::new("apt-cache").args(["show", "--no-all-versions", package]))
        .is_some_and(|shown| shown.contains("Filename:"))
}

/// The numbers in a name, by which `6.1.0-9` goes before `6.1.0-10`.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The one entry of a folder whose name starts so.
fn only(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    let mut found = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path());
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        _ => bail!("not exactly one {prefix}* in {}", folder.display()),
    }
}
