//! Names the BPF object to embed: what `cargo xtask build` made, or an empty file, so that `cargo
//! check` and clippy work without the BPF toolchain.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=SG_BPF_OBJECT");
    let object = env::var_os("SG_BPF_OBJECT").map_or_else(
        || {
            let out = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
            let empty = out.join("empty.o");
            fs::write(&empty, []).expect("the build's own folder is writable");
            empty
        },
        PathBuf::from,
    );
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rustc-env=SG_BPF_OBJECT={}", object.display());
}
