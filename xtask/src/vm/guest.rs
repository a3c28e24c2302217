//! A guest under qemu: what it says, and its end, which comes in time or is brought about.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::wire::Wires;

/// How much of the kernel's console is shown when something went wrong.
const CONSOLE_LINES: usize = 60;

#[derive(Debug)]
pub(crate) struct Guest {
    /// Stands before what it says.
    pub(crate) name: String,
    pub(crate) image: PathBuf,
    pub(crate) files: PathBuf,
    /// A folder for its sockets and its console.
    pub(crate) folder: PathBuf,
}

/// qemu, which ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guest {
    fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// Boots it, shows what it says and waits for its end; its lines. An error, with the kernel's
    /// console shown, when it says nothing of an end or does not end within `limit`.
    pub(crate) fn run(&self, limit: Duration) -> Result<Vec<String>> {
        let said = self.watched(limit);
        if said.is_err() {
            self.show_console();
        }
        said
    }

    fn watched(&self, limit: Duration) -> Result<Vec<String>> {
        let deadline = Instant::now() + limit;
        let wires = Wires::lay(&self.name)?;
        let mut qemu = self.command();
        wires.options(&mut qemu);
        let mut running = Running(qemu.spawn().context("cannot start qemu")?);
        wires.carry()?;
        let output = running.0.stdout.take().context("qemu without an output")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut said = Vec::new();
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    println!("{} | {line}", self.name);
                    said.push(line);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the guest with {} was not done after {} s", self.name, limit.as_secs());
                }
            }
        }
        let status = running.0.wait().context("qemu")?;
        if !status.success() {
            bail!("qemu ended with {status}");
        }
        if said.last().is_none_or(|line| line != "sg-init: done") {
            bail!("the guest with {} ended before it was done", self.name);
        }
        Ok(said)
    }

    fn command(&self) -> Command {
        // A child must not outlive us, however we end.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        // Not KVM, which may be there and not work (a guest of a guest); a thread for each vCPU.
        command.args(["-accel", "tcg,thread=multi", "-cpu", "max"]);
        command.args(["-smp", "2", "-m", "2048"]);
        command.arg("-kernel").arg(&self.image).arg("-initrd").arg(&self.files);
        // A panic is an end, too.
        command.args(["-append", "console=ttyS0 loglevel=4 panic=-1 no_timer_check rdinit=/init"]);
        command.arg("-serial").arg(path_option("file:", &self.console()));
        command.args(["-chardev", "stdio,id=output,signal=off", "-serial", "chardev:output"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    fn show_console(&self) {
        let console = fs::read(self.console()).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<&str> = console.lines().collect();
        for line in &lines[lines.len().saturating_sub(CONSOLE_LINES)..] {
            println!("{} kernel | {}", self.name, line.trim_end());
        }
    }
}

fn path_option(option: &str, path: &Path) -> String {
    format!("{option}{}", path.display())
}
