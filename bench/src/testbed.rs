//! Where a contender is measured: two machines and a veth between them.
//!
//! ```text
//! remote [up0] ======== [nic0] instance
//! generator             filter, and behind it a sink
//! ```
//!
//! Generator, filter and sink run on one CPU, one after the other: a packet that a veth receives is
//! handled where it was sent. The time of a burst therefore holds all three, for every contender.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use nix::net::if_::if_nametoindex;
use sg_datapath::testing::{
    generator::{Attached, BaselineProgram, Generator},
    varying::Sources,
};
use sg_tests::{NetNs, Ran, Role, Topology, topology::mac};

use crate::{
    contenders::nft,
    cpu,
    packets::{FAR, NEAR, senders},
};

/// Two machines of a contender's own.
pub struct Testbed {
    pub topology: Topology,
    /// One at the IP stack is no program.
    sink: Option<Option<Attached>>,
}

/// Where everything ends that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Behind XDP and TC, where it costs least.
    Tc,
    /// Behind the IP stack's input hook, where packet filters of the kernel are.
    Ip,
}

/// A chain behind those of the filters, and behind conntrack's last hook, which puts a new flow
/// into its table. If two chains have one priority, the kernel calls the later one first
/// (nf_hook_entries_grow). This chain is therefore made before all of them, and empty.
const IP_SINK: &str = "table inet sink {
    counter sunk { }
    chain input { type filter hook input priority 2147483647; policy accept; }
}
";
const IP_SINK_CLOSES: &str = "add rule inet sink input counter name sunk drop\n";

impl Testbed {
    pub fn new() -> Result<Self> {
        let topology = Topology::new(Role::Host);
        let address = mac(FAR).map(|byte| format!("{byte:02x}")).join(":");
        // Answers go out, and nobody asks who is there.
        for (family, gateway) in [("-4", "10.9.0.10"), ("-6", "fd09::10")] {
            let from = if family == "-4" {
                senders(sg_common::Family::V4)
            } else {
                senders(sg_common::Family::V6)
            };
            topology.instance.ip(&format!(
                "{family} neighbour replace {gateway} lladdr {address} dev {NEAR} nud permanent
                 {family} route add {from} via {gateway} dev {NEAR} onlink"
            ));
        }
        // NAPI, which a veth has else only with XDP, takes what the generator redirects.
        let gro = topology.instance.succeeds("ethtool", &["-K", NEAR, "gro", "on"]);
        ensure!(gro, "ethtool cannot switch GRO on");
        nft::load(&topology.instance, IP_SINK)?;
        Ok(Self { topology, sink: None })
    }

    pub fn near(&self) -> &NetNs {
        &self.topology.instance
    }

    pub fn attach(&self, program: BaselineProgram) -> Result<Attached> {
        let attach = || program.attach(if_nametoindex(NEAR)?);
        self.near().run(attach).with_context(|| format!("attaching {program:?}"))
    }

    pub fn sink(&mut self, sink: Sink) -> Result<()> {
        let attached = match sink {
            Sink::Tc => Some(self.attach(BaselineProgram::Sink)?),
            Sink::Ip => {
                nft::load(self.near(), IP_SINK_CLOSES)?;
                None
            }
        };
        self.sink = Some(attached);
        Ok(())
    }

    /// Packets that came to the sink, if there is one.
    pub fn sunk(&self) -> Result<Option<u64>> {
        match &self.sink {
            None => Ok(None),
            Some(Some(attached)) => Ok(Some(attached.sunk())),
            Some(None) => nft::counter(self.near(), "sink", "sunk").map(Some),
        }
    }

    /// Packets that the interface has received, whatever became of them.
    pub fn received(&self) -> Result<u64> {
        Ok(received(self.near())?.packets)
    }

    pub fn generator(&self, frame: &[u8], sources: Sources) -> Result<Generator> {
        let new = || Generator::new(if_nametoindex(FAR)?, frame, sources);
        self.topology.remote.run(new).context("loading the generator")
    }

    /// Sends a burst; nanoseconds that a packet took.
    pub fn burst(&self, generator: &mut Generator, packets: u32) -> Result<f64> {
        let send = move || {
            cpu::pin(cpu::measured());
            cpu::undisturbed(|| generator.send(packets))
        };
        self.topology.remote.run(send).map(f64::from).context("sending")
    }
}

/// Bytes and packets that [`NEAR`] has received.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    pub bytes: u64,
    pub packets: u64,
}

pub fn received(namespace: &NetNs) -> Result<Received> {
    // Read the thread's own /proc: sysfs would show the namespace of the thread that mounted it.
    let text = namespace.run(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix(NEAR)?.strip_prefix(':'));
    let mut numbers = line.unwrap_or_default().split_whitespace().map(str::parse);
    let (Some(Ok(bytes)), Some(Ok(packets))) = (numbers.next(), numbers.next()) else {
        bail!("no {NEAR} in {text}");
    };
    Ok(Received { bytes, packets })
}

/// Runs a program in a namespace; what it printed.
pub fn run(namespace: &NetNs, program: &str, args: &[&str]) -> Result<String> {
    let ran = namespace.run(|| Ran::of(std::process::Command::new(program).args(args)));
    ensure!(ran.status == Some(0), "{program} {}: {}", args.join(" "), ran.stderr.trim());
    Ok(ran.stdout)
}
