//! What the README and the guides show is run as they show it, with real traffic: see `sg_tests::guide`.
//! Network namespaces stand in for other machines, guests and containers.

use sg_tests::{Agent, Guide, NetNs, topology::connect};

/// A machine with this name, which prompts can use.
fn machine(name: &str) -> NetNs {
    NetNs::named(name.to_owned())
}

/// The two are neighbours, with these addresses.
fn wire(left: (&NetNs, &str, &str), right: (&NetNs, &str, &str)) {
    connect(left.0, left.1, right.0, right.1);
    for (namespace, end, addresses) in [left, right] {
        for address in addresses.split_whitespace() {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            namespace.ip(&format!("address add {address} dev {end} {nodad}"));
        }
    }
}

/// The quick start begins with nothing: it makes its namespaces and starts its agent itself.
#[test]
fn readme() {
    let machine = machine("machine");
    Guide::read("README.md").run(&machine, "/tmp/sg/run/agent.sock".as_ref());
}

/// A machine with one NIC, and two others that reach it.
#[test]
fn hosts() {
    let (host, office, elsewhere) = (machine("host"), machine("office"), machine("elsewhere"));
    let switch = machine("switch");
    switch.ip("link add sw0 type bridge
         link set sw0 up");
    for (namespace, port, addresses) in [
        (&host, "to-host", "192.0.2.10/24 2001:db8::10/64"),
        (&office, "to-office", "192.0.2.99/24 2001:db8::99/64"),
        (&elsewhere, "to-elsewhere", "192.0.2.200/24 2001:db8::200/64"),
    ] {
        wire((&switch, port, ""), (namespace, "eth0", addresses));
        switch.ip(&format!("link set {port} master sw0"));
    }
    let agent = Agent::start(&host, &[]);
    Guide::read("docs/hosts.md").run(&host, &agent.socket());
}

#[test]
fn vms() {
    let host = machine("host");
    let agent = Agent::start(&host, &[]);
    Guide::read("docs/vms.md").run(&host, &agent.socket());
}

#[test]
fn containers() {
    let host = machine("host");
    let agent = Agent::start(&host, &[]);
    Guide::read("docs/containers.md").run(&host, &agent.socket());
}
