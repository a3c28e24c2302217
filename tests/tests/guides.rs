//! Runs the commands of the README and the guides as they stand there, with real traffic: see
//! `sg_tests::guide`. Network namespaces stand in for other machines, guests and containers.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use sg_tests::{Agent, Guide, NetNs, sandbox, topology::connect};

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
    let tools = std::env::var_os("SG_TOOLS_DIR").expect("SG_TOOLS_DIR; run `cargo xtask test`");
    let aws = Path::new(&tools).join("aws/bin");
    Guide::read("README.md").run_with(&machine, "/tmp/sg/run/agent.sock".as_ref(), &aws);
}

/// A machine with one NIC, and two others that reach it.
#[test]
fn hosts() {
    let (host, office, elsewhere) = (machine("host"), machine("office"), machine("elsewhere"));
    let switch = machine("switch");
    switch.ip("link add sw0 type bridge
         link set sw0 up");
    for (index, (namespace, port, addresses)) in [
        (&host, "to-host", "192.0.2.10/24 2001:db8::10/64"),
        (&office, "to-office", "192.0.2.99/24 2001:db8::99/64"),
        (&elsewhere, "to-elsewhere", "192.0.2.200/24 2001:db8::200/64"),
    ]
    .into_iter()
    .enumerate()
    {
        wire((&switch, port, ""), (namespace, "eth0", addresses));
        switch.ip(&format!("link set {port} master sw0"));
        // Addresses that follow from names would all be one.
        namespace.ip(&format!("link set eth0 address 02:00:00:00:00:0{index}"));
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

/// `aws` prints what the tests of `sgctl import aws` have from it.
#[test]
fn import_aws() {
    let host = machine("host");
    let programs = sandbox::directory("aws");
    let printed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sgctl/tests/cmd/aws");
    let script = format!(
        "#!/bin/sh\ncd {}\ncase \"$*\" in\n\
         'ec2 describe-security-groups') cat security-groups.json;;\n\
         'ec2 describe-security-group-rules') cat security-group-rules.json;;\n\
         'ec2 describe-managed-prefix-lists') cat prefix-lists.json;;\n\
         'ec2 get-managed-prefix-list-entries --prefix-list-id pl-'*) cat \"$4.json\";;\n\
         *) exit 1;;\nesac\n",
        printed.display()
    );
    let program = programs.join("aws");
    fs::write(&program, script).expect("a script");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("a program");
    Guide::read("docs/import-aws.md").run_with(&host, "/nonexistent".as_ref(), &programs);
}
