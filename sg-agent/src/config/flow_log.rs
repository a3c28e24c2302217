//! Settings of the flow log: the table `[flow-log]`, and flags that begin with its name.

use clap::Args;
use serde::{Deserialize, Deserializer};
use sg_api::format::{DEFAULT, Format};

use crate::flow_log::{
    Settings,
    sink::{Place, Style},
};

/// Without this the log is for `sgctl log` only.
const OFF: &str = "off";
const MAX_INTERVAL: u64 = 600;
const MIB: u64 = 1 << 20;

#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FlowLog {
    /// Where records of flows go, besides `sgctl log`: a file, journald, stdout; may be given several
    /// times. off: there is no flow log at all [default: nowhere]
    #[arg(long = "flow-log", value_name = "WHERE", global = true)]
    #[serde(default, deserialize_with = "one_or_several")]
    pub to: Vec<String>,
    /// Fields of a record, as of VPC flow logs: '${srcaddr} ${dstaddr} ${action}'
    #[arg(long = "flow-log-format", value_name = "FORMAT", global = true)]
    pub format: Option<String>,
    /// Seconds that a record adds up [default: 60]
    #[arg(long = "flow-log-interval", value_name = "SECONDS", global = true)]
    pub interval: Option<u64>,
    /// A file larger than this is put aside, in MiB [default: 64]
    #[arg(long = "flow-log-max-size", value_name = "MIB", global = true)]
    #[serde(alias = "max_size")]
    pub max_size: Option<u64>,
    /// Files put aside that are kept [default: 5]
    #[arg(long = "flow-log-keep", value_name = "N", global = true)]
    pub keep: Option<u32>,
    /// The field account-id of every record [default: -]
    #[arg(long = "flow-log-account", value_name = "ID", global = true)]
    #[serde(alias = "account_id")]
    pub account_id: Option<String>,
}

impl FlowLog {
    /// The settings that hold; `None`: no flow log.
    pub(super) fn resolve(flags: Self, file: Self) -> anyhow::Result<Option<Settings>> {
        let to = if flags.to.is_empty() { file.to } else { flags.to };
        if to.iter().any(|place| place == OFF) {
            anyhow::ensure!(to.len() == 1, "flow-log cannot be both off and somewhere");
            return Ok(None);
        }
        anyhow::ensure!(to.iter().all(|place| !place.is_empty()), "flow-log names no place");
        let interval = flags.interval.or(file.interval).unwrap_or(60);
        anyhow::ensure!(
            (1..=MAX_INTERVAL).contains(&interval),
            "flow-log-interval is {interval}, it can be 1 to {MAX_INTERVAL} seconds"
        );
        let max_size = flags.max_size.or(file.max_size).unwrap_or(64);
        anyhow::ensure!(
            (1..=1 << 20).contains(&max_size),
            "flow-log-max-size is {max_size}, it can be 1 to {} MiB",
            1 << 20
        );
        let keep = flags.keep.or(file.keep).unwrap_or(5);
        anyhow::ensure!(keep <= 1000, "flow-log-keep is {keep}, it can be 0 to 1000");
        let account = flags.account_id.or(file.account_id).unwrap_or_else(|| "-".to_owned());
        anyhow::ensure!(
            !account.is_empty() && !account.contains(char::is_whitespace),
            "flow-log-account is {account:?}, it has to be one word"
        );
        let format = flags.format.or(file.format).unwrap_or_else(|| DEFAULT.to_owned());
        let format: Format = format.parse()?;
        let style = Style { format, account, max_bytes: max_size * MIB, keep };
        let places = to.iter().map(|place| Place::of(place)).collect();
        Ok(Some(Settings { places, interval, style }))
    }
}

/// `to = "journald"` or `to = ["journald", "/var/log/sg/flows.log"]`.
fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a place or a list of places")]
    enum Places {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Places::deserialize(deserializer)? {
        Places::One(place) => vec![place],
        Places::Several(places) => places,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: &[&str], file: &str) -> anyhow::Result<Option<Settings>> {
        #[derive(Debug, clap::Parser)]
        struct Cli {
            #[command(flatten)]
            flow_log: FlowLog,
        }
        let cli: Cli = clap::Parser::try_parse_from([&["sg-agent"], flags].concat())?;
        FlowLog::resolve(cli.flow_log, toml::from_str(file)?)
    }

    #[test]
    fn without_settings_records_are_kept_for_sgctl_only() {
        let settings = resolve(&[], "").expect("settings").expect("a log");
        let style = Style {
            format: DEFAULT.parse().expect("a format"),
            account: "-".into(),
            max_bytes: 64 << 20,
            keep: 5,
        };
        assert_eq!(settings, Settings { places: Vec::new(), interval: 60, style });
        assert_eq!(resolve(&["--flow-log", "off"], "").expect("settings"), None);
    }

    #[test]
    fn flags_win_over_the_table() {
        let file = "to = 'journald'\ninterval = 600\nkeep = 1\nmax-size = 2\naccount_id = '1'\n\
            format = '${start}'";
        let settings = resolve(&[], file).expect("settings").expect("a log");
        assert_eq!(settings.places, [Place::Journald]);
        assert_eq!((settings.interval, settings.style.keep), (600, 1));
        assert_eq!((settings.style.max_bytes, settings.style.account.as_str()), (2 << 20, "1"));
        assert_eq!(settings.style.format.header(), "start");
        let flags = ["--flow-log", "stdout", "--flow-log", "/a", "--flow-log-interval", "1"];
        let settings = resolve(&flags, file).expect("settings").expect("a log");
        assert_eq!(settings.places, [Place::Stdout, Place::File("/a".into())]);
        assert_eq!(settings.interval, 1);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (file, named) in [
            ("to = ['off', 'stdout']", "both off and somewhere"),
            ("to = ''", "no place"),
            ("to = 1", "a place or a list of places"),
            ("interval = 0", "flow-log-interval is 0"),
            ("interval = 601", "flow-log-interval is 601"),
            ("max-size = 0", "flow-log-max-size is 0"),
            ("keep = 1001", "flow-log-keep is 1001"),
            ("account-id = 'a b'", "one word"),
            ("format = '${nowhere}'", "${nowhere}"),
            ("formt = 'a'", "formt"),
        ] {
            let error = format!("{:#}", resolve(&[], file).expect_err(file));
            assert!(error.contains(named), "{file}: {error}");
        }
    }
}
