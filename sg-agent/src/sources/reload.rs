//! SIGHUP: logs are opened anew, and agent.toml is read again.

use std::net::SocketAddr;

use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::{config::Config, flow_log::Log, metrics, owner::mailbox::Mailbox};

/// The settings that hold, and those who follow them while the agent runs.
pub(crate) struct Reload<R> {
    /// Reads the settings again.
    pub(crate) read: R,
    pub(crate) config: Config,
    pub(crate) log: Log,
    pub(crate) agent: Mailbox,
    /// Serves metrics, if they are served.
    pub(crate) metrics: Option<JoinHandle<()>>,
}

impl<R: Fn() -> anyhow::Result<Config>> Reload<R> {
    /// Settings that cannot be read leave the present ones.
    pub(crate) async fn run(&mut self) {
        let mut next = match (self.read)() {
            Ok(next) => next,
            Err(error) => {
                error!("{error:#}: the settings stay as they are");
                self.reopen();
                return;
            }
        };
        for setting in needs_restart(&self.config, &next) {
            warn!("{setting} has changed, which takes effect when the agent is started again");
        }
        keep_what_needs_restart(&self.config, &mut next);
        if next.metrics != self.config.metrics {
            next.metrics = self.move_metrics(next.metrics).await;
        }
        self.config = next;
        self.reopen();
        info!("the settings were read again");
    }

    fn reopen(&self) {
        if let Some(settings) = &self.config.flow_log {
            self.log.reopen(settings.clone());
        }
    }

    /// The address that metrics are served on afterwards.
    async fn move_metrics(&mut self, next: Option<SocketAddr>) -> Option<SocketAddr> {
        if let Some(before) = self.metrics.take() {
            before.abort();
            // Its socket is closed then: both addresses may have one port.
            let _ = before.await;
        }
        for address in [next, self.config.metrics] {
            match metrics::start(address, self.agent.clone()).await {
                Ok(task) => {
                    self.metrics = task;
                    return address;
                }
                Err(error) => error!("{error:#}"),
            }
        }
        None
    }
}

/// Keys of agent.toml whose change waits for the next start.
fn needs_restart(now: &Config, next: &Config) -> Vec<&'static str> {
    [
        ("state-dir", now.state_dir != next.state_dir),
        ("runtime-dir", now.runtime_dir != next.runtime_dir),
        ("bpffs", now.bpffs != next.bpffs),
        ("max-flows", now.max_flows != next.max_flows),
        // The tables of counters and slots are as large as it says.
        ("max-interfaces", now.max_interfaces != next.max_interfaces),
        ("control, host, datapath, floor or closed", now.control != next.control),
        // Programs that log have more code.
        ("flow-log (on or off)", now.flow_log.is_some() != next.flow_log.is_some()),
    ]
    .into_iter()
    .filter_map(|(key, has_changed)| has_changed.then_some(key))
    .collect()
}

fn keep_what_needs_restart(now: &Config, next: &mut Config) {
    let Config { state_dir, runtime_dir, bpffs, max_flows, max_interfaces, .. } = now.clone();
    (next.state_dir, next.runtime_dir, next.bpffs) = (state_dir, runtime_dir, bpffs);
    (next.max_flows, next.max_interfaces) = (max_flows, max_interfaces);
    next.control.clone_from(&now.control);
    if now.flow_log.is_some() != next.flow_log.is_some() {
        next.flow_log.clone_from(&now.flow_log);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::config::Cli;

    fn config(args: &[&str]) -> Config {
        let args = [&["sg-agent", "--config", "/nonexistent"], args].concat();
        Config::load(&Cli::try_parse_from(args).expect("arguments")).expect("settings")
    }

    #[test]
    fn what_needs_a_restart_is_named_and_stays() {
        let now = config(&["--flow-log", "/now"]);
        for (args, named) in [
            (&["--flow-log", "/now", "--state-dir", "/x"][..], &["state-dir"][..]),
            (&["--flow-log", "/now", "--runtime-dir", "/x"], &["runtime-dir"]),
            (&["--flow-log", "/now", "--bpffs", "/x"], &["bpffs"]),
            (&["--flow-log", "/now", "--max-flows", "64"], &["max-flows"]),
            (&["--flow-log", "/now", "--max-interfaces", "7"], &["max-interfaces"]),
            (
                &["--flow-log", "/now", "--control", "unix:/feed.sock", "--host", "h1"],
                &["control, host, datapath, floor or closed"],
            ),
        ] {
            let mut next = config(args);
            assert_eq!(needs_restart(&now, &next), named);
            keep_what_needs_restart(&now, &mut next);
            assert_eq!(next, now);
        }
    }

    #[test]
    fn what_can_change_changes() {
        let now = config(&["--flow-log", "/now"]);
        let args = ["--flow-log", "/next", "--metrics", "127.0.0.1:1"];
        let mut next = config(&args);
        assert_eq!(needs_restart(&now, &next), [""; 0]);
        keep_what_needs_restart(&now, &mut next);
        assert_eq!(next, config(&args));
    }
}
