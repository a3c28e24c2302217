//! `cargo xtask setup`: a fresh Debian machine with rustup's stable Rust becomes one that builds,
//! demonstrates and tests. Looks first; installs only what is missing, and says so.

use std::{env, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{
    run::{ask, clean, say},
    toolchain::{self, BPF_LINKER, LINKED, LLVM},
    tools,
    vm::kernel::{KERNELS, Kernel},
};

/// The versions that CI has seen; newer ones may ask for a newer Rust than the workspace does.
const NEXTEST: &str = "0.9.143";
const DENY: &str = "0.20.2";
const FUZZ: &str = "0.13.2";
const DEB: &str = "3.8.0";

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Also what lint, dependency checks and fuzzing need: cargo-deny, cargo-fuzz, codespell, clippy for
    /// the BPF crate
    #[arg(long)]
    lint: bool,
    /// The same, and what tests compare with: prometheus, flowlogs-reader, the AWS CLI, tmux
    #[arg(long)]
    ci: bool,
    /// Also what only vm-test needs: qemu and its guests' kernels
    #[arg(long)]
    vm: bool,
    /// Also what `cargo xtask bench` compares with: nft, iptables, ipset, iperf3, xdp-filter
    #[arg(long)]
    bench: bool,
    /// Also what only packages and their tests need: cargo-deb, lintian, mmdebstrap
    #[arg(long)]
    dist: bool,
}

/// One thing that may be missing.
struct Step {
    what: &'static str,
    missing: fn() -> bool,
    install: fn() -> Result<()>,
}

const STEPS: &[Step] = &[
    Step { what: "iproute2", missing: || !runs("ip", "-V"), install: || apt(&["iproute2"]) },
    Step {
        what: "a Rust toolchain that can build for BPF",
        missing: || toolchain::find().is_none(),
        install: install_toolchain,
    },
    Step {
        what: "bpf-linker",
        missing: || !toolchain::has_bpf_linker(),
        install: install_bpf_linker,
    },
    Step {
        what: "llvm-strip",
        missing: || !runs(&toolchain::strip(), "--version"),
        install: || apt(&[&format!("llvm-{LLVM}")]),
    },
    Step {
        what: "cargo-nextest",
        missing: || !cargo_has("nextest"),
        install: || cargo_install("cargo-nextest", NEXTEST),
    },
];

/// For tests, in guests, too, and for the bench.
const ETHTOOL: Step = Step {
    what: "ethtool",
    missing: || !runs("ethtool", "--version"),
    install: || apt(&["ethtool"]),
};

const FUZZ_STEPS: &[Step] = &[
    // libFuzzer is C++.
    Step { what: "g++", missing: || !runs("g++", "--version"), install: || apt(&["g++"]) },
    Step {
        what: "cargo-fuzz",
        missing: || !cargo_has("fuzz"),
        install: || cargo_install("cargo-fuzz", FUZZ),
    },
];

const AWS_CLI: Step = Step {
    what: "the AWS CLI, under target/tools",
    missing: || !tools::has_aws_cli(),
    install: tools::install_aws_cli,
};

/// Tools that tests hold ours against.
const TEST_STEPS: &[Step] = &[
    Step {
        what: "prometheus and promtool, under target/tools",
        missing: || !tools::has_prometheus(),
        install: tools::install_prometheus,
    },
    Step {
        what: "flowlogs-reader, under target/tools",
        missing: || !tools::has_flowlogs_reader(),
        install: tools::install_flowlogs_reader,
    },
    // With python3, which the step before brings: what guides show is run.
    Step { what: "curl", missing: || !runs("curl", "--version"), install: || apt(&["curl"]) },
    // Disks that fail.
    Step { what: "strace", missing: || !runs("strace", "-V"), install: || apt(&["strace"]) },
    Step { what: "tmux", missing: || !runs("tmux", "-V"), install: || apt(&["tmux"]) },
    ETHTOOL,
    AWS_CLI,
];

const LINT_STEPS: &[Step] = &[
    Step { what: "codespell", missing: || !can_spell(), install: || apt(&["codespell"]) },
    Step {
        what: "cargo-deny",
        missing: || !cargo_has("deny"),
        install: || cargo_install("cargo-deny", DENY),
    },
    Step {
        what: "clippy of the Rust toolchain for BPF",
        missing: || !toolchain::has_clippy(),
        install: install_clippy,
    },
];

const VM_STEPS: &[Step] = &[
    Step {
        what: "qemu",
        missing: || !runs("qemu-system-x86_64", "--version"),
        install: || apt(&["qemu-system-x86"]),
    },
    Step { what: "kmod", missing: || !runs("modprobe", "--version"), install: || apt(&["kmod"]) },
    ETHTOOL,
    Step {
        what: "the kernels of the guests",
        missing: || !KERNELS.iter().all(Kernel::is_there),
        install: install_kernels,
    },
];

const BENCH_STEPS: &[Step] = &[
    ETHTOOL,
    Step { what: "nft", missing: || !runs("nft", "--version"), install: || apt(&["nftables"]) },
    Step {
        what: "iptables",
        missing: || !runs("iptables", "--version"),
        install: || apt(&["iptables"]),
    },
    Step { what: "ipset", missing: || !runs("ipset", "--version"), install: || apt(&["ipset"]) },
    Step { what: "iperf3", missing: || !runs("iperf3", "--version"), install: || apt(&["iperf3"]) },
    Step {
        what: "xdp-filter",
        missing: || !on_path("xdp-filter"),
        install: || apt(&["xdp-tools"]),
    },
];

