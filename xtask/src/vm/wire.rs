//! Outside of a guest: the far ends of its NICs. The guest's tests write frames to a virtio-serial
//! port, which are sent to a NIC. Frames that a NIC sends come back by that port.
//! `tests/src/outside.rs` is the other side. qemu gives and takes frames as datagrams of unix
//! sockets, so no interface of this machine has a part in it.
//!
//! On the port: number of the NIC, length (16 bits, big endian), frame. Number 255 asks for the same
//! bytes back, by which a reader finds its place.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::{UnixDatagram, UnixListener, UnixStream},
    path::PathBuf,
    process::{self, Command},
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result};

/// qemu's devices for the NICs, by number.
const NICS: &[&str] = &["virtio-net-pci", "vmxnet3"];
/// The port's name in the guest.
const PORT: &str = "sg.outside";
const LONGEST: usize = 1 << 16;

/// The far ends of a guest's NICs, in a folder that goes with them.
#[derive(Debug)]
pub(crate) struct Wires {
    /// Not in target: a socket's path may have 107 bytes.
    folder: PathBuf,
    port: UnixListener,
    ends: Vec<UnixDatagram>,
    /// Where qemu listens, for each NIC.
    insides: Vec<PathBuf>,
}

impl Drop for Wires {
    fn drop(&mut self) {
        // It holds sockets only.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Wires {
    /// For a qemu to come.
    pub(crate) fn lay(guest: &str) -> Result<Self> {
        let folder = env::temp_dir().join(format!("sg-vm-{}-{guest}", process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("no {}", folder.display()))?;
        let port = UnixListener::bind(folder.join("port"))?;
        let nics = 0..NICS.len();
        let ends =
            nics.clone().map(|number| UnixDatagram::bind(folder.join(format!("nic{number}.out"))));
        let ends = ends.collect::<io::Result<_>>()?;
        let insides = nics.map(|number| folder.join(format!("nic{number}.in"))).collect();
        Ok(Self { folder, port, ends, insides })
    }

    /// The guest's side of it.
    pub(crate) fn options(&self, qemu: &mut Command) {
        let folder = self.folder.display();
        for (number, device) in NICS.iter().enumerate() {
            qemu.arg("-netdev").arg(format!(
                "dgram,id=nic{number},local.type=unix,local.path={folder}/nic{number}.in,\
                 remote.type=unix,remote.path={folder}/nic{number}.out"
            ));
            // No boot code, whose package is not needed then.
            qemu.arg("-device").arg(format!("{device},netdev=nic{number},romfile="));
        }
        qemu.arg("-chardev").arg(format!("socket,id=outside,path={folder}/port"));
        qemu.args(["-device", "virtio-serial-pci"]);
        qemu.arg("-device").arg(format!("virtserialport,chardev=outside,name={PORT}"));
    }

    /// Carries frames from now on, in threads that end with qemu.
    pub(crate) fn carry(&self) -> Result<()> {
        let port = self.port.try_clone()?;
        let ends = self
            .ends
            .iter()
            .zip(&self.insides)
            .map(|(end, inside)| Ok((end.try_clone()?, inside.clone())));
        let ends: Vec<(UnixDatagram, PathBuf)> = ends.collect::<io::Result<_>>()?;
        thread::spawn(move || {
            let Ok((port, _)) = port.accept() else { return };
            let answers = &Mutex::new(&port);
            thread::scope(|scope| {
                for (number, (end, _)) in (0..).zip(&ends) {
                    scope.spawn(move || answer(end, number, answers));
                }
                send(&port, &ends, answers);
                for (end, _) in &ends {
                    // Ends the receiving of it with nothing received.
                    let _ = end.shutdown(Shutdown::Both);
                }
            });
        });
        Ok(())
    }
}

/// Carries what a NIC sends.
fn answer(end: &UnixDatagram, number: u8, answers: &Mutex<&UnixStream>) {
    let mut frame = vec![0; LONGEST];
    while let Ok(length @ 1..) = end.recv(&mut frame) {
        if write(answers, number, &frame[..length]).is_err() {
            break;
        }
    }
}

/// Carries what the guest asks for.
fn send(port: &UnixStream, ends: &[(UnixDatagram, PathBuf)], answers: &Mutex<&UnixStream>) {
    while let Ok((number, frame)) = read(port) {
        let sent = match ends.get(usize::from(number)) {
            Some((end, inside)) => end.send_to(&frame, inside).map(drop),
            None => write(answers, number, &frame),
        };
        if sent.is_err() {
            break;
        }
    }
}

fn read(mut port: &UnixStream) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 3];
    port.read_exact(&mut header)?;
    let [number, high, low] = header;
    let mut frame = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    port.read_exact(&mut frame)?;
    Ok((number, frame))
}

fn write(port: &Mutex<&UnixStream>, number: u8, frame: &[u8]) -> io::Result<()> {
    let [high, low] = u16::try_from(frame.len()).map_err(io::Error::other)?.to_be_bytes();
    let message = [&[number, high, low], frame].concat();
    port.lock().unwrap_or_else(PoisonError::into_inner).write_all(&message)
}
