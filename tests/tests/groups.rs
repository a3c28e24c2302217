//! Group references: members come and go.

use sg_tests::{
    Datapath, FAMILIES, Role, World, eventually, matrix,
    probe::tcp,
    topology::{connect, number},
};

const GROUPS: &str = r#"
[[security_group]]
name = "web"
ingress = [{ protocol = "tcp", ports = 80, groups = ["lb"] }]
[[security_group]]
name = "lb"
"#;

/// Addresses of a group as `show` has them.
fn members(world: &World, group: &str) -> Vec<std::net::IpAddr> {
    let shown: Vec<sg_api::ShownGroup> = world.ctl().json(&["show", "groups"]);
    let found = shown.into_iter().find(|entry| entry.name == group);
    found.expect("the group").members
}

matrix! {
    /// The peers of a group rule are the addresses of the entries with that group.
    fn configured_members(world) {
        let entry = |addresses: &str| format!(r#"{GROUPS}
            [[interface]]
            name = "elsewhere"
            role = "port"
            groups = ["lb"]
            addresses = [{addresses}]
        "#);
        for at in FAMILIES {
            let _server = tcp::serve(&world.instance, at.instance_port(80));
            world.apply(&["web"], &entry(&format!("\"{}\"", at.remote)));
            tcp::passes(&world.remote, at.remote, at.instance_port(80));
            tcp::is_dropped(&world.remote, at.other, at.instance_port(80));
            world.apply(&["web"], &entry(&format!("\"{}\"", at.other)));
            tcp::passes(&world.remote, at.other, at.instance_port(80));
            tcp::is_dropped(&world.remote, at.remote, at.instance_port(80));
        }
    }

    /// A host-role entry without addresses has those of its interface, as they change.
    fn live_members(world) {
        // A second interface in the agent's namespace, whose addresses are the members.
        connect(world.host(), "lb0", &world.remote, "lb1");
        // The remote machine goes on to send from addresses that this one has as well: they count
        // as members, and must neither be refused as martians nor take the packets.
        world.host().sysctl("ipv4/conf/all/accept_local", "1");
        world.apply(&["web"], &format!(r#"{GROUPS}
            [[interface]]
            name = "lb0"
            groups = ["lb"]
        "#));
        for at in FAMILIES {
            let _server = tcp::serve(&world.instance, at.instance_port(80));
            tcp::is_dropped(&world.remote, at.remote, at.instance_port(80));
            number(world.host(), "lb0", &[at.remote]);
            let (family, length) = if at.remote.is_ipv4() { ("-4", 32) } else { ("-6", 128) };
            let host = format!("{}/{length}", at.remote);
            world.host().ip(&format!("{family} route del local {host} dev lb0 table local"));
            if at.remote.is_ipv6() {
                world.host().ip(&format!("-6 route del {host} dev lb0"));
            }
            eventually("the address is a member", || members(world, "lb").contains(&at.remote));
            tcp::passes(&world.remote, at.remote, at.instance_port(80));
            tcp::is_dropped(&world.remote, at.other, at.instance_port(80));
            world.host().ip(&format!("address del {host} dev lb0"));
            eventually("it is none any more", || !members(world, "lb").contains(&at.remote));
            tcp::is_dropped(&world.remote, at.remote, at.instance_port(80));
        }
    }
}

/// Members of a group reach each other only if it names itself.
#[test]
fn own_group() {
    let world = World::new(Role::Port, Datapath::Tc);
    let text = |groups: &str| {
        format!(
            r#"
        [[security_group]]
        name = "cluster"
        ingress = [{{ protocol = "tcp", ports = 80, {groups} }}]
        [[interface]]
        name = "elsewhere"
        role = "port"
        groups = ["cluster"]
        addresses = ["10.9.0.10", "fd09::10"]
    "#
        )
    };
    for at in FAMILIES {
        let _server = tcp::serve(&world.instance, at.instance_port(80));
        world.apply(&["cluster"], &text("cidrs = [\"192.0.2.0/24\"]"));
        tcp::is_dropped(&world.remote, at.remote, at.instance_port(80));
        world.apply(&["cluster"], &text("groups = [\"cluster\"]"));
        tcp::passes(&world.remote, at.remote, at.instance_port(80));
        tcp::is_dropped(&world.remote, at.other, at.instance_port(80));
    }
}
