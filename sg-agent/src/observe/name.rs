//! Names of interfaces. The kernel takes any bytes but `/`, `:` and white space, so a name need not be UTF-8.

use std::fmt;

/// A name as the kernel has it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Up to the first zero, as an attribute of netlink has it.
    pub fn of(value: &[u8]) -> Self {
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
        Self(value[..end].into())
    }

    /// Whether somebody who typed this means the name: as the kernel has it, or as it is shown.
    pub fn is(&self, typed: &str) -> bool {
        *self.0 == *typed.as_bytes() || self.to_string() == typed
    }
}

impl AsRef<[u8]> for Name {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self::of(name.as_bytes())
    }
}

/// Different for different names: bytes that are not UTF-8 are shown as `\xff`, and a backslash is doubled. Who
/// writes to a terminal makes control characters harmless ([`sg_policy::describe::plain`]).
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(&chunk.valid().replace('\\', r"\\"))?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_shown_in_a_way_of_its_own() {
        let shown = |bytes: &[u8]| Name::of(bytes).to_string();
        assert_eq!(shown(b"eth0\0"), "eth0");
        assert_eq!(shown("tapé".as_bytes()), "tapé");
        assert_eq!(shown(b"tap\xe9"), r"tap\xe9");
        assert_eq!(shown(br"tap\xe9"), r"tap\\xe9");
        assert_eq!(shown(b"\x1b[2J"), "\x1b[2J");
    }

    #[test]
    fn a_name_is_typed_as_it_is_or_as_it_is_shown() {
        assert!(Name::of(br"a\b").is(r"a\b"));
        assert!(Name::of(br"a\b").is(r"a\\b"));
        assert!(Name::of(b"tap\xe9").is(r"tap\xe9"));
        assert!(!Name::of(b"tap\xe9").is("tap"));
        assert!(!Name::of(br"tap\xe9").is("tap\u{e9}"));
    }
}
