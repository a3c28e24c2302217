//! Guides as tests: what a document shows is run as it stands, on the built programs.
//!
//! | fence | what is done with it |
//! |---|---|
//! | `console` | what follows a prompt is run; the lines below it are what it prints |
//! | `toml FILE` | is written to FILE |
//! | any other but `sh` | nothing: it cannot be run here |
//!
//! A prompt is `# ` on the machine that the guide is about, or `NAME# ` in the namespace NAME. A command
//! goes on in the next line after a backslash. In what is printed, `…` stands for anything within a line,
//! a line of its own for any lines; runs of blanks are one. A command without output below it has to
//! print nothing and to succeed; one that prints may fail.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns},
    sys::{prctl, signal::Signal},
};

use crate::{NetNs, agent::binary, probe::PATIENCE, sandbox};

/// Where commands run, and where their files are: the sandbox has a /tmp of its own.
const DIRECTORY: &str = "/tmp/guide";
/// Says that a command has ended, and how.
const MARK: &str = "\u{1}ended";

/// A document's blocks, in order.
#[derive(Debug)]
pub struct Guide {
    name: String,
    steps: Vec<Step>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Write { file: String, text: String },
    Run(Run),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    /// The line in the document, from 1.
    line: usize,
    namespace: Option<String>,
    command: String,
    printed: Vec<String>,
}

impl Guide {
    /// Reads a document of the repository.
    #[track_caller]
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let steps = steps(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name: name.to_owned(), steps }
    }

    /// Does all that it says; panics with every command that printed something else.
    #[track_caller]
    pub fn run(&self, machine: &NetNs, socket: &Path) {
        self.run_with(machine, socket, &sandbox::directory("programs"));
    }

    /// The same with more programs, from a folder.
    #[track_caller]
    pub fn run_with(&self, machine: &NetNs, socket: &Path, programs: &Path) {
        let mut shell = Shell::start(machine, socket, programs);
        let mut wrong = Vec::new();
        for step in &self.steps {
            match step {
                Step::Write { file, text } => {
                    fs::write(Path::new(DIRECTORY).join(file), text).expect("a file");
                }
                Step::Run(run) => {
                    if let Err(error) = shell.run(run) {
                        wrong.push(format!("{}:{}: {error}", self.name, run.line));
                    }
                }
            }
        }
        let commands = self.steps.iter().filter(|step| matches!(step, Step::Run(_))).count();
        assert!(commands > 0, "{} has nothing to run", self.name);
        assert!(wrong.is_empty(), "of {commands} commands:\n{}", wrong.join("\n"));
    }
}

fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else { continue };
        let block: Vec<(usize, &str)> =
            lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        match fence.split_once(' ').unwrap_or((fence, "")) {
            ("sh", _) => {
                return Err(format!("line {}: write `console`, or `text`", number + 1));
            }
            ("console", _) => steps.extend(commands(&block)?.into_iter().map(Step::Run)),
            ("toml", file) if !file.is_empty() => {
                let text: String = block.iter().flat_map(|(_, line)| [*line, "\n"]).collect();
                steps.push(Step::Write { file: file.to_owned(), text });
            }
            _ => {}
        }
    }
    Ok(steps)
}

fn commands(block: &[(usize, &str)]) -> Result<Vec<Run>, String> {
    let mut runs: Vec<Run> = Vec::new();
    for (number, line) in block {
        let goes_on = runs.last_mut().filter(|run| run.command.ends_with('\\'));
        if let Some(run) = goes_on {
            run.command.pop();
            run.command.push_str(without_comment(line.trim_start()));
        } else if let Some((namespace, command)) = prompt(line) {
            let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
            let (line, command) = (number + 1, without_comment(command).to_owned());
            runs.push(Run { line, namespace, command, printed: Vec::new() });
        } else if let Some(run) = runs.last_mut() {
            run.printed.push((*line).to_owned());
        } else {
            return Err(format!("line {}: no prompt", number + 1));
        }
    }
    Ok(runs)
}

