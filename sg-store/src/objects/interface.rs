//! Network interfaces.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};
use sg_policy::{
    id::{AccountId, GroupId, InvalidId, VpcId},
    serde_as_text,
};

use super::fields::{Tags, is_default, is_yes, yes};
use crate::{
    id::{HostName, InterfaceId, RegionName, Revision, SubnetId},
    key::Key,
};

/// A network interface: a member of its groups, whether it is bound or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterface {
    pub id: InterfaceId,
    pub account: AccountId,
    pub region: RegionName,
    pub vpc: VpcId,
    pub subnet: SubnetId,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The first IPv4 address is the primary one.
    pub addresses: Vec<IpAddr>,
    /// In the caller's order, none twice.
    pub groups: Vec<GroupId>,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub source_dest_check: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeouts: IdleTimeouts,
    /// The tag `sg:role`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub role: InterfaceRole,
    /// The tag `sg:mac`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// The MAC that Describe shows where there is no `sg:mac`. Nothing checks it.
    pub shown_mac: MacAddress,
    /// The tag `sg:max-flows`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_flows: Option<u32>,
    /// The tag `sg:bind`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<Binding>,
    /// The tag `sg:host`: the host that may bind the interface by alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// EC2's number of the interface on its instance. It tells interfaces apart and has no other meaning.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device_index: u32,
    /// The revision that `bind` was set at. `None`: the one that this record was written at. Read it by
    /// [`NetworkInterface::bound_at`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_revision: Option<Revision>,
    /// Unix time in seconds.
    #[serde(default)]
    pub created_at: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tags: Tags,
}

impl NetworkInterface {
    pub(super) fn own_key(&self) -> Key {
        Key::Interface(self.vpc, self.id)
    }

    /// When the binding by tag was made. `mod_revision`: of this record. The oldest claim on a host's
    /// interface is the one that holds.
    pub fn bound_at(&self, mod_revision: Revision) -> Option<Revision> {
        self.bind.as_ref().map(|_| self.bound_revision.unwrap_or(mod_revision))
    }

    /// Sets `bind` and keeps what [`Self::bound_at`] says where it stays the same. Call it, with the
    /// record's present revision, before every write of a record that was read: the revision of a write
    /// is not known before it.
    pub fn rebind(&mut self, bind: Option<Binding>, mod_revision: Revision) {
        let stays = self.bind == bind;
        self.bound_revision = if stays { self.bound_at(mod_revision) } else { None };
        self.bind = bind;
    }
}

/// An interface of a host, `HOST/IFNAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Binding {
    pub host: HostName,
    pub interface: String,
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.interface)
    }
}

impl FromStr for Binding {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parts = text.split_once('/').and_then(|(host, interface)| {
            let host = host.parse().ok()?;
            is_interface_name(interface).then(|| Self { host, interface: interface.to_owned() })
        });
        let expected = "HOST/IFNAME";
        parts.ok_or_else(|| InvalidId { text: text.to_owned(), expected })
    }
}

serde_as_text!(Binding);

/// A name that the kernel takes for a device (`dev_valid_name`, net/core/dev.c).
fn is_interface_name(name: &str) -> bool {
    let is_refused = |byte: u8| matches!(byte, b'/' | b':' | 0) || byte.is_ascii_whitespace();
    matches!(name.len(), 1..=15)
        && !matches!(name, "." | "..")
        // The kernel's isspace knows the vertical tab, too.
        && !name.bytes().any(|byte| is_refused(byte) || byte == 0x0b)
}

/// Whether the instance is behind the interface or is the host itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterfaceRole {
    #[default]
    Port,
    Host,
}

/// `ConnectionTrackingSpecification`, in seconds; `None`: EC2's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdleTimeouts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_established: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp_stream: Option<u32>,
}

/// Six bytes, shown as `02:00:00:00:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddress {
    type Err = InvalidId;

    /// Digits of either case.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parts: Vec<&str> = text.split(':').collect();
        let is_whole = parts.iter().all(|part| part.len() == 2);
        let bytes = crate::id::from_hex(&parts.concat().to_ascii_lowercase());
        let mac = bytes.filter(|_| is_whole).and_then(|bytes| bytes.try_into().ok());
        let expected = "six pairs of hex digits with colons between them";
        mac.map(Self).ok_or_else(|| InvalidId { text: text.to_owned(), expected })
    }
}

serde_as_text!(MacAddress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_names_a_host_and_a_device_that_the_kernel_would_take() {
        for text in ["h1/tap0", "h1.example.org/eth0.7", "h/fifteen-letters"] {
            assert_eq!(text.parse::<Binding>().expect(text).to_string(), text);
        }
        for text in
            ["h1", "h1/", "/tap0", "h1/a/b", "h1/.", "h1/..", "h1/a b", "h1/a:b", "h1/a\u{b}b"]
        {
            assert!(text.parse::<Binding>().is_err(), "{text:?}");
        }
        assert!("h1/sixteen-letters-".parse::<Binding>().is_err());
    }

    #[test]
    fn a_mac_is_six_pairs() {
        assert_eq!("02:00:5E:00:00:ff".parse(), Ok(MacAddress([2, 0, 0x5e, 0, 0, 0xff])));
        for text in ["", "02:00:00:00:00", "02:00:00:00:00:01:02", "0200:00:00:00:0:1", "02-00"] {
            assert!(text.parse::<MacAddress>().is_err(), "{text}");
        }
    }
}