const DIST_STEPS: &[Step] = &[
    Step {
        what: "cargo-deb",
        missing: || !cargo_has("deb"),
        install: || cargo_install("cargo-deb", DEB),
    },
    Step {
        what: "dpkg-shlibdeps",
        missing: || !on_path("dpkg-shlibdeps"),
        install: || apt(&["dpkg-dev"]),
    },
    Step { what: "lintian", missing: || !on_path("lintian"), install: || apt(&["lintian"]) },
    Step {
        what: "mmdebstrap",
        missing: || !on_path("mmdebstrap"),
        install: || apt(&["mmdebstrap"]),
    },
    Step { what: "mke2fs", missing: || !runs("mke2fs", "-V"), install: || apt(&["e2fsprogs"]) },
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut steps = vec![STEPS];
    if args.lint || args.ci {
        steps.extend([FUZZ_STEPS, LINT_STEPS]);
    }
    steps.extend(args.ci.then_some(TEST_STEPS));
    steps.extend(args.vm.then_some(VM_STEPS));
    steps.extend(args.bench.then_some(BENCH_STEPS));
    steps.extend(args.dist.then_some(DIST_STEPS));
    if install(&steps)? == 0 {
        eprintln!("setup: everything is there");
    }
    Ok(())
}

/// The same for the other verbs: silent when there is nothing to do.
pub(crate) fn ensure() -> Result<()> {
    install(&[STEPS]).map(drop)
}

/// The same for tests that need a kernel.
pub(crate) fn ensure_tests() -> Result<()> {
    install(&[TEST_STEPS]).map(drop)
}

/// The same for the demo of the API.
pub(crate) fn ensure_api() -> Result<()> {
    install(&[&[AWS_CLI]]).map(drop)
}

pub(crate) fn ensure_fuzzing() -> Result<()> {
    install(&[FUZZ_STEPS]).map(drop)
}

/// Whether fuzz targets can be built.
pub(crate) fn can_fuzz() -> bool {
    FUZZ_STEPS.iter().all(|step| !(step.missing)())
}

pub(crate) fn can_spell() -> bool {
    on_path("codespell")
}

/// The same for vm-test.
pub(crate) fn ensure_vm() -> Result<()> {
    install(&[STEPS, VM_STEPS]).map(drop)
}

/// The same for `dist`.
pub(crate) fn ensure_dist() -> Result<()> {
    install(&[STEPS, DIST_STEPS]).map(drop)
}

/// The same for `bench`.
pub(crate) fn ensure_bench() -> Result<()> {
    install(&[STEPS, BENCH_STEPS]).map(drop)
}

/// Installs what is missing; how much that was.
fn install(steps: &[&[Step]]) -> Result<usize> {
    let missing: Vec<&Step> =
        steps.iter().copied().flatten().filter(|step| (step.missing)()).collect();
    for step in &missing {
        eprintln!("setup: installing {}", step.what);
        (step.install)()?;
        if (step.missing)() {
            bail!("{} is still missing after its installation", step.what);
        }
    }
    Ok(missing.len())
}

/// Debian's newest rustc comes with its library's source, and rustup can call it by a name.
fn install_toolchain() -> Result<()> {
    apt(&["rustc-web", "cargo-web", "rust-web-src"])?;
    say(clean("rustup").args(["toolchain", "link", LINKED, "/usr"]))
}

fn install_clippy() -> Result<()> {
    match toolchain::find() {
        Some(nightly) if nightly != LINKED => {
            say(clean("rustup").args(["component", "add", "clippy", "--toolchain", &nightly]))
        }
        _ => apt(&["rust-web-clippy"]),
    }
}

fn install_bpf_linker() -> Result<()> {
    let llvm = format!("llvm-{LLVM}-dev");
    let polly = format!("libpolly-{LLVM}-dev");
    apt(&[&llvm, &polly, "zlib1g-dev", "libzstd-dev", "libxml2-dev"])?;
    say(clean("cargo")
        .args(["install", "bpf-linker", "--version", BPF_LINKER, "--locked", "--force"])
        .args(["--no-default-features", "--features", &format!("llvm-{LLVM}")])
        .env("LLVM_PREFIX", format!("/usr/lib/llvm-{LLVM}"))
        .env_remove("CARGO_TARGET_DIR"))
}

fn install_kernels() -> Result<()> {
    apt_get(&["update"])?;
    KERNELS.iter().filter(|kernel| !kernel.is_there()).try_for_each(Kernel::download)
}

fn cargo_install(package: &str, version: &str) -> Result<()> {
    say(clean("cargo")
        .args(["install", package, "--version", version, "--locked"])
        .env_remove("CARGO_TARGET_DIR"))
}

pub(crate) fn apt(packages: &[&str]) -> Result<()> {
    let absent: Vec<&str> = packages.iter().copied().filter(|name| !has_package(name)).collect();
    if absent.is_empty() {
        return Ok(());
    }
    let list = absent.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this is no Debian machine; install what these packages hold: {list}");
    }
    if ask(Command::new("id").arg("-u")).as_deref() != Some("0") {
        bail!("not root; run `apt-get update && apt-get install {list}` as root, then this again");
    }
    apt_get(&["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&absent);
    apt_get(&install)
}

fn apt_get(args: &[&str]) -> Result<()> {
    say(Command::new("apt-get")
        .args(["--quiet", "--option", "DPkg::Lock::Timeout=600"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

fn has_package(name: &str) -> bool {
    ask(Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", name]))
        .is_some_and(|status| status == "installed")
}

fn runs(program: &str, flag: &str) -> bool {
    ask(Command::new(program).arg(flag)).is_some()
}

fn cargo_has(subcommand: &str) -> bool {
    on_path(&format!("cargo-{subcommand}"))
}

/// For programs that call no option a success.
fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
