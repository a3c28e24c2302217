//! Outside of a guest of `cargo xtask vm-test`: frames that come to its NICs from the host, and what
//! the NICs send there. The host carries them; see `xtask/src/vm/wire.rs`.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    process::Command,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{NetNs, Ran, eventually, sandbox};

/// As the host calls the port.
const PORT: &str = "sg.outside";
/// The number that no NIC has; what is sent under it comes back.
const SYNC: u8 = 255;

/// A kind of NIC that guests have one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nic {
    Virtio,
    Vmxnet3,
}

impl Nic {
    pub fn driver(self) -> &'static str {
        match self {
            Self::Virtio => "virtio_net",
            Self::Vmxnet3 => "vmxnet3",
        }
    }

    /// Whether it takes the outermost VLAN tag off a frame and lays it where XDP does not see it.
    pub fn hides_tags(self) -> bool {
        self == Self::Vmxnet3
    }

    /// Whether this kernel's driver has native XDP, as the host knows it.
    pub fn has_xdp(self) -> bool {
        let drivers =
            env::var("SG_XDP_DRIVERS").expect("SG_XDP_DRIVERS; run `cargo xtask vm-test`");
        drivers.split(',').any(|driver| driver == self.driver())
    }
}

/// The host's end of a NIC.
#[derive(Debug)]
pub struct Outside {
    nic: Nic,
    /// Where the NIC is.
    namespace: String,
    port: File,
    frames: Receiver<Vec<u8>>,
}

impl Outside {
    /// Moves the NIC into the namespace, as `nic0`, and takes its other end. Every frame that
    /// comes is received, whoever it is for.
    pub fn connect(nic: Nic, namespace: &NetNs) -> Self {
        sandbox::enter();
        // It may be on its way back from a namespace that is being taken down.
        eventually("the NIC is there", || interface(nic).is_some());
        let name = interface(nic).expect("just seen");
        let target = ["netns", namespace.name(), "name", "nic0"];
        Ran::of(Command::new("ip").args(["link", "set", "dev", &name]).args(target)).expect(0);
        namespace.ip("link set dev nic0 promisc on");
        let mut port = OpenOptions::new().read(true).write(true).open(device()).expect("the port");
        synchronise(&mut port).expect("the host answers");
        let (sender, frames) = mpsc::channel();
        let mut reading = port.try_clone().expect("a descriptor");
        thread::spawn(move || {
            while let Ok((number, frame)) = read(&mut reading) {
                if number == nic as u8 && sender.send(frame).is_err() {
                    break;
                }
            }
        });
        Self { nic, namespace: namespace.name().to_owned(), port, frames }
    }

    pub fn send(&mut self, frame: &[u8]) {
        write(&mut self.port, self.nic as u8, frame).expect("the port takes it");
    }

    /// The next frame that `wanted` says yes to, within `limit`; others are passed over.
    pub fn receive(&self, limit: Duration, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let deadline = Instant::now() + limit;
        loop {
            match self.frames.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(frame) if wanted(&frame) => return Some(frame),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => panic!("the host has gone"),
            }
        }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // Back to process 1, under a name that no other NIC has. With its namespace it would come by
        // itself, but when it likes.
        let back = ["link", "set", "dev", "nic0", "netns", "1", "name", self.nic.driver()];
        let _ = Command::new("ip").args(["-n", &self.namespace]).args(back).status();
    }
}

/// The NIC's name in the first namespace, if it is there now.
fn interface(nic: Nic) -> Option<String> {
    // `/sys` shows the namespace of its mounter, process 1.
    fs::read_dir("/sys/class/net").ok()?.flatten().find_map(|entry| {
        let driver = fs::read_link(entry.path().join("device/driver")).ok()?;
        // A virtio device is a child of the PCI device; either names its driver.
        (driver.file_name()? == nic.driver()).then(|| entry.file_name().into_string().ok())?
    })
}

/// The port's device file: without udev nobody names it.
fn device() -> String {
    let ports = fs::read_dir("/sys/class/virtio-ports").expect("virtio-serial; in a guest?");
    let named = |entry: &fs::DirEntry| {
        fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == PORT)
    };
    let port = ports.flatten().find(named).expect("the host's port");
    format!("/dev/{}", port.file_name().display())
}

/// Passes over what an earlier test left unread, whose end may be the middle of a frame.
fn synchronise(port: &mut File) -> io::Result<()> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let token = since_epoch.as_nanos().to_be_bytes();
    write(port, SYNC, &token)?;
    let (mut last, mut byte) = ([0; 16], [0]);
    while last != token {
        port.read_exact(&mut byte)?;
        last.rotate_left(1);
        last[15] = byte[0];
    }
    Ok(())
}

fn read(port: &mut File) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 3];
    port.read_exact(&mut header)?;
    let [number, high, low] = header;
    let mut frame = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    port.read_exact(&mut frame)?;
    Ok((number, frame))
}

fn write(port: &mut File, number: u8, frame: &[u8]) -> io::Result<()> {
    let [high, low] = u16::try_from(frame.len()).map_err(io::Error::other)?.to_be_bytes();
    port.write_all(&[&[number, high, low], frame].concat())
}
