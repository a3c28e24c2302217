//! The demo's machines: a router that the agent runs on, and three instances behind it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process,
};

use sg_tests::{NetNs, topology::connect};

/// An instance: a namespace behind the router's interface `<name>0`.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) name: &'static str,
    pub(crate) namespace: NetNs,
    /// Number of its network: 10.0.N.0/24 and fd00:N::/64.
    net: u8,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) web: Instance,
    pub(crate) db: Instance,
    pub(crate) client: Instance,
    pub(crate) router: NetNs,
}

/// The address families, by the names that the transcript has for them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

impl Network {
    pub(crate) fn new() -> Self {
        let pid = process::id();
        let router = NetNs::named(format!("sg-demo-{pid}-r"));
        router.sysctl("ipv4/ip_forward", "1");
        router.sysctl("ipv6/conf/all/forwarding", "1");
        let behind = |name, net| {
            let namespace = NetNs::named(format!("sg-demo-{pid}-{name}"));
            Instance::behind(&router, namespace, name, net)
        };
        let (web, db, client) = (behind("web", 1), behind("db", 2), behind("client", 3));
        Self { web, db, client, router }
    }

    pub(crate) fn instances(&self) -> [&Instance; 3] {
        [&self.web, &self.db, &self.client]
    }
}

impl Instance {
    /// Connects a namespace to the router: addresses .1 and .2 of its networks, and a default route.
    fn behind(router: &NetNs, namespace: NetNs, name: &'static str, net: u8) -> Self {
        let outside = format!("{name}0");
        connect(router, &outside, &namespace, "eth0");
        router.ip(&format!(
            "address add 10.0.{net}.1/24 dev {outside}
             address add fd00:{net}::1/64 dev {outside} nodad"
        ));
        namespace.ip(&format!(
            "address add 10.0.{net}.2/24 dev eth0
             address add fd00:{net}::2/64 dev eth0 nodad
             route add default via 10.0.{net}.1
             -6 route add default via fd00:{net}::1"
        ));
        Self { name, namespace, net }
    }

    pub(crate) fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, 0, self.net, 2).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, self.net.into(), 0, 0, 0, 0, 0, 2).into(),
        }
    }

    pub(crate) fn port(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.address(family), port)
    }
}
