//! Named commands of which `cargo xtask ci` and `cargo xtask nightly` are made.

mod slowest;
mod table;

use std::{
    env,
    fs::{self, File},
    io,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

pub(crate) use self::{slowest::slowest_tests, table::table};
use crate::workspace;

/// A command of this tool, or of cargo if its first word is `cargo`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) words: &'static [&'static str],
}

/// A step that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) name: &'static str,
    pub(crate) took: Duration,
    /// User and system time of the command, and of all its children that were waited for.
    pub(crate) cpu: Duration,
    /// Why the step failed.
    pub(crate) fault: Option<String>,
}

/// When a step's output is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    AsItComes,
    /// Steps that run side by side are shown one after the other.
    AtTheEnd,
}

/// How often the output and the end of a command are looked for.
const POLL: Duration = Duration::from_millis(50);
/// This program. Building the tests replaces the file, so its path is asked for once, before.
static PROGRAM: LazyLock<Option<PathBuf>> = LazyLock::new(|| env::current_exe().ok());
/// Ticks per second in /proc/PID/stat: USER_HZ (include/asm-generic/param.h).
const USER_HZ: f64 = 100.0;

pub(crate) const fn step(name: &'static str, words: &'static [&'static str]) -> Step {
    Step { name, words }
}

impl Step {
    pub(crate) fn command_line(&self) -> String {
        match self.words {
            ["cargo", ..] => self.words.join(" "),
            words => format!("cargo xtask {}", words.join(" ")),
        }
    }

    /// All that the step said, standard output and standard error together.
    pub(crate) fn log(&self) -> PathBuf {
        workspace::target().join("steps").join(format!("{}.log", self.name))
    }

    pub(crate) fn run(&self, show: Show) -> Ran {
        let began = Instant::now();
        if show == Show::AsItComes {
            println!("\n== {}: {}", self.name, self.command_line());
        }
        let (cpu, fault) = match self.wait_for(show) {
            Ok((status, cpu)) => (cpu, (!status.success()).then(|| status.to_string())),
            Err(error) => (Duration::ZERO, Some(format!("{error:#}"))),
        };
        let ran = Ran { name: self.name, took: began.elapsed(), cpu, fault };
        if show == Show::AtTheEnd {
            let said = fs::read(self.log()).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            println!("\n== {}: {} ({ran})\n{}", self.name, self.command_line(), said.trim_end());
        }
        ran
    }

    fn wait_for(&self, show: Show) -> Result<(ExitStatus, Duration)> {
        let path = self.log();
        fs::create_dir_all(path.parent().context("a folder")?)?;
        let log = File::create(&path).with_context(|| path.display().to_string())?;
        let mut said = File::open(&path)?;
        let mut child = self
            .command()?
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run `{}`", self.command_line()))?;
        let mut show_more = || match show {
            Show::AsItComes => io::copy(&mut said, &mut io::stdout()).map(drop),
            Show::AtTheEnd => Ok(()),
        };
        let cpu = loop {
            show_more()?;
            if let Some(cpu) = cpu_time_at_the_end(&child) {
                break cpu;
            }
            thread::sleep(POLL);
        };
        let status = child.wait()?;
        show_more()?;
        Ok((status, cpu))
    }

    fn command(&self) -> Result<Command> {
        let (program, args) = match self.words {
            ["cargo", args @ ..] => (PathBuf::from("cargo"), args),
            args => (PROGRAM.clone().context("where is this program?")?, args),
        };
        let mut command = Command::new(program);
        command.args(args).current_dir(workspace::root());
        Ok(command)
    }
}

/// The CPU time of a child that has ended and was not waited for yet. `None` while it runs.
fn cpu_time_at_the_end(child: &Child) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    cpu_time_of_a_zombie(&stat)
}

/// From /proc/PID/stat (proc_pid_stat(5)): state is field 3, utime, stime, cutime, cstime are 14 to 17.
fn cpu_time_of_a_zombie(stat: &str) -> Option<Duration> {
    // Field 2 is the program's name, which may contain blanks.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    if fields.first() != Some(&"Z") {
        return None;
    }
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Duration::from_secs_f64(ticks as f64 / USER_HZ))
}

/// Runs lanes side by side, and the steps of a lane one after the other. A lane ends at its first
/// failure.
pub(crate) fn side_by_side(lanes: &[&[Step]]) -> Vec<Ran> {
    let show = if lanes.len() == 1 { Show::AsItComes } else { Show::AtTheEnd };
    let lane = |steps: &[Step]| {
        let mut ran = Vec::new();
        for step in steps {
            ran.push(step.run(show));
            if ran.last().is_some_and(|ran| ran.fault.is_some()) {
                break;
            }
        }
        ran
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = lanes.iter().map(|steps| scope.spawn(move || lane(steps))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a lane's end")).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_that_of_the_command_and_its_children() {
        let stat = "4711 (a b) c) Z 1 2 3 4 5 6 7 8 9 10 110 20 3000 4 20 0 1 0";
        assert_eq!(cpu_time_of_a_zombie(stat), Some(Duration::from_millis(31_340)));
        assert_eq!(cpu_time_of_a_zombie(&stat.replace(" Z ", " S ")), None);
    }

    #[test]
    fn a_failure_ends_its_lane_and_no_other() {
        const GOOD: Step = step("unit-test-good", &["cargo", "--version"]);
        const BAD: Step = step("unit-test-bad", &["cargo", "no-such-verb"]);
        let ran = side_by_side(&[&[BAD, GOOD], &[GOOD, BAD]]);
        let results: Vec<_> = ran.iter().map(|ran| (ran.name, ran.fault.is_none())).collect();
        assert_eq!(results, [(BAD.name, false), (GOOD.name, true), (BAD.name, false)]);
        assert!(ran[1].cpu < ran[1].took + Duration::from_secs(1), "{:?}", ran[1]);
        let said = fs::read_to_string(BAD.log()).expect("a log");
        assert!(said.contains("no-such-verb"), "{said}");
    }
}
