//! The crates as ARCHITECTURE.md has them: each depends only on those below it, and on nothing that it
//! is to know nothing of. With all features on, because a feature is no excuse.

use std::{collections::BTreeSet, path::Path, process::Command};

/// A crate, from the lowest to the highest.
struct Layer {
    name: &'static str,
    /// Our crates that it may depend on.
    uses: &'static [&'static str],
    /// Packages that must not be anywhere below it.
    knows_nothing_of: &'static [&'static [&'static str]],
    /// Packages that it must not name itself.
    leaves_to_others: &'static [&'static [&'static str]],
}

const KERNEL: &[&str] = &["aya", "libc", "nix", "procfs", "rtnetlink", "rustix", "socket2"];
const BPF: &[&str] = &["aya", "aya-obj"];
const NETLINK: &[&str] = &["netlink-packet-route", "rtnetlink"];
const HTTP: &[&str] = &["axum", "http", "hyper"];
const SERVER: &[&str] = &["axum", "tower"];
const ASYNC: &[&str] = &["futures-util", "tokio"];
const FORMATS: &[&str] = &["serde", "toml"];
const IO: &[&str] = &["libc", "nix", "rustls", "socket2"];
const RULES: &[&str] = &["sg-policy"];
const BACKENDS: &[&str] = &["etcd-client", "redb"];
const STORES: &[&str] = &["etcd-client", "redb", "sg-store"];
const AGENT: &[&str] = &["sg-agent", "sg-datapath", "sg-policy"];
const ANYTHING: &[&str] = &["aya", "libc", "serde", "thiserror"];

const LAYERS: &[Layer] = &[
    Layer { name: "sg-common", uses: &[], knows_nothing_of: &[ANYTHING], leaves_to_others: &[] },
    Layer {
        name: "sg-policy",
        uses: &["sg-common"],
        knows_nothing_of: &[KERNEL, ASYNC, HTTP],
        leaves_to_others: &[],
    },
    Layer {
        name: "sg-log",
        uses: &["sg-policy"],
        knows_nothing_of: &[ASYNC, HTTP],
        leaves_to_others: &[],
    },
    Layer {
        name: "sg-datapath",
        uses: &["sg-common"],
        knows_nothing_of: &[RULES, FORMATS, HTTP, ASYNC],
        leaves_to_others: &[],
    },
    Layer {
        name: "sg-api",
        uses: &[],
        knows_nothing_of: &[AGENT, BPF, NETLINK, SERVER],
        leaves_to_others: &[],
    },
    Layer {
        name: "sg-iam",
        uses: &[],
        knows_nothing_of: &[AGENT, IO, ASYNC, HTTP, STORES],
        leaves_to_others: &[],
    },
    Layer {
        name: "sg-store",
        uses: &["sg-common", "sg-policy"],
        knows_nothing_of: &[BPF, NETLINK, HTTP],
        leaves_to_others: &[],
    },
    Layer {
        name: "sg-ec2",
        uses: &["sg-common", "sg-policy", "sg-iam", "sg-store"],
        knows_nothing_of: &[BPF, NETLINK, IO, ASYNC, HTTP, BACKENDS],
        leaves_to_others: &[],
    },
    Layer {
        name: "sg-server",
        uses: &["sg-policy", "sg-log", "sg-api", "sg-iam", "sg-store", "sg-ec2"],
        knows_nothing_of: &[BPF, NETLINK, &["sg-agent", "sg-datapath"]],
        leaves_to_others: &[],
    },
    Layer {
        name: "sg-agent",
        uses: &["sg-common", "sg-policy", "sg-log", "sg-datapath", "sg-api", "sg-store"],
        knows_nothing_of: &[],
        leaves_to_others: &[BPF],
    },
    Layer {
        name: "sgctl",
        uses: &["sg-common", "sg-policy", "sg-api"],
        knows_nothing_of: &[BPF, NETLINK, STORES, SERVER, &["sg-agent", "sg-datapath"]],
        leaves_to_others: &[],
    },
    Layer {
        name: "sg-tests",
        uses: &["sg-common", "sg-policy", "sg-log", "sg-datapath", "sg-api", "sg-iam", "sg-agent"],
        knows_nothing_of: &[],
        leaves_to_others: &[BPF],
    },
    Layer {
        name: "sg-bench",
        uses: &["sg-common", "sg-policy", "sg-datapath", "sg-api", "sg-tests"],
        knows_nothing_of: &[],
        leaves_to_others: &[BPF],
    },
    Layer { name: "xtask", uses: &[], knows_nothing_of: &[], leaves_to_others: &[KERNEL] },
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of it")
}

/// The list of `cargo tree` for packages, a line each: name, a bar, features.
fn tree(args: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}|{f}"])
        .args(args)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let line = |line: &str| {
        let (package, features) = line.split_once('|').expect("a bar");
        let name = package.split(' ').next().expect("a name");
        format!("{name}|{}", features.trim_end_matches(" (*)"))
    };
    // A line without text is between two packages that were asked for.
    text.lines().filter(|line| !line.is_empty()).map(line).collect()
}

