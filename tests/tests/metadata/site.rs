//! A router with a guest on a tap. `up1` finishes checksums and segments in software.
//!
//! ```text
//! remote [up0] == [up1] router [port0] -- a test's descriptor
//! ```

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use sg_tests::{
    Agent, Counts, NetNs, V4, V6,
    differential::fewer,
    probe::vnet::{Header, Tap},
    topology::{connect, mac, number},
};

/// UDP to port 53, TCP to port 80 and echo requests, both ways.
pub const GROUP: &str = r#"[[security_group]]
name = "some"
ingress = [
  { protocol = "udp", ports = 53, cidrs = ["0.0.0.0/0", "::/0"] },
  { protocol = "tcp", ports = 80, cidrs = ["0.0.0.0/0", "::/0"] },
  { protocol = 47, cidrs = ["0.0.0.0/0"] },
]
egress = [
  { protocol = "udp", ports = 53, cidrs = ["0.0.0.0/0", "::/0"] },
  { protocol = "tcp", ports = 80, cidrs = ["0.0.0.0/0", "::/0"] },
  { protocol = 47, cidrs = ["0.0.0.0/0"] },
]
"#;
pub const NOTHING: &str = "[[security_group]]\nname = \"some\"\negress = []\n";

pub const GUEST: &str = "guest";

/// A router with a guest on a tap.
pub struct Site {
    pub agent: Agent,
    pub tap: Tap,
    pub remote: NetNs,
    pub router: NetNs,
    /// Lines of the entry.
    entry: String,
}

fn written(end: &str) -> String {
    mac(end).map(|byte| format!("{byte:02x}")).join(":")
}

impl Site {
    /// `datapath` is a line of the interface's entry.
    pub fn new(datapath: &str) -> Self {
        let open = |router: &NetNs| {
            let tap = Tap::open(router, "port0");
            router.ip(&format!("link set dev port0 address {}", written("port0")));
            tap
        };
        Self::with(open, &format!("mac = \"{}\"\n{datapath}\n", written(GUEST)))
    }

    /// The guest is on a tun: no Ethernet headers, so no MAC address.
    pub fn on_a_tun() -> Self {
        Self::with(|router| Tap::open_tun(router, "port0"), "")
    }

    fn with(open: impl FnOnce(&NetNs) -> Tap, entry: &str) -> Self {
        let (remote, router) = (NetNs::new("remote"), NetNs::new("router"));
        connect(&remote, "up0", &router, "up1");
        number(&remote, "up0", &[V4.remote, V6.remote]);
        let tap = open(&router);
        router.sysctl("ipv4/ip_forward", "1");
        router.sysctl("ipv6/conf/all/forwarding", "1");
        router.sysctl("ipv6/conf/port0/accept_dad", "0");
        router.ip("link set dev port0 up
             address add 10.1.0.1/24 dev port0
             address add 10.9.0.1/24 dev up1
             address add fd01::1/64 dev port0 nodad
             address add fd09::1/64 dev up1 nodad");
        remote.ip("-4 route add 10.9.0.1 dev up0
             -4 route add default via 10.9.0.1
             -6 route add fd09::/64 dev up0
             -6 route add default via fd09::1");
        let off = ["-K", "up1", "tx", "off", "tso", "off", "gso", "off"];
        assert!(router.succeeds("ethtool", &off), "ethtool");
        let agent = Agent::start(&router, &[]);
        let entry = format!(
            "[[interface]]\nname = \"port0\"\nrole = \"port\"\ngroups = [\"some\"]\n\
             addresses = [\"{}\", \"{}\"]\n{entry}",
            V4.instance, V6.instance
        );
        Self { agent, tap, remote, router, entry }
    }

    /// A rules file of these groups.
    pub fn rules(&self, group: &str) -> String {
        format!("{group}{}", self.entry)
    }

    pub fn apply(&self, group: &str) {
        self.agent.ctl().apply(&self.rules(group), &[]);
    }

    pub fn counters(&self) -> Counts {
        Counts::of(&self.agent.ctl().status(), "port0")
    }

    /// Sends a frame, and says how it was counted.
    #[track_caller]
    pub fn counted(&self, header: Header, frame: &[u8]) -> Counts {
        self.of_guest(|tap| tap.send(header, frame)).expect("a header that the kernel takes")
    }

    /// Counts of the frames that the guest sends.
    ///
    /// # Errors
    /// The kernel did not take it.
    pub fn of_guest(&self, send: impl FnOnce(&Tap) -> io::Result<()>) -> io::Result<Counts> {
        let before = self.counters();
        send(&self.tap)?;
        Ok(self.counters().all_since(&before).of_direction("egress"))
    }

    /// A socket of the remote machine.
    pub fn listens(&self, port: u16) -> UdpSocket {
        let at = SocketAddr::new(V4.remote, port);
        self.remote.run(|| UdpSocket::bind(at)).expect("a socket")
    }
}

/// Waits for a datagram at a socket.
pub fn received(socket: &UdpSocket, patience: Duration) -> Option<Vec<u8>> {
    socket.set_read_timeout(Some(patience)).expect("a timeout");
    let mut data = vec![0; 65536];
    match socket.recv(&mut data) {
        Ok(length) => Some(data[..length].to_vec()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

/// `auto` takes TC on a tap; the others are asked for. In guests of `cargo xtask vm-test` without the second,
/// which is the first's program.
pub fn datapaths() -> impl Iterator<Item = &'static str> {
    let all = ["", "datapath = \"tc\"", "datapath = \"xdp\""];
    all.into_iter().enumerate().filter(|(at, _)| *at != 1 || !fewer()).map(|(_, one)| one)
}
