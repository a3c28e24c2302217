//! Broadcasts and multicasts of a machine come back to it inside the kernel, on the same interface
//! and without an Ethernet header (`dev_loopback_xmit`). The copy was never on a wire.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
};

use nix::net::if_::if_nametoindex;
use sg_tests::{Role, World, matrix, probe::PATIENCE};
use socket2::SockRef;

const GROUP4: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x1234);

/// Sends one datagram to a group of which the sender is, and has it back.
fn heard(world: &World, source: IpAddr) {
    let interface = world.interface();
    let heard = || -> io::Result<()> {
        let index = if_nametoindex(interface)?;
        let socket = UdpSocket::bind(SocketAddr::new(source, 0)).or_else(|_| {
            let any = Ipv6Addr::UNSPECIFIED;
            UdpSocket::bind(SocketAddr::V6(SocketAddrV6::new(any, 0, 0, index)))
        })?;
        let receiver = UdpSocket::bind(match source {
            IpAddr::V4(_) => SocketAddr::new(GROUP4.into(), 0),
            IpAddr::V6(_) => SocketAddr::V6(SocketAddrV6::new(GROUP6, 0, 0, index)),
        })?;
        let port = receiver.local_addr()?.port();
        receiver.set_read_timeout(Some(PATIENCE))?;
        let group = match source {
            IpAddr::V4(source) => {
                SockRef::from(&receiver).join_multicast_v4_n(
                    &GROUP4,
                    &socket2::InterfaceIndexOrAddress::Index(index),
                )?;
                SockRef::from(&socket).set_multicast_if_v4(&source)?;
                SocketAddr::new(GROUP4.into(), port)
            }
            IpAddr::V6(_) => {
                receiver.join_multicast_v6(&GROUP6, index)?;
                SocketAddr::V6(SocketAddrV6::new(GROUP6, port, 0, index))
            }
        };
        socket.send_to(b"hear", group)?;
        receiver.recv(&mut [0; 4]).map(drop)
    };
    world.host().run(heard).unwrap_or_else(|error| panic!("from {source}: {error}"));
}

matrix! {
    /// It is neither judged nor counted, whatever its first bytes would be as an Ethernet header:
    /// sources are chosen whose bytes read as IPv4, ARP, IPv6 and VLAN there.
    fn own_copies_pass(world) {
        world.apply(&["any"], "[[security_group]]\nname = \"any\"\n");
        // A port's egress is the instance's ingress.
        let out = match world.role {
            Role::Host => "egress rule",
            Role::Port => "ingress no_rule",
        };
        for source in ["10.7.7.7", "8.0.0.1", "8.6.0.1", "134.221.0.1", "129.0.0.1", "fe80::7"] {
            let source: IpAddr = source.parse().expect("an address");
            let (length, scope) = if source.is_ipv4() { (32, "") } else { (64, "nodad") };
            let interface = world.interface();
            world.host().ip(&format!("address add {source}/{length} dev {interface} {scope}"));
            let ((), counts) = world.counted(|| heard(world, source));
            counts.exactly(&[(out, 1)]);
        }
    }
}