/// Names of a package's dependencies, without its own: of all, or of those that it names itself.
fn dependencies(package: &str, depth: Option<&str>) -> BTreeSet<String> {
    let mut args = vec!["--package", package, "--all-features"];
    args.extend(depth.into_iter().flat_map(|depth| ["--depth", depth]));
    let names =
        tree(&args).into_iter().map(|line| line[..line.find('|').expect("a bar")].to_owned());
    names.filter(|name| name != package).collect()
}

/// Which of the forbidden ones are there.
fn found(forbidden: &[&[&str]], there: &BTreeSet<String>) -> Vec<String> {
    let forbidden = forbidden.iter().flat_map(|group| group.iter());
    forbidden.filter(|name| there.contains(**name)).map(|name| (*name).to_owned()).collect()
}

#[test]
fn every_crate_keeps_to_what_it_may_know() {
    for Layer { name, knows_nothing_of, leaves_to_others, .. } in LAYERS {
        let all = found(knows_nothing_of, &dependencies(name, None));
        assert!(
            all.is_empty(),
            "{name} is to know nothing of {all:?}: `cargo tree -i` shows the way"
        );
        let own = found(leaves_to_others, &dependencies(name, Some("1")));
        assert!(own.is_empty(), "{name} leaves {own:?} to other crates");
    }
}

#[test]
fn arrows_between_crates_point_down() {
    let ours: BTreeSet<_> = LAYERS.iter().map(|layer| layer.name).collect();
    for (height, Layer { name, uses, .. }) in LAYERS.iter().enumerate() {
        let lower: BTreeSet<_> = LAYERS[..height].iter().map(|layer| layer.name).collect();
        assert!(
            uses.iter().all(|used| lower.contains(used)),
            "{name}: {uses:?} are not all below it"
        );
        let used = dependencies(name, Some("1"));
        let others: Vec<_> = used
            .iter()
            .map(String::as_str)
            .filter(|used| ours.contains(used) && !uses.contains(used))
            .collect();
        assert!(others.is_empty(), "{name} depends on {others:?}");
    }
}

#[test]
fn every_member_of_the_workspace_has_a_row() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let members = manifest["workspace"]["members"].as_array().expect("a list");
    for member in members.iter().filter_map(toml::Value::as_str) {
        let text =
            std::fs::read_to_string(root().join(member).join("Cargo.toml")).expect("a crate");
        let text: toml::Table = text.parse().expect("TOML");
        let name = text["package"]["name"].as_str().expect("a name");
        assert!(LAYERS.iter().any(|layer| layer.name == name), "{name} has no row in LAYERS");
    }
}

/// By the way that `cargo xtask build` calls cargo.
#[test]
fn production_binaries_have_no_tools_for_tests() {
    let built = tree(&["--package", "sg-agent", "--package", "sgctl"]);
    let ours = built.into_iter().filter(|line| line.starts_with("sg"));
    let with_features: Vec<_> = ours.filter(|line| !line.ends_with('|')).collect();
    assert_eq!(with_features, ["sg-api|client,feed"]);
}
