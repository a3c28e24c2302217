//! `cargo xtask setup`: a fresh Debian machine with rustup's stable Rust becomes one that builds,
//! demonstrates and tests. Looks first; installs only what is missing, and says so.

use std::{env, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{
    run::{ask, clean, say},
    toolchain::{self, BPF_LINKER, LINKED, LLVM},
};

/// The versions that CI has seen; newer ones may ask for a newer Rust than the workspace does.
const NEXTEST: &str = "0.9.143";
const DENY: &str = "0.20.2";

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Also what only CI needs: cargo-deny, and clippy for the BPF crate
    #[arg(long)]
    ci: bool,
    /// Also what `cargo xtask bench` compares with: nft, iptables, ipset, iperf3, xdp-filter
    #[arg(long)]
    bench: bool,
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

const CI_STEPS: &[Step] = &[
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

const BENCH_STEPS: &[Step] = &[
    Step {
        what: "ethtool",
        missing: || !runs("ethtool", "--version"),
        install: || apt(&["ethtool"]),
    },
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

pub(crate) fn run(args: &Args) -> Result<()> {
    let steps = STEPS.iter().chain(if args.ci { CI_STEPS } else { &[] }).chain(if args.bench {
        BENCH_STEPS
    } else {
        &[]
    });
    let missing: Vec<&Step> = steps.filter(|step| (step.missing)()).collect();
    if missing.is_empty() {
        eprintln!("setup: everything is there");
    }
    install(&missing)
}

/// The same for the other verbs: silent when there is nothing to do.
pub(crate) fn ensure() -> Result<()> {
    install(&STEPS.iter().filter(|step| (step.missing)()).collect::<Vec<_>>())
}

/// The same for `bench`.
pub(crate) fn ensure_bench() -> Result<()> {
    ensure()?;
    install(&BENCH_STEPS.iter().filter(|step| (step.missing)()).collect::<Vec<_>>())
}

fn install(missing: &[&Step]) -> Result<()> {
    for step in missing {
        eprintln!("setup: installing {}", step.what);
        (step.install)()?;
        if (step.missing)() {
            bail!("{} is still missing after its installation", step.what);
        }
    }
    Ok(())
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

fn cargo_install(package: &str, version: &str) -> Result<()> {
    say(clean("cargo")
        .args(["install", package, "--version", version, "--locked"])
        .env_remove("CARGO_TARGET_DIR"))
}

fn apt(packages: &[&str]) -> Result<()> {
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
    let get = |args: &[&str]| {
        say(Command::new("apt-get")
            .args(["--quiet", "--option", "DPkg::Lock::Timeout=600"])
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive"))
    };
    get(&["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&absent);
    get(&install)
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