/// `# command`, `guest# command`.
fn prompt(line: &str) -> Option<(&str, &str)> {
    let (namespace, command) = line.split_once("# ")?;
    let is_name = namespace.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    is_name.then_some((namespace, command))
}

/// Cuts off the remark for people beside a command, two blanks or more after it.
fn without_comment(command: &str) -> &str {
    command.split_once("  # ").map_or(command, |(command, _)| command.trim_end())
}

/// One shell for a whole guide, so that variables and jobs last.
#[derive(Debug)]
struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    socket: PathBuf,
}

impl Shell {
    fn start(machine: &NetNs, socket: &Path, more: &Path) -> Self {
        let none: Option<&str> = None;
        // Guides write to well-known places; keep their files off this machine.
        mount(Some("sg-tests"), "/tmp", Some("tmpfs"), MsFlags::empty(), none).expect("a /tmp");
        mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), none).expect("a bpffs");
        fs::create_dir(DIRECTORY).expect("a directory");
        let programs = binary("sgctl");
        let programs = programs.parent().expect("a folder").to_str().expect("UTF-8");
        let path = env::var("PATH").expect("PATH");
        let namespace: File = machine.fd().try_clone_to_owned().expect("a descriptor").into();
        let enter = move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            setns(&namespace, CloneFlags::CLONE_NEWNET)?;
            Ok(())
        };
        let mut command = Command::new("bash");
        command
            .args(["--noprofile", "--norc"])
            .current_dir(DIRECTORY)
            .env("PATH", format!("{programs}:{}:{path}", more.display()))
            .env("SGCTL_SOCKET", socket)
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env_remove("SSH_CONNECTION")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // SAFETY: two system calls and no allocation between fork and exec.
        unsafe { command.pre_exec(enter) };
        let mut child = command.spawn().expect("bash");
        let mut input = child.stdin.take().expect("piped");
        // Jobs end with the shell, however a guide ends.
        writeln!(input, "trap 'kill -9 $(jobs -p) 2>/dev/null' EXIT").expect("bash takes lines");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, input, lines, socket: socket.to_owned() }
    }

    /// The error says what was printed instead.
    fn run(&mut self, run: &Run) -> Result<(), String> {
        let enter = |name: &String| format!("nsenter --net=/run/netns/{name} ");
        let command = run.namespace.as_ref().map(enter).unwrap_or_default() + &run.command;
        if let Some(job) = background(&command) {
            self.begin(&command, job);
            return Ok(());
        }
        let (printed, status) = self.ask(&command);
        let fits = match &run.printed[..] {
            [] => printed.is_empty() && status == "0",
            expected => matches(expected, &printed),
        };
        if fits {
            return Ok(());
        }
        let (said, is) = (run.printed.join("\n  "), printed.join("\n  "));
        Err(format!(
            "{}\n is to print\n  {said}\n prints, with status {status},\n  {is}",
            run.command
        ))
    }

    /// Runs a command: its output and its exit status.
    fn ask(&mut self, command: &str) -> (Vec<String>, String) {
        writeln!(self.input, "{{ {command}\n}} </dev/null 2>&1; printf '\\n{MARK} %s\\n' $?")
            .expect("bash takes lines");
        let deadline = Instant::now() + PATIENCE;
        let mut printed = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("{command} did not end\n{printed:#?}"));
            if let Some(status) = line.strip_prefix(MARK) {
                // The mark begins a line of its own, whatever was printed before.
                if printed.last().is_some_and(String::is_empty) {
                    printed.pop();
                }
                return (printed, status.trim().to_owned());
            }
            // The shell reports a killed job whenever it notices; leave that out.
            if !line.starts_with("bash: line ") || !line.contains(" Killed ") {
                printed.push(line);
            }
        }
    }

    /// Starts a job and waits until it takes connections.
    fn begin(&mut self, command: &str, job: &str) {
        let is_agent = job.contains("sg-agent");
        let (printed, _) = self.ask(&format!("{{ {command}\n}} >/dev/null 2>&1; echo $!"));
        let pid: u32 = printed.last().and_then(|pid| pid.parse().ok()).expect("a job");
        let listens = |table: &str| {
            let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
            // State 0A: listening; 07: a UDP socket that is not connected.
            let state = |line: &str| line.split_whitespace().nth(3).map(str::to_owned);
            text.lines().filter_map(state).filter(|state| state == "0A" || state == "07").count()
        };
        let sockets = || ["tcp", "tcp6", "udp", "udp6"].map(listens).iter().sum::<usize>();
        let runs = || Path::new(&format!("/proc/{pid}")).exists();
        let is_ready = |before: usize| {
            if is_agent { UnixStream::connect(&self.socket).is_ok() } else { sockets() > before }
        };
        // One that was quicker than the first look is waited for in vain, but not for long.
        let (before, deadline) = (sockets(), Instant::now() + Duration::from_secs(5));
        while !is_ready(before) && runs() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = writeln!(self.input, "exit");
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The command that is left to run by itself.
fn background(command: &str) -> Option<&str> {
    let (before, after) = command.rsplit_once('&')?;
    // `cmd & pid=$!`; not `a && b`, `2>&1`.
    let ends = after.trim().is_empty() || after.trim().ends_with("=$!");
    (ends && !before.ends_with(['&', '>'])).then_some(before)
}

fn matches(expected: &[String], printed: &[String]) -> bool {
    let Some((first, rest)) = expected.split_first() else { return printed.is_empty() };
    if first.trim() == "…" {
        return (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]));
    }
    let Some((line, others)) = printed.split_first() else { return false };
    line_matches(&plain(first), &plain(line)) && matches(rest, others)
}

