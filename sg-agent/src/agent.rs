//! The daemon from start to end.

use std::{future::Future, path::Path, time::Duration};

use anyhow::Context as _;
use sd_notify::NotifyState;
use sg_policy::{DesiredState, compile::Compiler};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tracing::{error, info, warn};

use crate::{
    census,
    config::Config,
    datapath::{self, Datapath, Loader, Receiver},
    flow_log::{self, Log, names::InterfaceNames},
    kernel::hook_choice,
    metrics,
    observe::{interfaces::View, rtnetlink::Watch},
    owner::{
        mailbox::{Mailbox, Request, mailbox},
        revision::Stored,
        state::{self, Owner},
    },
    sources::{control::Control, reload::Reload, unix_socket},
    store::Store,
    system::{allocator, clock, lock, watchdog::watch_over},
};

/// Answers under way have this long to get out at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs until a signal or `detach` ends it. The filter goes on without the process. `read` reads the
/// settings again, for SIGHUP.
///
/// # Errors
/// A part failed that the agent cannot do without. The pinned programs go on enforcing.
pub fn run(
    config: &Config,
    read: impl Fn() -> anyhow::Result<Config> + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let _runtime_lock = lock::acquire(&config.runtime_dir)?;
    let _state_lock = lock::acquire(&config.state_dir)?;
    // The state first: without it nothing in the kernel is touched.
    let mut store = Store::open(&config.state_dir)?;
    let (loader, stored) = Loader::beside(|| load(&mut store));
    let stored = stored?;
    let runtime = runtime()?;
    let _entered = runtime.enter();
    // From here on it does not end the agent, which does as it says when all is there.
    let hangup = hangup()?;
    let watch = runtime.block_on(Watch::open())?;
    let options = datapath::Options {
        abi: config.abi,
        bpffs: config.bpffs.clone(),
        max_flows: config.max_flows,
        max_interfaces: config.max_interfaces,
        flow_log: config.flow_log.is_some(),
        first: first_receiver(stored.rules(), watch.view()),
        loaded: allocator::give_back,
    };
    Datapath::mount(&config.bpffs)?;
    // An agent with other directories, or in another network namespace, may have the same pins.
    let _bpffs_lock = lock::acquire(&config.bpffs)?;
    let kernel = Datapath::open(&options, loader)?;
    let reader = kernel.flow_log_reader()?;
    let census = kernel.census().context("cannot read the flow tables")?;
    let names = InterfaceNames::default();
    let options = state::Options {
        max_interfaces: config.max_interfaces.min(kernel.max_interfaces()),
        bpffs: config.bpffs.clone(),
        boot_id: clock::boot_id().context("cannot read the boot id")?,
        started_at: clock::unix_now(),
        compile: Compiler::compile,
        names: names.clone(),
    };
    let mut owner = Owner::start(kernel, store, stored, watch.view().clone(), options)?;
    let _census = census::Running::start(census).context("cannot start a thread")?;
    let (agent, inbox) = mailbox();
    runtime.spawn(follow(watch, agent.clone()));
    runtime.spawn(stop_on_signal(agent.clone())?);
    let metrics = runtime.block_on(metrics::start(config.metrics, agent.clone()))?;
    if let Some(limit) = sd_notify::watchdog_enabled() {
        let asked = agent.clone();
        let answers = move || {
            let asked = asked.clone();
            async move { asked.ask(Request::Ping).await.is_ok() }
        };
        runtime.spawn(watch_over(answers, limit, || notify(NotifyState::Watchdog)));
    }
    let flow_log = match &config.flow_log {
        Some(settings) => Some(flow_log::Running::start(reader, names, settings)?),
        None => None,
    };
    let log = flow_log.as_ref().map_or_else(Log::off, |running| running.log.clone());
    runtime.spawn(reload_on(
        hangup,
        Reload { read, config: config.clone(), log: log.clone(), metrics, agent: agent.clone() },
    ));
    // Before anyone can ask how much it takes.
    allocator::give_back();
    let control = match &config.control {
        Some(settings) => Some(Control::start(settings, &config.state_dir, &agent)?),
        None => None,
    };
    let listener = unix_socket::bind(&config.runtime_dir)?;
    let (ended, shutdown) = oneshot::channel::<()>();
    let shutdown = async move {
        let _ = shutdown.await;
    };
    let server = runtime.spawn(unix_socket::serve(listener, agent, log, control, shutdown));
    notify(NotifyState::Ready);
    info!(state = %config.state_dir.display(), socket = %config.runtime_dir.display(), "ready");
    let why = inbox.run(&mut owner);
    notify(NotifyState::Stopping);
    // Followers of the flow log hear that it has ended, too.
    if let Some(running) = flow_log {
        running.stop();
    }
    let _ = ended.send(());
    let drained = runtime.block_on(async { tokio::time::timeout(DRAIN, server).await });
    if drained.is_err() {
        warn!("some requests were left unanswered");
    }
    runtime.shutdown_background();
    unix_socket::unbind(&config.runtime_dir);
    info!("ended; programs that are attached go on filtering");
    why
}

/// Only a state that this version takes is written again.
fn load(store: &mut Store) -> anyhow::Result<Stored> {
    let stored = Stored::load(store)?;
    // A full or read-only disk is no reason to filter nothing.
    if let Err(error) = store.prepare() {
        error!(%error, "rules cannot be changed until the state directory can be written to");
    }
    Ok(stored)
}

/// `sg-agent mount`: for a service whose own mounts, and the pins in them, would end with it.
pub fn mount(config: &Config) -> anyhow::Result<()> {
    Ok(Datapath::mount(&config.bpffs)?)
}

/// `sg-agent detach`: for when no agent runs.
pub fn detach(config: &Config) -> anyhow::Result<()> {
    let _runtime_lock = lock::acquire(&config.runtime_dir).context("use `sgctl detach --yes`")?;
    let _bpffs_lock = match config.bpffs.exists() {
        true => Some(lock::acquire(&config.bpffs).context("use `sgctl detach --yes`")?),
        false => None,
    };
    Datapath::remove(Path::new(&config.bpffs))?;
    Ok(())
}

/// The hook of the first interface that the rules filter, so that its program is loaded first.
fn first_receiver(rules: &DesiredState, view: &View) -> Receiver {
    let filtered = view.iter().find_map(|(&ifindex, interface)| {
        Some((ifindex, rules.entry_for(&interface.device.name)?))
    });
    filtered.map_or(Receiver::Tc, |(ifindex, entry)| {
        Receiver::of(ifindex, hook_choice(rules.interfaces[entry].datapath))
    })
}

/// One worker is enough for all tasks but the owner, which has its own thread; it keeps the process
/// small.
fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

async fn follow(mut watch: Watch, agent: Mailbox) {
    loop {
        let view = match watch.changed().await {
            Ok(view) => view.clone(),
            // Without its eyes the agent is no good: systemd starts another.
            Err(error) => return agent.stop(Err(error.context("cannot follow the interfaces"))),
        };
        if agent.interfaces_changed(view).is_err() {
            return;
        }
    }
}

fn stop_on_signal(agent: Mailbox) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        agent.stop(Ok(()));
    })
}

fn hangup() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("cannot take SIGHUP")
}

async fn reload_on<R>(mut hangup: Signal, mut reload: Reload<R>)
where
    R: Fn() -> anyhow::Result<Config>,
{
    while hangup.recv().await.is_some() {
        reload.run().await;
    }
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "cannot tell systemd");
    }
}
