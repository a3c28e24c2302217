use super::*;

/// The warnings about a valid file.
fn of(text: &str) -> Vec<String> {
    let state = crate::parse("rules.toml", text.as_bytes());
    warnings(&state.unwrap_or_else(|faults| panic!("{faults}")))
}

/// Why a rule's prefix matches nothing, if so; the rule is for `services`.
fn of_prefix(way: &str, services: &str, cidr: &str) -> Option<String> {
    let other = if way == "ingress" { "egress = []" } else { "" };
    let text = format!(
        "[[security_group]]\nname = \"g\"\n{other}\n{way} = [{{ {services}, cidrs = [\"{cidr}\"] }}]\n"
    );
    match &of(&text)[..] {
        [] => None,
        [warning] => {
            let start = format!("\"{cidr}\" in an {way} rule of group \"g\" matches nothing: ");
            let why = warning.strip_prefix(&start);
            Some(why.unwrap_or_else(|| panic!("{warning}")).to_owned())
        }
        several => panic!("{several:?}"),
    }
}

#[test]
fn prefixes() {
    const ALL: &str = "protocol = \"all\"";
    const DHCP: &str = "protocol = \"udp\", ports = 67";
    const DNS: &str = "protocol = \"udp\", ports = 53";
    let mapped = |v4| format!("no IPv6 packet has such an address; IPv4 is written \"{v4}\"");
    let nobody = |all| format!("this single address is nobody's; everybody is \"{all}\"");
    let loopback = || "loopback addresses stay on lo, and no entry filters lo".to_owned();
    let multicast = || "no packet comes from a multicast address".to_owned();
    for (way, services, cidr, expected) in [
        ("ingress", ALL, "::ffff:0.0.0.0/96", Some(mapped("0.0.0.0/0"))),
        ("egress", ALL, "::ffff:10.0.0.0/104", Some(mapped("10.0.0.0/8"))),
        ("ingress", ALL, "::ffff:192.0.2.1/128", Some(mapped("192.0.2.1/32"))),
        ("ingress", ALL, "::c000:200/120", Some(mapped("192.0.2.0/24"))),
        ("ingress", ALL, "64:ff9b::/96", None),
        ("ingress", ALL, "::fffe:0:0/96", None),
        ("ingress", ALL, "::/64", None),
        ("ingress", ALL, "::/0", None),
        ("ingress", ALL, "0.0.0.0/0", None),
        ("ingress", ALL, "0.0.0.0/1", None),
        ("ingress", ALL, "0.0.0.0/32", Some(nobody("0.0.0.0/0"))),
        ("ingress", DNS, "0.0.0.0/32", Some(nobody("0.0.0.0/0"))),
        ("ingress", DHCP, "0.0.0.0/32", None),
        ("egress", DHCP, "0.0.0.0/32", Some(nobody("0.0.0.0/0"))),
        ("ingress", ALL, "::/128", Some(nobody("::/0"))),
        ("ingress", ALL, "127.0.0.0/8", Some(loopback())),
        ("egress", ALL, "127.0.0.53/32", Some(loopback())),
        ("ingress", ALL, "::1/128", Some(loopback())),
        ("ingress", ALL, "224.0.0.0/4", Some(multicast())),
        ("ingress", ALL, "ff02::/16", Some(multicast())),
        ("ingress", ALL, "224.0.0.0/3", None),
        ("egress", ALL, "224.0.0.251/32", None),
        ("egress", ALL, "255.255.255.255/32", None),
        (
            "ingress",
            ALL,
            "255.255.255.255/32",
            Some("no packet comes from the broadcast address".to_owned()),
        ),
    ] {
        assert_eq!(of_prefix(way, services, cidr), expected, "{way} {services} {cidr}");
    }
}

#[test]
fn a_prefix_is_told_once_for_a_group_and_direction() {
    let text = "[[security_group]]\nname = \"g\"\negress = []\ningress = [\n\
        { protocol = \"tcp\", ports = [1, 2, 3], cidrs = [\"::1/128\"] },\n]\n";
    assert_eq!(of(text).len(), 1);
}

#[test]
fn loopback_is_there_where_lo_is_filtered() {
    let text = |name: &str| {
        format!(
            "[[security_group]]\nname = \"g\"\n\
             ingress = [{{ protocol = \"all\", cidrs = [\"127.0.0.0/8\"] }}]\n\
             [[interface]]\nname = \"{name}\"\ngroups = [\"g\"]\n"
        )
    };
    assert_eq!(of(&text("eth0")).len(), 1);
    assert_eq!(of(&text("lo")), [""; 0]);
    assert_eq!(of(&text("l*")), [""; 0]);
}

