//! The machine that the figures were measured on.

use std::{fs, thread, time::SystemTime};

use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cpus: usize,
    pub kernel: String,
    /// Whether a hypervisor is under it.
    pub virtual_machine: bool,
    pub memory_mib: u64,
    /// Seconds since 1970.
    pub began: u64,
    /// The load average (1 minute) before, and the highest that was seen meanwhile.
    pub load_before: f64,
    pub load_during: f64,
}

impl Machine {
    pub fn look() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let field = |name: &str| {
            cpuinfo
                .lines()
                .find(|line| line.starts_with(name))
                .and_then(|line| line.split_once(": "))
        };
        let memory = read("/proc/meminfo");
        let kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
        Self {
            cpu: field("model name").map_or_else(String::new, |(_, model)| model.to_owned()),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            virtual_machine: field("flags").is_some_and(|(_, flags)| {
                flags.split_whitespace().any(|flag| flag == "hypervisor")
            }),
            memory_mib: kib.unwrap_or(0) / 1024,
            began: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |time| time.as_secs()),
            load_before: load(),
            load_during: 0.0,
        }
    }

    pub fn look_again(&mut self) {
        self.load_during = self.load_during.max(load());
    }
}

fn load() -> f64 {
    let text = read("/proc/loadavg");
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
