//! Opens flows for real: a socket answers each of the generator's packets.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use sg_common::Family;
use sg_datapath::testing::varying::{Order, Sources};

use crate::{
    packets::{Kind, frame, instance},
    rules::OPEN,
    testbed::Testbed,
};

/// Packets a burst: what a socket can hold.
const BURST: u32 = 8000;
const BUFFER: usize = 256 << 20;
/// The machine may be busy with something else meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
/// Rounds that each flow needs, and that it may take. The veth's ring holds 256 frames and drops
/// frames that come faster than another CPU empties it. Another CPU has the ring when a packet of
/// IPv6's own, for a neighbour say, came there first.
const NEEDED: u32 = 2;
const TRIES: u32 = 20;

/// Each of the first `flows` sources sends two datagrams and gets two answers, so that every tracker
/// takes it for an established flow.
pub fn open_flows(testbed: &Testbed, family: Family, flows: u32) -> Result<()> {
    // As long as a flow of ours; conntrack takes one for a stream only after two seconds.
    testbed.near().sysctl("netfilter/nf_conntrack_udp_timeout", "180");
    let socket = testbed.near().run(|| listen(family)).context("a socket")?;
    let frame = frame(family, Kind::Datagram, OPEN);
    let sources = Sources { count: flows, order: Order::InTurn };
    let mut generator = testbed.generator(&frame, sources)?;
    let (answered, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| answer(&socket, &answered, &ended));
        let result = (0..flows).step_by(BURST as usize).try_for_each(|first| {
            let burst = BURST.min(flows - first);
            let mut whole = 0;
            // At once, or the first of many would have idled out before the last came.
            for _ in 0..TRIES {
                let before = answered.load(Ordering::Relaxed);
                generator.restart(u64::from(first));
                testbed.burst(&mut generator, burst)?;
                // A queue may have been full once; those flows are opened by what follows.
                let enough = before + u64::from(burst - burst / 1000);
                whole += u32::from(settle(&answered, enough));
                if whole == NEEDED {
                    return Ok(());
                }
            }
            bail!("{whole} of {TRIES} bursts answered")
        });
        ended.store(true, Ordering::Relaxed);
        result
    })
}

/// Waits until so many are answered, or no more come.
fn settle(answered: &AtomicU64, enough: u64) -> bool {
    let (mut before, mut since) = (0, Instant::now());
    while since.elapsed() < PATIENCE {
        let now = answered.load(Ordering::Relaxed);
        if now >= enough {
            return true;
        }
        if now != before {
            (before, since) = (now, Instant::now());
        }
        thread::sleep(Duration::from_micros(200));
    }
    false
}

fn listen(family: Family) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::new(instance(family), OPEN))?;
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &BUFFER)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    Ok(socket)
}

fn answer(socket: &UdpSocket, answered: &AtomicU64, ended: &AtomicBool) {
    let mut data = [0; 64];
    while !ended.load(Ordering::Relaxed) {
        if let Ok((length, peer)) = socket.recv_from(&mut data)
            && socket.send_to(&data[..length], peer).is_ok()
        {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}
