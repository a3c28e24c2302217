//! `cargo xtask vm-test`: the tests on other kernels, in guests under qemu.

mod cpio;
mod guest;
mod image;
pub(crate) mod kernel;
mod payload;
mod report;
mod systemd;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use self::{
    guest::Guest,
    kernel::{KERNELS, Kernel, MODULES},
    payload::{BINARIES_METADATA, CARGO_METADATA, PROGRAMS, Payload, TARGET, WORKSPACE},
    report::Report,
};
use crate::{build, run::ask, setup, workspace};

/// A guest plays one of so many differential cases.
const FEWER: u32 = 50;
/// Seconds that a guest may take. One alone took 345 on an idle machine, and others run beside it.
const LIMIT: u64 = 900;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this kernel (6.1, 6.12); may be given several times
    #[arg(long, value_name = "VERSION")]
    kernel: Vec<String>,
    /// Without the tests that take the same way as on another kernel
    #[arg(long, conflicts_with = "systemd")]
    quick: bool,
    /// Instead of the tests: the package on a Debian system, from its installation to its removal
    #[arg(long, conflicts_with_all = ["filter", "nextest"])]
    systemd: bool,
    /// Seconds that a guest may take [default: 900]
    #[arg(long, value_name = "SECONDS")]
    limit: Option<u64>,
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Passed on to cargo-nextest in the guest
    #[arg(last = true)]
    nextest: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let kernels: Vec<&Kernel> = KERNELS
        .iter()
        .filter(|kernel| args.kernel.is_empty() || args.kernel.iter().any(|v| v == kernel.version))
        .collect();
    if kernels.is_empty() {
        bail!("no such kernel");
    }
    setup::ensure_vm()?;
    if args.systemd {
        let kernel = kernels.last().context("a kernel")?;
        return systemd::run(kernel, Duration::from_secs(args.limit.unwrap_or(LIMIT)));
    }
    let built = build::run(&build::Args::default())?;
    let payload = payload::build(&built)?;
    let mut reports = vec![here()?];
    reports.extend(side_by_side(&kernels, &payload, args)?);
    report::print(&reports);
    let sum = |of: fn(&Report) -> u32| reports.iter().map(of).sum::<u32>();
    let (passed, failed) = (sum(|report| report.passed), sum(|report| report.failed));
    println!("vm-test: {passed} passed, {failed} failed");
    let faults: Vec<_> = reports.iter().flat_map(Report::faults).collect();
    if !faults.is_empty() {
        bail!("{}", faults.join("; "));
    }
    Ok(())
}

/// A guest for each kernel, all at once: each has times when one of its CPUs waits for the other.
fn side_by_side(kernels: &[&Kernel], payload: &Payload, args: &Args) -> Result<Vec<Report>> {
    let report = |kernel: &Kernel| {
        let release = kernel.release()?;
        let began = Instant::now();
        let said = boot(kernel, payload.clone(), args);
        Ok(Report::read(&release, &said, began.elapsed()))
    };
    thread::scope(|scope| {
        let guests: Vec<_> =
            kernels.iter().map(|kernel| scope.spawn(move || report(kernel))).collect();
        guests.into_iter().map(|guest| guest.join().expect("a guest's end")).collect()
    })
}

/// The running kernel, which `cargo xtask test` is for: only what loading costs.
fn here() -> Result<Report> {
    let release = ask(Command::new("uname").arg("-r")).context("uname")?;
    let began = Instant::now();
    let said = ask(&mut Command::new(payload::helper("sg-programs")))
        .context("the programs do not load on this machine; see `cargo xtask test`")?;
    let lines = said.lines().map(str::to_owned).collect();
    Ok(Report::read(&release, &Ok(lines), began.elapsed()))
}

/// Boots a guest with this kernel: the lines that it prints.
fn boot(kernel: &Kernel, payload: Payload, args: &Args) -> Result<Vec<String>> {
    let folder = workspace::target().join("vm").join(format!("guest-{}", kernel.version));
    fs::create_dir_all(&folder)?;
    let files = folder.join("files.cpio");
    let Payload { mut archive, fields } = payload;
    let mut modules = Vec::new();
    for module in kernel.modules(MODULES)? {
        let place = Path::new("/modules").join(module.file_name().context("a module")?);
        archive.copy(&module, &place)?;
        modules.push(place);
    }
    archive.text("/plan", plan(kernel, &modules, &fields, args));
    archive.write(&files)?;
    let name = kernel.version.to_owned();
    let guest = Guest { name, image: kernel.image()?, files, folder };
    guest.run(Duration::from_secs(args.limit.unwrap_or(LIMIT)))
}

/// The plan of the guest's process 1; see `tests/src/bin/init`.
fn plan(kernel: &Kernel, modules: &[PathBuf], fields: &Path, args: &Args) -> String {
    let mut lines: Vec<String> =
        modules.iter().map(|module| format!("module {}", module.display())).collect();
    lines.extend([
        "env CARGO_TERM_COLOR=never".to_owned(),
        "env NEXTEST_SHOW_PROGRESS=none".to_owned(),
        format!("env SG_BIN_DIR={PROGRAMS}"),
        format!("env SG_FEWER={FEWER}"),
        format!("env SG_XDP_DRIVERS={}", kernel.xdp_drivers.join(",")),
        "run sg-programs".to_owned(),
    ]);
    let name = args.filter.as_deref().unwrap_or_default();
    lines.push(format!("run {} --quiet --test-threads 2 {name}", fields.display()));
    let mut nextest = format!(
        "run cargo-nextest nextest run --profile vm --run-ignored all --no-tests pass \
         --binaries-metadata {BINARIES_METADATA} --cargo-metadata {CARGO_METADATA} \
         --workspace-remap {WORKSPACE} --target-dir-remap {TARGET} -E {}",
        kernel.expression(args.quick)
    );
    for word in args.filter.iter().chain(&args.nextest) {
        nextest += " ";
        nextest += word;
    }
    lines.push(nextest);
    lines.join("\n")
}
