//! Packets whose pages their sender can still write to when they leave: ports that change between the verdict
//! and the wire. On its way into a veth the kernel copies such pages, before any hook.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use sg_tests::{
    Datapath, Role, V4, World,
    probe::{SILENCE, craft::UDP, ring::Ring},
    topology::mac,
};

use crate::{
    frames::{OUT, TRANSPORT4, framed, plain_udp},
    site::{GROUP, received},
};

const OPEN: u16 = 53;
const DENIED: u16 = 7777;
/// Of the destination port in the frame.
const PORT: usize = TRANSPORT4 as usize + 2;

/// One thread sends the same frame, another one changes its port all the time.
#[test]
fn ports_do_not_change_on_the_way_out() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["some"], GROUP);
    let listen = |port| {
        let at = SocketAddr::new(V4.remote, port);
        world.remote.run(|| UdpSocket::bind(at)).expect("a socket")
    };
    let (open, denied) = (listen(OPEN), listen(DENIED));
    let packet = OUT.packet(UDP, &plain_udp((1000, OPEN), &[7; 200]));
    let ring = Ring::open(&world.instance, "nic0", &framed(mac("nic0"), mac("up0"), &packet));
    let is_over = AtomicBool::new(false);
    let (is_over, ring) = (&is_over, &ring);
    let ((), counts) = world.counted(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    ring.write(PORT, OPEN);
                    ring.write(PORT, DENIED);
                }
            });
            let until = Instant::now() + Duration::from_secs(2);
            while Instant::now() < until {
                ring.send().expect("a frame");
            }
            is_over.store(true, Ordering::Relaxed);
        });
    });
    // Else nothing changed under way.
    for reason in ["flow", "no_rule"] {
        assert!(counts.get(&format!("egress {reason}")) > 10, "{counts}");
    }
    assert_ne!(received(&open, SILENCE), None, "the open port");
    assert_eq!(received(&denied, SILENCE), None, "a port that no rule opens: {counts}");
}
