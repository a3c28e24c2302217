//! Settings of the server: flags over `/etc/sg/server.toml` over the defaults.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use sg_store::RegionName;

const CONFIG: &str = "/etc/sg/server.toml";

/// Everything that a flag and a key of the file, of the same name, can say.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// Where the API is served; addresses other than loopback need TLS [default: 127.0.0.1:8773]
    #[arg(long, value_name = "ADDR", global = true)]
    pub listen: Option<SocketAddr>,
    /// Certificate chain in PEM, for TLS 1.2 and 1.3; read again on SIGHUP
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_key: Option<PathBuf>,
    /// Store, sealing key and audit log [default: /var/lib/sg-server]
    #[arg(long, value_name = "DIR", global = true)]
    pub state_dir: Option<PathBuf>,
    /// Key that seals secrets in the store [default: sealing.key in the state directory]
    #[arg(long, value_name = "FILE", global = true)]
    pub sealing_key: Option<PathBuf>,
    /// Where feed.sock and admin.sock are [default: /run/sg-server]
    #[arg(long, value_name = "DIR", global = true)]
    pub runtime_dir: Option<PathBuf>,
    /// Where objects are kept: `redb` is a file in the state directory [default: redb]
    #[arg(long, value_name = "URL", global = true)]
    pub store: Option<StoreKind>,
    /// Regions that exist; the first one is the default [default: us-east-1]
    #[arg(long, value_name = "NAME", value_delimiter = ',', global = true)]
    #[serde(default, deserialize_with = "one_or_more")]
    pub region: Option<Vec<RegionName>>,
    /// When a change is answered [default: enforced]
    #[arg(long, value_name = "WHEN", global = true)]
    pub answer_after: Option<AnswerAfter>,
    /// Prometheus over HTTP, 127.0.0.1:9791 say [default: off]
    #[arg(long, value_name = "ADDR", global = true)]
    pub metrics: Option<SocketAddr>,
    /// Proxies whose X-Forwarded-For is believed
    #[arg(long, value_name = "CIDR", value_delimiter = ',', global = true)]
    #[serde(default, deserialize_with = "one_or_more")]
    pub trusted_proxy: Option<Vec<IpNet>>,
    #[arg(skip)]
    #[serde(default)]
    pub limits: LimitKeys,
    #[arg(skip)]
    #[serde(default)]
    pub quotas: QuotaKeys,
}

/// Where objects are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Redb,
}

impl FromStr for StoreKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "redb" => Ok(Self::Redb),
            _ if text.starts_with("etcd:") => {
                Err("this version has no etcd store yet; `redb` is the one it has".to_owned())
            }
            _ => Err(format!("`{text}` is no store; `redb` is one")),
        }
    }
}

impl<'de> Deserialize<'de> for StoreKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// When a change is answered.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerAfter {
    /// Every reachable host enforces it, or 1 s has passed
    #[default]
    Enforced,
    /// It is durable
    Stored,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LimitKeys {
    pub requests_per_second: Option<u32>,
    pub burst: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct QuotaKeys {
    pub groups: Option<u32>,
    pub rules_per_group: Option<u32>,
    pub groups_per_interface: Option<u32>,
    pub rules_per_interface: Option<u32>,
    pub prefix_lists: Option<u32>,
    pub prefix_list_entries: Option<u32>,
    pub network_interfaces: Option<u32>,
    pub vpcs: Option<u32>,
    pub tags: Option<u32>,
}

impl QuotaKeys {
    /// EC2's quotas with these over them.
    pub fn resolve(&self) -> sg_ec2::Quotas {
        let defaults = sg_ec2::Quotas::default();
        let size = |key: Option<u32>, default: usize| key.map_or(default, |key| key as usize);
        let count = |key: Option<u32>, default: u64| key.map_or(default, u64::from);
        sg_ec2::Quotas {
            groups: count(self.groups, defaults.groups),
            rules_per_group: size(self.rules_per_group, defaults.rules_per_group),
            groups_per_interface: size(self.groups_per_interface, defaults.groups_per_interface),
            network_interfaces: count(self.network_interfaces, defaults.network_interfaces),
            prefix_lists: count(self.prefix_lists, defaults.prefix_lists),
            prefix_list_entries: self.prefix_list_entries.unwrap_or(defaults.prefix_list_entries),
            vpcs: count(self.vpcs, defaults.vpcs),
            tags: size(self.tags, defaults.tags),
        }
    }
}

/// The settings that hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub listen: SocketAddr,
    /// Certificate and key. `None`: plain HTTP, on loopback only.
    pub tls: Option<(PathBuf, PathBuf)>,
    pub state_dir: PathBuf,
    pub sealing_key: PathBuf,
    pub runtime_dir: PathBuf,
    pub store: StoreKind,
    /// Not empty. The first one is the default.
    pub regions: Vec<RegionName>,
    pub answer_after: AnswerAfter,
    pub metrics: Option<SocketAddr>,
    pub trusted_proxies: Vec<IpNet>,
    pub limits: Limits,
    pub quotas: QuotaKeys,
}

