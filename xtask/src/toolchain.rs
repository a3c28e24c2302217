//! The Rust that builds for BPF: `-Z build-std` needs the library's source, and bpf-linker an LLVM
//! at least as new as the compiler's.

use std::{path::Path, process::Command};

use crate::run::{ask, clean};

/// The LLVM that bpf-linker is built with.
pub(crate) const LLVM: u32 = 22;
pub(crate) const BPF_LINKER: &str = "0.13.0";
/// The rustup name of Debian's own Rust.
pub(crate) const LINKED: &str = "sg-bpf";

/// Name of a rustup toolchain that can build the BPF object: a nightly with rust-src, else Debian's.
pub(crate) fn find() -> Option<String> {
    let installed = ask(clean("rustup").args(["toolchain", "list", "--quiet"]))?;
    let names = || installed.lines().map(str::trim);
    names()
        .filter(|name| name.starts_with("nightly"))
        .chain(names().filter(|name| *name == LINKED))
        .find(|name| builds_core(name))
        .map(str::to_owned)
}

/// The program that takes DWARF out of an object and leaves BTF in.
pub(crate) fn strip() -> String {
    format!("llvm-strip-{LLVM}")
}

fn builds_core(toolchain: &str) -> bool {
    let rustc = |args: &[&str]| ask(clean("rustup").args(["run", toolchain, "rustc"]).args(args));
    let Some(sysroot) = rustc(&["--print", "sysroot"]) else { return false };
    let Some(version) = rustc(&["-vV"]) else { return false };
    let llvm = version.lines().find_map(|line| {
        line.strip_prefix("LLVM version: ")?.split('.').next()?.parse::<u32>().ok()
    });
    Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").exists()
        && llvm.is_some_and(|llvm| llvm <= LLVM)
}

/// Whether the bpf-linker of this version is there and its libraries are too.
pub(crate) fn has_bpf_linker() -> bool {
    ask(Command::new("bpf-linker").arg("--version"))
        .is_some_and(|version| version.split_whitespace().last() == Some(BPF_LINKER))
}

/// Whether the toolchain for BPF can lint.
pub(crate) fn has_clippy() -> bool {
    find().is_some_and(|name| {
        ask(clean("rustup").args(["run", &name, "cargo-clippy", "--version"])).is_some()
    })
}
