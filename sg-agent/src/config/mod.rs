//! Settings of the agent: flags over `/etc/sg/agent.toml` over the defaults.

pub mod control;
mod flow_log;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use sg_policy::model::DatapathChoice;
use sg_store::HostName;

use self::{
    control::{Closed, Control, Keys, Source},
    flow_log::FlowLog,
};
use crate::datapath::Abi;

const CONFIG: &str = "/etc/sg/agent.toml";

/// EC2-style security groups for any Linux host: the daemon.
#[derive(Clone, Debug, Parser)]
#[command(name = "sg-agent", version)]
pub struct Cli {
    /// Agent settings [default: /etc/sg/agent.toml, absent is fine]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Remove every program, link and pin; nothing is filtered afterwards
    Detach,
    /// Mount the BPF file system that the pins go into where there is none, and end
    Mount,
    /// Write the man page to standard output, for a package
    #[command(hide = true)]
    Man,
}

/// Settings that a flag and a key of the file have under the same name.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// Last applied ruleset and revision history [default: /var/lib/sg]
    #[arg(long, value_name = "DIR", global = true)]
    #[serde(alias = "state_dir")]
    pub state_dir: Option<PathBuf>,
    /// Where the socket agent.sock is [default: /run/sg]
    #[arg(long, value_name = "DIR", global = true)]
    #[serde(alias = "runtime_dir")]
    pub runtime_dir: Option<PathBuf>,
    /// Pinned links and maps; a bpffs is mounted when there is none [default: /sys/fs/bpf/sg]
    #[arg(long, value_name = "DIR", global = true)]
    pub bpffs: Option<PathBuf>,
    /// Prometheus over HTTP, 127.0.0.1:9790 say [default: off]
    #[arg(long, value_name = "ADDR", global = true)]
    pub metrics: Option<SocketAddr>,
    /// Flow table capacity per address family; rounded up to a power of two [default: 262144]
    #[arg(long, value_name = "N", global = true)]
    #[serde(alias = "max_flows")]
    pub max_flows: Option<u32>,
    /// Interfaces filtered at once [default: 1024]
    #[arg(long, value_name = "N", global = true)]
    #[serde(alias = "max_interfaces")]
    pub max_interfaces: Option<u16>,
    /// Takes the rules from a control plane, unix:/run/sg-server/feed.sock say [default: from `sgctl apply`]
    #[arg(long, value_name = "URL", global = true)]
    pub control: Option<Source>,
    /// Name of this host for the control plane [default: the host's name]
    #[arg(long, value_name = "NAME", global = true)]
    pub host: Option<HostName>,
    /// Data path of interfaces whose rules come from a control plane: auto, xdp, tc.
    #[arg(skip)]
    pub datapath: Option<Datapath>,
    /// Read by itself, with the places of its faults.
    #[arg(skip)]
    pub floor: Option<ReadApart>,
    #[arg(skip)]
    #[serde(default)]
    pub closed: Vec<Closed>,
    #[command(flatten)]
    #[serde(default, alias = "flow_log")]
    pub flow_log: FlowLog,
}

/// A key that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadApart;

impl<'de> Deserialize<'de> for ReadApart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// As the `datapath` of an `[[interface]]` in rules.toml.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Datapath {
    Auto,
    Xdp,
    Tc,
}

impl From<Datapath> for DatapathChoice {
    fn from(datapath: Datapath) -> Self {
        match datapath {
            Datapath::Auto => Self::Auto,
            Datapath::Xdp => Self::Xdp,
            Datapath::Tc => Self::Tc,
        }
    }
}

/// The settings that hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// No setting: for tests of upgrades.
    pub abi: Abi,
    pub state_dir: PathBuf,
    pub runtime_dir: PathBuf,
    pub bpffs: PathBuf,
    pub metrics: Option<SocketAddr>,
    /// A power of two.
    pub max_flows: u32,
    pub max_interfaces: u16,
    /// `None`: there is none.
    pub flow_log: Option<crate::flow_log::Settings>,
    /// `None`: the rules come from files.
    pub control: Option<Control>,
}

/// Largest flow table per family: 2 GiB (IPv4) and 4 GiB (IPv6).
const MAX_FLOWS: u32 = 1 << 26;
/// The keys of fragments have 15 bits for an interface.
const MAX_INTERFACES: u16 = 1 << 15;

impl Config {
    /// # Errors
    /// The file cannot be read or has a key or value that makes no sense.
    pub fn load(cli: &Cli) -> anyhow::Result<Self> {
        let path = cli.config.as_deref().unwrap_or(Path::new(CONFIG));
        let text = read(path, cli.config.is_some())?;
        let keys = toml::from_str(&text);
        let keys: Options = keys.with_context(|| format!("{} is not right", path.display()))?;
        let control = Keys {
            control: cli.options.control.clone().or(keys.control.clone()),
            host: cli.options.host.clone().or(keys.host.clone()),
            datapath: keys.datapath.map(Into::into),
            closed: keys.closed.clone(),
        };
        let control = Control::resolve(control, &path.display().to_string(), &text)?;
        Self::resolve(cli.options.clone(), keys, control)
    }

