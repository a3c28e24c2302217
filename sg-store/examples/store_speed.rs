//! Measures the embedded store: how long a change takes, how long a start takes, how much memory a start
//! needs.
//!
//! `cargo run --release -p sg-store --features redb --example store_speed -- FOLDER [GROUPS [CHANGES]]`

use std::{
    path::Path,
    time::{Duration, Instant},
};

use sg_policy::{
    id::{AccountId, GroupId, RuleId, VpcId},
    model::{Peer, PortRange, Services},
};
use sg_store::{
    Limits, Snapshot, Store as _, Txn,
    embedded::{Embedded, Options},
    objects::{GroupRule, SecurityGroup, Tags},
};

const RULES: u128 = 100;

type AnyError = Box<dyn std::error::Error>;

fn group(id: u128, version: u16) -> SecurityGroup {
    let rule = |number: u128| {
        let port = version.wrapping_add(number as u16);
        let bits = (id as u32) << 12 | (number as u32) << 4;
        GroupRule {
            id: RuleId(id << 16 | number),
            services: Services::Tcp(PortRange { from: port, to: port }),
            peer: Peer::Cidr(ipnet::Ipv4Net::new_assert(bits.into(), 28).into()),
            description: String::new(),
            tags: Tags::new(),
        }
    };
    SecurityGroup {
        id: GroupId(id),
        account: AccountId(1),
        region: "us-east-1".parse().expect("a region"),
        vpc: VpcId(1),
        name: format!("group-{id}"),
        description: "measured".to_owned(),
        ingress: (0..RULES).map(rule).collect(),
        egress: Vec::new(),
        tags: Tags::new(),
    }
}

/// Resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at =
        |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    println!("{what}: p50 {:.2} ms, p99 {:.2} ms, of {}", at(50), at(99), times.len());
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), AnyError> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("the folder is missing")?;
    let groups: u128 = args.next().map_or(Ok(5000), |text| text.parse())?;
    let changes: usize = args.next().map_or(Ok(500), |text| text.parse())?;
    let file = Path::new(&folder).join("measured.redb");
    let limits = Limits { ops: 4096, bytes: 8 << 20 };
    let options = Options { limits, ..Options::default() };
    if !file.exists() {
        let store = Embedded::create(&file, options, &Txn::new())?;
        let started = Instant::now();
        for first in (1..=groups).step_by(500) {
            let mut txn = Txn::new();
            for id in first..(first + 500).min(groups + 1) {
                txn.put(&group(id, 1));
            }
            store.commit(txn).await?;
        }
        println!("{groups} groups of {RULES} rules written: {:?}", started.elapsed());
        return Ok(());
    }
    let before = resident();
    let started = Instant::now();
    let store = Embedded::open(&file, options)?;
    let opened = started.elapsed();
    let with_store = resident();
    let snapshot = Snapshot::load(&store, "", None).await?;
    let read = started.elapsed() - opened;
    let bytes: usize = snapshot.iter().map(|(_, object)| object.encode().len()).sum();
    println!("opened and verified: {opened:?}; read and decoded: {read:?}");
    println!("{} objects, {bytes} bytes of documents", snapshot.len());
    println!("RSS: {before} KiB before, {with_store} with the store, {} with all", resident());

    let mut times = Vec::new();
    for number in 0..changes {
        let changed = group(1 + number as u128 % groups.max(1), 2);
        let started = Instant::now();
        let mut txn = Txn::new();
        txn.put(&changed);
        store.commit(txn).await?;
        times.push(started.elapsed());
    }
    show("a change, one at a time", &mut times);
    println!("file: {} KiB", file.metadata()?.len() / 1024);
    Ok(())
}