/// Tables are as wide as what is in them.
fn plain(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line_matches(expected: &str, line: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_commands_with_what_they_print() {
        let text = "# Title\n```toml rules.toml\n[settings]\n```\n```console\n# a \\\n    b  # why\n\
                    vm-1# c # d\n1\n2\n```\n```xml\n# no\n```\n";
        let run = |line, namespace: Option<&str>, command: &str, printed: &[&str]| {
            let printed = printed.iter().map(|&line| line.to_owned()).collect();
            let (namespace, command) = (namespace.map(str::to_owned), command.to_owned());
            Step::Run(Run { line, namespace, command, printed })
        };
        let expected = [
            Step::Write { file: "rules.toml".into(), text: "[settings]\n".into() },
            run(6, None, "a b", &[]),
            run(8, Some("vm-1"), "c # d", &["1", "2"]),
        ];
        assert_eq!(steps(text).expect("steps"), expected);
        assert!(steps("```sh\nls\n```\n").is_err_and(|error| error.contains("line 1")));
        assert!(steps("```console\nls\n```\n").is_err_and(|error| error.contains("line 2")));
    }

    #[test]
    fn what_is_left_out_may_be_anything() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let fits = |expected: &str, printed: &str| matches(&lines(expected), &lines(printed));
        assert!(fits("a  b … c", "a b 17 c"));
        assert!(fits("a\n…\nz", "a\nz") && fits("a\n…\nz", "a\nb\nc\nz") && fits("…", ""));
        assert!(!fits("a", "a\nb") && !fits("a\nb", "a") && !fits("a … c", "a 1 d"));
        assert!(!fits("a…b…c", "abb") && !fits("a", "ab") && !fits("…\nz", "a"));
        assert!(fits("…1 of …", "x 1 of 2") && !fits("1 of …2", "1 of 3"));
    }

    #[test]
    fn jobs_are_told_from_commands() {
        assert_eq!(background("a b &"), Some("a b "));
        assert_eq!(background("a & pid=$!"), Some("a "));
        for command in ["a && b", "a 2>&1", "a >&2", "a"] {
            assert_eq!(background(command), None, "{command}");
        }
    }
}