/// Requests of one key, and of one address. 0 requests a second: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub requests_per_second: u32,
    pub burst: u32,
}

impl Settings {
    /// Reads the file and puts the flags over it.
    ///
    /// # Errors
    /// The file cannot be read, or a key or a value is not valid.
    pub fn load(config: Option<&Path>, flags: &Options) -> anyhow::Result<Self> {
        Self::resolve(flags, read(config)?)
    }

    fn resolve(flags: &Options, file: Options) -> anyhow::Result<Self> {
        let directory = |flag: &Option<PathBuf>, key: Option<PathBuf>, default: &str| {
            flag.clone().or(key).unwrap_or_else(|| default.into())
        };
        let listen = flags.listen.or(file.listen).unwrap_or(([127, 0, 0, 1], 8773).into());
        let tls = match (
            flags.tls_cert.clone().or(file.tls_cert),
            flags.tls_key.clone().or(file.tls_key),
        ) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => bail!("tls-cert is set and tls-key is not"),
            (None, Some(_)) => bail!("tls-key is set and tls-cert is not"),
        };
        ensure!(
            tls.is_some() || listen.ip().is_loopback(),
            "listen is {listen}: an address other than loopback needs tls-cert and tls-key"
        );
        let state_dir = directory(&flags.state_dir, file.state_dir, "/var/lib/sg-server");
        let sealing_key = flags
            .sealing_key
            .clone()
            .or(file.sealing_key)
            .unwrap_or_else(|| state_dir.join("sealing.key"));
        let regions = flags
            .region
            .clone()
            .or(file.region)
            .unwrap_or_else(|| vec!["us-east-1".parse().expect("a region")]);
        ensure!(!regions.is_empty(), "region names no region");
        if let Some(twice) = regions
            .iter()
            .enumerate()
            .find_map(|(place, region)| regions[..place].contains(region).then_some(region))
        {
            bail!("region names {twice} twice");
        }
        let limits = Limits {
            requests_per_second: file.limits.requests_per_second.unwrap_or(200),
            burst: file.limits.burst.unwrap_or(1000),
        };
        ensure!(
            limits.requests_per_second == 0 || limits.burst > 0,
            "limits.burst is 0: no request would ever be taken"
        );
        if let Some(groups) = file.quotas.groups_per_interface {
            ensure!(
                (1..=16).contains(&groups),
                "quotas.groups_per_interface is {groups}, it can be 1 to 16"
            );
        }
        Ok(Self {
            listen,
            tls,
            sealing_key,
            runtime_dir: directory(&flags.runtime_dir, file.runtime_dir, "/run/sg-server"),
            state_dir,
            store: flags.store.or(file.store).unwrap_or(StoreKind::Redb),
            regions,
            answer_after: flags.answer_after.or(file.answer_after).unwrap_or_default(),
            metrics: flags.metrics.or(file.metrics),
            trusted_proxies: flags.trusted_proxy.clone().or(file.trusted_proxy).unwrap_or_default(),
            limits,
            quotas: file.quotas,
        })
    }
}

/// An absent file is an empty one, unless it was named.
fn read(asked: Option<&Path>) -> anyhow::Result<Options> {
    let path = asked.unwrap_or(Path::new(CONFIG));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if asked.is_some() {
                tracing::warn!("no {}: the settings are the defaults", path.display());
            }
            return Ok(Options::default());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    toml::from_str(&text).with_context(|| format!("{} is not right", path.display()))
}

