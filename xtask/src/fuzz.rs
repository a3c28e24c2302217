//! `cargo xtask fuzz`: the targets of `fuzz/`, two at a time, each for a while.
//!
//! They are built with coverage counters and debug assertions, but without a sanitizer, so that a
//! stable compiler will do; nearly all code that they reach is safe Rust. New inputs stay in the
//! target folder, where the next run finds them; those in `fuzz/corpus` are chosen by hand.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
    sync::Mutex,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    build::{self, Built},
    duration::parse as duration,
    run::{clean, say, shown},
    setup, workspace,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long each target runs: 90s, 30m, 8h
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    time: Duration,
    /// Only build the targets
    #[arg(long, conflicts_with_all = ["input", "target"])]
    no_run: bool,
    /// Only run this input once: a crash that was found
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
    /// Only this target
    target: Option<String>,
}

/// More only slow each other down: a target keeps a core and a half busy.
const AT_ONCE: usize = 2;

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure_fuzzing()?;
    let built = build::only_bpf()?;
    let fuzzing = Fuzzing { binaries: compile(&built)?, time: args.time };
    if args.no_run {
        return Ok(());
    }
    let names = match &args.target {
        Some(name) => vec![name.clone()],
        None => targets()?,
    };
    if let (Some(input), [name]) = (&args.input, &names[..]) {
        return say(fuzzing.command(name).arg(input));
    }
    let waiting = Mutex::new(names.into_iter());
    let next = || waiting.lock().expect("nobody panics with it").next();
    let failed: Vec<String> = thread::scope(|scope| {
        let worker = || {
            let mut failed = Vec::new();
            while let Some(name) = next() {
                if let Err(error) = fuzzing.run(&name) {
                    eprintln!("fuzz {name}: {error:#}");
                    failed.push(name);
                }
            }
            failed
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker's end")).collect()
    });
    ensure!(failed.is_empty(), "fuzzing found something: {}", failed.join(", "));
    Ok(())
}

fn folder() -> PathBuf {
    workspace::root().join("fuzz")
}

/// Where everything goes that a build or a run leaves: where cargo-fuzz expects it.
fn work() -> PathBuf {
    folder().join("target")
}

/// Named by their corpora.
fn targets() -> Result<Vec<String>> {
    let corpora = fs::read_dir(folder().join("corpus")).context("no corpora")?;
    let name = |entry: std::io::Result<fs::DirEntry>| {
        anyhow::Ok(entry?.file_name().to_string_lossy().into_owned())
    };
    let mut names: Vec<String> = corpora.map(name).collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

/// Builds all targets; the folder they are in.
fn compile(built: &Built) -> Result<PathBuf> {
    let triple = "x86_64-unknown-linux-gnu";
    say(clean("cargo")
        .args(["fuzz", "build", "--sanitizer", "none", "--target", triple, "--target-dir"])
        .arg(work())
        .envs(built.embedding())
        .current_dir(workspace::root()))?;
    Ok(work().join(triple).join("release"))
}

#[derive(Debug)]
struct Fuzzing {
    binaries: PathBuf,
    time: Duration,
}

impl Fuzzing {
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.join(name));
        // State directories of made-up agents sync their files, which costs nothing there.
        command.current_dir(workspace::root()).env("TMPDIR", "/dev/shm");
        command
    }

    /// Runs one target; its last lines where it finds something.
    fn run(&self, name: &str) -> Result<()> {
        let (found, corpus) = (work().join("found"), work().join("corpus").join(name));
        for folder in [&found, &corpus] {
            fs::create_dir_all(folder)?;
        }
        let log = work().join(format!("{name}.log"));
        let mut command = self.command(name);
        command
            .arg(format!("-max_total_time={}", self.time.as_secs()))
            .arg(format!("-artifact_prefix={}/{name}-", found.display()))
            .args(["-timeout=25", "-print_final_stats=1", "-max_len=4096"])
            .args(dictionary(name).map(|path| format!("-dict={}", path.display())))
            .arg(&corpus)
            .arg(folder().join("corpus").join(name))
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?);
        eprintln!("+ {}", shown(&command));
        let status = command.status().with_context(|| format!("cannot run the target {name}"))?;
        let text = fs::read_to_string(&log)?;
        if !status.success() {
            bail!("{status}; all of it is in {}\n{}", log.display(), tail(&text));
        }
        eprintln!("fuzz {name}: {}", summary(&text));
        Ok(())
    }
}

fn dictionary(name: &str) -> Option<PathBuf> {
    let path = folder().join("dictionaries").join(format!("{name}.dict"));
    path.exists().then_some(path)
}

/// From the panic's message on.
fn tail(log: &str) -> &str {
    let from = log.find("panicked at").or_else(|| log.rfind("==")).unwrap_or(0);
    &log[log[..from].rfind('\n').map_or(0, |end| end + 1)..]
}

/// Inputs tried, and coverage at the start and the end.
fn summary(log: &str) -> String {
    let coverage = |mark: &str| {
        let line = log.lines().rfind(|line| line.contains(mark))?;
        line.split_whitespace().skip_while(|word| *word != "cov:").nth(1)
    };
    let stat =
        |name: &str| log.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
    format!(
        "{} inputs, {}/s, coverage {} to {}",
        stat("number_of_executed_units:").unwrap_or("?").trim(),
        stat("average_exec_per_sec:").unwrap_or("?").trim(),
        coverage("INITED").unwrap_or("?"),
        coverage("DONE").unwrap_or("?"),
    )
}
