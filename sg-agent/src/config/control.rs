//! Settings of control mode: `control`, `host`, `datapath`, `[[floor]]`, `[[closed]]`.

use std::{fmt, path::PathBuf, str::FromStr};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Deserializer, de};
use sg_policy::{
    model::DatapathChoice,
    rules::{Floor, floor},
};
use sg_store::HostName;

/// Where the rules of the host come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The feed of the server of this host: `unix:PATH`.
    Feed(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feed(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Feed(path.into())),
            Some(("etcd", _)) => {
                Err("this version does not read etcd yet; `unix:PATH` is a server's feed".into())
            }
            _ => Err(format!("`{text}` is no control plane; unix:/run/sg-server/feed.sock is one")),
        }
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Devices that are isolated from their appearance until they are bound.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Globs, as in the `name` of an `[[interface]]` of rules.toml.
    pub names: Vec<String>,
}

/// Keys that the flags `--control` and `--host`, or agent.toml, have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    pub control: Option<Source>,
    pub host: Option<HostName>,
    pub datapath: Option<DatapathChoice>,
    pub closed: Vec<Closed>,
}

/// The settings that hold in control mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    pub source: Source,
    pub host: HostName,
    pub datapath: DatapathChoice,
    /// `None`: agent.toml says nothing about a floor.
    pub floor: Option<Floor>,
    /// Globs.
    pub closed: Vec<String>,
}

impl Control {
    /// `None` where no control plane is named. `file` and `text`: agent.toml, for the floor.
    ///
    /// # Errors
    /// A key makes no sense, also where there is no control plane.
    pub(super) fn resolve(keys: Keys, file: &str, text: &str) -> anyhow::Result<Option<Self>> {
        let floor =
            floor(file, text).map_err(|faults| anyhow::anyhow!("{}", faults.render(false)))?;
        let closed: Vec<String> = keys.closed.into_iter().flat_map(|closed| closed.names).collect();
        for name in &closed {
            let pattern = glob::Pattern::new(name);
            ensure!(!name.is_empty(), "[[closed]]: a name is empty");
            pattern.with_context(|| format!("[[closed]]: \"{name}\" is no glob"))?;
        }
        let Some(source) = keys.control else { return Ok(None) };
        let host = match keys.host {
            Some(host) => host,
            None => own_name()?,
        };
        let datapath = keys.datapath.unwrap_or(DatapathChoice::Auto);
        Ok(Some(Self { source, host, datapath, floor, closed }))
    }
}

fn own_name() -> anyhow::Result<HostName> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").context("the host's name")?;
    let name = name.trim();
    name.parse().with_context(|| format!("the host's name is \"{name}\"; give another by --host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(
        source: Option<&str>,
        text: &str,
        closed: &[&str],
    ) -> anyhow::Result<Option<Control>> {
        let names = closed.iter().map(|name| (*name).to_owned()).collect();
        let keys = Keys {
            control: source.map(|source| source.parse().expect("a source")),
            host: Some("h1".parse().expect("a name")),
            datapath: None,
            closed: vec![Closed { names }],
        };
        Control::resolve(keys, "agent.toml", text)
    }

    #[test]
    fn a_source_is_a_path_of_a_socket() {
        let source: Source = "unix:/run/sg-server/feed.sock".parse().expect("a source");
        assert_eq!(source.to_string(), "unix:/run/sg-server/feed.sock");
        for (text, named) in [("unix:feed.sock", "no control"), ("etcd:https://a:2379", "etcd")] {
            assert!(text.parse::<Source>().expect_err(text).contains(named), "{text}");
        }
    }

    #[test]
    fn a_floor_with_a_fault_is_refused_with_its_place_in_every_mode() {
        let bad = "[[floor]]\nprotocol = \"tcp\"\nports = 70000\ncidrs = [\"10.0.0.0/8\"]\n";
        for source in [None, Some("unix:/feed.sock")] {
            let error = format!("{:#}", resolve(source, bad, &[]).expect_err("70000"));
            assert!(error.contains("agent.toml:3"), "{error}");
        }
        let control = resolve(Some("unix:/feed.sock"), "floor = []", &["tap*"]);
        let control = control.expect("valid").expect("control mode");
        assert_eq!((control.floor, control.closed), (Some(Floor::default()), vec!["tap*".into()]));
        assert_eq!(resolve(None, "floor = []", &["tap*"]).expect("valid"), None);
    }

    #[test]
    fn a_closed_name_is_a_glob() {
        for name in ["", "a[", "***"] {
            let error = format!("{:#}", resolve(None, "", &[name]).expect_err(name));
            assert!(error.contains("[[closed]]"), "{error}");
        }
    }
}