    fn resolve(flags: Options, file: Options, control: Option<Control>) -> anyhow::Result<Self> {
        let max_flows = flags.max_flows.or(file.max_flows).unwrap_or(262_144);
        anyhow::ensure!(
            (1..=MAX_FLOWS).contains(&max_flows),
            "max-flows is {max_flows}, it can be 1 to {MAX_FLOWS}"
        );
        let max_interfaces = flags.max_interfaces.or(file.max_interfaces).unwrap_or(1024);
        anyhow::ensure!(
            (1..=MAX_INTERFACES).contains(&max_interfaces),
            "max-interfaces is {max_interfaces}, it can be 1 to {MAX_INTERFACES}"
        );
        let directory = |flag: Option<PathBuf>, key: Option<PathBuf>, default: &str| {
            flag.or(key).unwrap_or_else(|| default.into())
        };
        Ok(Self {
            abi: Abi::OURS,
            state_dir: directory(flags.state_dir, file.state_dir, "/var/lib/sg"),
            runtime_dir: directory(flags.runtime_dir, file.runtime_dir, "/run/sg"),
            bpffs: directory(flags.bpffs, file.bpffs, "/sys/fs/bpf/sg"),
            metrics: flags.metrics.or(file.metrics),
            max_flows: max_flows.next_power_of_two(),
            max_interfaces,
            flow_log: FlowLog::resolve(flags.flow_log, file.flow_log)?,
            control,
        })
    }
}

/// An absent file is an empty one. One that was asked for by name may be a misspelling: a warning.
fn read(path: &Path, is_asked_for: bool) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if is_asked_for {
                tracing::warn!("no {}: the settings are the defaults", path.display());
            }
            Ok(String::new())
        }
        read => read.with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &[&str], file: &str) -> anyhow::Result<Config> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.toml");
        std::fs::write(&path, file).unwrap();
        let path = path.to_str().unwrap();
        let args = [&["sg-agent", "--config", path], args].concat();
        Config::load(&Cli::try_parse_from(args)?)
    }

    #[test]
    fn defaults_are_those_of_the_interface() {
        let config = load(&[], "").unwrap();
        let expected = Config {
            abi: Abi::OURS,
            state_dir: "/var/lib/sg".into(),
            runtime_dir: "/run/sg".into(),
            bpffs: "/sys/fs/bpf/sg".into(),
            metrics: None,
            max_flows: 262_144,
            max_interfaces: 1024,
            flow_log: load(&[], "").unwrap().flow_log,
            control: None,
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn a_flag_wins_over_its_key() {
        let file = "state-dir = '/a'\nmax-flows = 1000\nmetrics = '127.0.0.1:1'\nbpffs = '/b'";
        let config = load(&["--max-flows", "5000", "--bpffs", "/c"], file).unwrap();
        assert_eq!(config.state_dir, Path::new("/a"));
        assert_eq!(config.bpffs, Path::new("/c"));
        assert_eq!(config.max_flows, 8192);
        assert_eq!(config.metrics, Some("127.0.0.1:1".parse().unwrap()));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (file, named) in [
            ("state_dri = '/a'", "state_dri"),
            ("max-flows = 0", "max-flows is 0"),
            ("max-flows = 'many'", "max-flows"),
            ("max-interfaces = 0", "max-interfaces is 0"),
            ("max-interfaces = 32769", "max-interfaces is 32769"),
            ("max-interfaces = 70000", "70000"),
            ("metrics = 'here'", "metrics"),
            ("[flow-log]\ninterval = 0", "flow-log-interval is 0"),
            ("[flow_log]\ncolour = 1", "colour"),
            ("= 1", "line 1"),
        ] {
            let error = format!("{:#}", load(&[], file).unwrap_err());
            assert!(error.contains(named), "{file}: {error}");
        }
    }

    #[test]
    fn control_mode_is_by_flag_or_by_key() {
        let file =
            "control = 'unix:/a'\nhost = 'h1'\ndatapath = 'tc'\n[[closed]]\nnames = ['tap*']";
        let control = load(&["--control", "unix:/b"], file).unwrap().control.unwrap();
        assert_eq!((control.source.to_string(), control.host.as_str()), ("unix:/b".into(), "h1"));
        assert_eq!((control.datapath, control.closed), (DatapathChoice::Tc, vec!["tap*".into()]));
        for (file, named) in [
            ("control = '/a'", "no control plane"),
            ("host = 'a b'", "a b"),
            ("datapath = 'fast'", "fast"),
            ("[[closed]]\nname = 'tap*'", "name"),
            ("[[floor]]\nprotocol = 'tpc'\ncidrs = ['10.0.0.0/8']", "agent.toml:2"),
        ] {
            let error = format!("{:#}", load(&[], file).unwrap_err());
            assert!(error.contains(named), "{file}: {error}");
        }
    }

    #[test]
    fn the_file_need_not_be_there_but_has_to_be_one() {
        let load =
            |path| Config::load(&Cli::try_parse_from(["sg-agent", "--config", path]).unwrap());
        assert_eq!(load("/nonexistent/agent.toml").unwrap().state_dir, Path::new("/var/lib/sg"));
        assert_eq!(load("/").unwrap_err().to_string(), "cannot read /");
    }

    #[test]
    fn detach_takes_the_same_flags() {
        let cli = Cli::try_parse_from(["sg-agent", "detach", "--bpffs", "/b"]).unwrap();
        assert_eq!(cli.command, Some(Command::Detach));
        assert_eq!(cli.options.bpffs.as_deref(), Some(Path::new("/b")));
    }
}
