//! The network of a test: a remote machine, an instance, and in port role a router between them.
//!
//! ```text
//! host:  remote [up0] ======== [nic0] instance                        filtered: nic0
//! port:  remote [up0] == [up1] router [port0] == [nic0] instance      filtered: port0
//! ```
//!
//! Addresses are the same in both roles, so a test body is too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{NetNs, probe::craft::Mac};

/// Who has which address, in one family.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub instance: IpAddr,
    /// The remote machine's first address.
    pub remote: IpAddr,
    /// Its second one.
    pub other: IpAddr,
}

pub const V4: Addresses = Addresses {
    instance: IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2)),
    remote: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 10)),
    other: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 11)),
};

pub const V6: Addresses = Addresses {
    instance: IpAddr::V6(Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 2)),
    remote: IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0x10)),
    other: IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0x11)),
};

pub const FAMILIES: [Addresses; 2] = [V4, V6];

impl Addresses {
    /// A port of the instance.
    pub fn instance_port(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.instance, port)
    }

    /// A port of the remote machine's first address.
    pub fn remote_port(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.remote, port)
    }

    /// The protocol name of this family's ICMP, and its echo request's type.
    pub fn icmp(&self) -> (&'static str, u8) {
        if self.instance.is_ipv4() { ("icmp", 8) } else { ("icmpv6", 128) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Host,
    Port,
}

/// The machines of a test, connected; nothing is filtered.
#[derive(Debug)]
pub struct Topology {
    pub remote: NetNs,
    pub instance: NetNs,
    /// In port role.
    pub router: Option<NetNs>,
}

impl Topology {
    pub fn new(role: Role) -> Self {
        let remote = NetNs::new("remote");
        let instance = NetNs::new("instance");
        let router = match role {
            Role::Host => {
                connect(&remote, "up0", &instance, "nic0");
                None
            }
            Role::Port => {
                let router = NetNs::new("router");
                connect(&remote, "up0", &router, "up1");
                connect(&router, "port0", &instance, "nic0");
                router.sysctl("ipv4/ip_forward", "1");
                router.sysctl("ipv6/conf/all/forwarding", "1");
                for (end, gateway, networks) in [
                    ("port0", "10.1.0.1/32", ["10.1.0.0/24", "fd01::/64"]),
                    ("up1", "10.9.0.1/32", ["10.9.0.0/24", "fd09::/64"]),
                ] {
                    router.ip(&format!(
                        "address add {gateway} dev {end}
                         address add fe80::1/64 dev {end} nodad
                         -4 route add {} dev {end}
                         -6 route add {} dev {end}",
                        networks[0], networks[1]
                    ));
                }
                Some(router)
            }
        };
        number(&remote, "up0", &[V4.remote, V4.other, V6.remote, V6.other]);
        number(&instance, "nic0", &[V4.instance, V6.instance]);
        let [to_instance, to_remote] = match role {
            Role::Host => ["", ""],
            Role::Port => ["via 10.9.0.1 onlink", "via 10.1.0.1 onlink"],
        };
        let via = if role == Role::Port { "via fe80::1" } else { "" };
        remote.ip(&format!(
            "-4 route add 10.1.0.0/24 dev up0 {to_instance}
             -6 route add fd01::/64 {via} dev up0"
        ));
        instance.ip(&format!(
            "-4 route add 10.9.0.0/24 dev nic0 {to_remote}
             -6 route add fd09::/64 {via} dev nic0"
        ));
        Self { remote, instance, router }
    }
}

/// A veth pair with its ends in two namespaces, both up.
pub fn connect(left: &NetNs, left_end: &str, right: &NetNs, right_end: &str) {
    let address = |end| mac(end).map(|byte| format!("{byte:02x}")).join(":");
    left.ip(&format!(
        "link add name {left_end} address {} type veth peer name {right_end} address {} netns {}",
        address(left_end),
        address(right_end),
        right.name()
    ));
    for (namespace, end) in [(left, left_end), (right, right_end)] {
        // No router solicitations, no duplicate address detection: addresses work at once.
        namespace.sysctl(&format!("ipv6/conf/{end}/accept_dad"), "0");
        namespace.sysctl(&format!("ipv6/conf/{end}/router_solicitations"), "0");
        namespace.ip(&format!("link set dev {end} up"));
    }
}

/// The MAC address of an end, which follows from its name, so that frames can be made for it.
pub fn mac(end: &str) -> Mac {
    let hash = end
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    [2, 0, a, b, c, d]
}

/// Gives an interface addresses, without a route to their neighbours.
pub fn number(namespace: &NetNs, interface: &str, addresses: &[IpAddr]) {
    for address in addresses {
        let (prefix, flags) = if address.is_ipv4() { (32, "") } else { (128, "nodad") };
        namespace.ip(&format!("address add {address}/{prefix} dev {interface} {flags}"));
    }
}