/// Takes one text, a text with commas, or a list of texts.
fn one_or_more<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: std::fmt::Display,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        One(String),
        More(Vec<String>),
    }
    let texts = match Texts::deserialize(deserializer)? {
        Texts::One(text) => text.split(',').map(|part| part.trim().to_owned()).collect(),
        Texts::More(texts) => texts,
    };
    let parse = |text: &String| text.parse().map_err(de::Error::custom);
    texts.iter().map(parse).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        options: Options,
    }

    fn load(flags: &[&str], file: &str) -> anyhow::Result<Settings> {
        let flags = Flags::try_parse_from([&["sg-server"], flags].concat())?;
        Settings::resolve(&flags.options, toml::from_str(file)?)
    }

    /// The file that the package installs changes nothing, and shows the defaults behind its marks of comments.
    #[test]
    fn the_file_of_the_package_has_the_defaults() {
        let text = include_str!("../../packaging/debian-server/server.toml");
        let defaults = load(&[], "").unwrap();
        assert_eq!(load(&[], text).unwrap(), defaults);
        let shown = text.replace("\n#", "\n");
        let shown =
            shown.lines().filter(|line| line.contains(" = ")).collect::<Vec<_>>().join("\n");
        let shown = load(&[], &shown).unwrap();
        assert!(shown.tls.is_some() && shown.metrics.is_some());
        assert_eq!(Settings { tls: None, metrics: None, ..shown }, defaults);
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let settings = load(&[], "").unwrap();
        let expected = Settings {
            listen: "127.0.0.1:8773".parse().unwrap(),
            tls: None,
            state_dir: "/var/lib/sg-server".into(),
            sealing_key: "/var/lib/sg-server/sealing.key".into(),
            runtime_dir: "/run/sg-server".into(),
            store: StoreKind::Redb,
            regions: vec!["us-east-1".parse().unwrap()],
            answer_after: AnswerAfter::Enforced,
            metrics: None,
            trusted_proxies: Vec::new(),
            limits: Limits { requests_per_second: 200, burst: 1000 },
            quotas: QuotaKeys::default(),
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_flag_wins_over_its_key() {
        let file = "listen = '127.0.0.1:1'\nregion = ['a', 'b']\nstate-dir = '/s'\n\
                    [limits]\nrequests_per_second = 7";
        let settings = load(&["--listen", "127.0.0.1:2", "--region", "x-1,y-2"], file).unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert_eq!(settings.regions, ["x-1", "y-2"].map(|name| name.parse().unwrap()));
        assert_eq!(settings.sealing_key, Path::new("/s/sealing.key"));
        assert_eq!(settings.limits.requests_per_second, 7);
        assert_eq!(load(&[], "region = 'a, b'").unwrap().regions.len(), 2);
    }

    #[test]
    fn settings_that_are_not_valid_are_named() {
        for (flags, file, named) in [
            (&[][..], "lisen = 1", "lisen"),
            (&[], "listen = '0.0.0.0:8773'", "0.0.0.0:8773"),
            (&["--listen", "[::]:1"], "", "[::]:1"),
            (&[], "tls-cert = '/c'", "tls-key"),
            (&["--tls-key", "/k"], "", "tls-cert"),
            (&[], "region = []", "no region"),
            (&[], "region = 'a,a'", "a twice"),
            (&[], "region = 'A B'", "A B"),
            (&["--store", "etcd:https://a:2379"], "", "etcd"),
            (&["--store", "sqlite"], "", "sqlite"),
            (&[], "[limits]\nburst = 0", "limits.burst"),
            (&[], "[quotas]\ngroups_per_interface = 17", "groups_per_interface is 17"),
            (&[], "[quotas]\npears = 1", "pears"),
        ] {
            let error = format!("{:#}", load(flags, file).expect_err(named));
            assert!(error.contains(named), "{flags:?} {file}: {error}");
        }
        let tls = ["--listen", "0.0.0.0:1", "--tls-cert", "/c", "--tls-key", "/k"];
        assert!(load(&tls, "").is_ok());
    }
}