#[test]
fn entries_of_lists_and_addresses_of_interfaces() {
    let text = "[[prefix_list]]\nname = \"l\"\nentries = [\"2001:db8::/32\", \"::ffff:0:0/96\"]\n\
        [[security_group]]\nname = \"g\"\n\
        [[interface]]\nname = \"tap0\"\nrole = \"port\"\ngroups = [\"g\"]\n\
        addresses = [\"10.0.0.5\", \"::ffff:10.0.0.5\"]\n";
    let why = "no IPv6 packet has such an address; IPv4 is written";
    assert_eq!(
        of(text),
        [
            format!(
                "\"::ffff:0.0.0.0/96\" in prefix list \"l\" matches nothing: {why} \"0.0.0.0/0\""
            ),
            format!(
                "\"::ffff:10.0.0.5\" of interface \"tap0\" is the address of no packet: {why} \
                 \"10.0.0.5/32\""
            ),
        ]
    );
}

fn of_names(names: &[&str]) -> Vec<String> {
    let entries: String = names
        .iter()
        .map(|name| format!("[[interface]]\nname = \"{name}\"\ngroups = [\"g\"]\n"))
        .collect();
    of(&format!("[[security_group]]\nname = \"g\"\n{entries}"))
}

#[test]
fn names_of_interfaces() {
    let ip_link = "`ip link` shows a device with its peer or parent like this; the name is";
    let iptables = "`+` is iptables' wildcard and no wildcard here; write";
    let hardly = |c| {
        format!(
            "hardly any interface has `{c}` in its name; `*`, `?` and `[...]` are the wildcards"
        )
    };
    for (name, expected) in [
        ("eth0@if5", Some(format!("{ip_link} \"eth0\""))),
        ("eth0.10@eth0", Some(format!("{ip_link} \"eth0.10\""))),
        ("veth*@*", Some(format!("{ip_link} \"veth*\""))),
        ("eth+", Some(format!("{iptables} \"eth*\""))),
        ("+", Some(format!("{iptables} \"*\""))),
        ("eth0,eth1", Some(hardly(','))),
        ("eth%d", Some(hardly('%'))),
        ("eth{0,1}", Some(hardly('{'))),
        ("!eth0", Some(hardly('!'))),
        ("^eth0$", Some(hardly('^'))),
        ("eth0", None),
        ("eth*", None),
        ("eth?", None),
        ("eth[0-9]", None),
        ("br-lan.10", None),
        ("enp0s31f6", None),
        ("wg_home", None),
        ("tap-\u{e4}", None),
    ] {
        let warnings = of_names(&[name]);
        let expected = expected.map(|why| format!("interface \"{name}\": {why}"));
        assert_eq!(warnings, Vec::from_iter(expected), "{name}");
    }
}

#[test]
fn globs_behind_wider_ones() {
    for (first, second, is_behind) in [
        ("*", "tap*", true),
        ("tap*", "tap1*", true),
        ("tap*", "tap?", true),
        ("t*p*", "tap1*", true),
        ("tap1*", "tap*", false),
        ("tap?", "tap*", false),
        ("tap*", "veth*", false),
        // An exact name comes first wherever it stands.
        ("tap*", "tap0", false),
        ("tap0", "tap*", false),
    ] {
        let expected = format!(
            "interface \"{second}\" matches nothing: the entry \"{first}\" before it takes all its \
             names"
        );
        let expected = Vec::from_iter(is_behind.then_some(expected));
        assert_eq!(of_names(&[first, second]), expected, "{first} {second}");
    }
}

#[test]
fn groups_that_can_have_no_members() {
    let text = |interface: &str| {
        format!(
            "[[security_group]]\nname = \"lb\"\n\
             [[security_group]]\nname = \"web\"\n\
             ingress = [{{ protocol = \"all\", groups = [\"lb\"] }}]\n{interface}"
        )
    };
    let port = "[[interface]]\nname = \"tap*\"\nrole = \"port\"\ngroups = [\"lb\"]\n";
    assert_eq!(
        of(&text(port)),
        [
            "group \"lb\" as a peer in group \"web\" matches nothing: the interfaces in it have role \
          \"port\" and no `addresses`"
        ]
    );
    // An interface may come later, on this host or on another.
    assert_eq!(of(&text("")), [""; 0]);
    let with_address = port.replace("tap*", "tap0") + "addresses = [\"10.0.0.5\"]\n";
    assert_eq!(of(&text(&with_address)), [""; 0]);
    let host = format!("{port}[[interface]]\nname = \"eth0\"\ngroups = [\"lb\"]\n");
    assert_eq!(of(&text(&host)), [""; 0]);
}

#[test]
fn very_many_are_counted() {
    let entries: Vec<String> = (0..25).map(|n| format!("\"::ffff:10.0.0.{n}/128\"")).collect();
    let text = format!("[[prefix_list]]\nname = \"l\"\nentries = [{}]\n", entries.join(", "));
    let warnings = of(&text);
    assert_eq!(warnings.len(), 21);
    assert_eq!(warnings[20], "and 5 more warnings");
}
