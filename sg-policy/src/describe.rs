//! Rules in words, for people.

use std::{borrow::Cow, fmt};

use sg_common::Direction;

use crate::model::{IcmpMatch, Names, Peer, PortRange, Rule, Services};

/// `1 entry`, `2 entries`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    let what = if number == 1 { one } else { many };
    format!("{number} {what}")
}

/// Makes a text from outside, such as a name of a file or an interface, safe to print within one
/// line. Characters that move the cursor, or that colour, hide or turn their neighbours, are
/// escaped as in a Rust string.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(moves_text) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if moves_text(c) { c.escape_default().to_string() } else { c.into() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// JSON whose strings hold no such character either. Its meaning is the same, and a terminal shows
/// it safely. Lines end only between its values.
pub fn plain_json(json: &str) -> Cow<'_, str> {
    let moves = |c: char| c != '\n' && moves_text(c);
    if !json.contains(moves) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        if moves(c) {
            let mut units = [0; 2];
            escaped.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Control characters, ends of lines, directions of writing, and characters without a width.
pub(crate) fn moves_text(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// `ingress` or `egress`.
pub fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

impl Services {
    /// As in rules.toml: `tcp`, `all`, `47`.
    pub fn protocol(&self) -> Cow<'static, str> {
        match self {
            Self::All => "all".into(),
            Self::Tcp(_) => "tcp".into(),
            Self::Udp(_) => "udp".into(),
            Self::Icmp(_) => "icmp".into(),
            Self::Icmpv6(_) => "icmpv6".into(),
            Self::Protocol(number) => number.to_string().into(),
        }
    }

    /// `443`, `8000-8099`, `all`; for ICMP `type 8`, `type 3 code 4`.
    pub fn ports(&self) -> String {
        match self {
            Self::All | Self::Protocol(_) => "all".to_owned(),
            Self::Tcp(range) | Self::Udp(range) => range.to_string(),
            Self::Icmp(matched) | Self::Icmpv6(matched) => matched.to_string(),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            &Self::ALL => f.write_str("all"),
            Self { from, to } if from == to => write!(f, "{from}"),
            Self { from, to } => write!(f, "{from}-{to}"),
        }
    }
}

impl fmt::Display for IcmpMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.code) {
            (None, _) => f.write_str("all"),
            (Some(kind), None) => write!(f, "type {kind}"),
            (Some(kind), Some(code)) => write!(f, "type {kind} code {code}"),
        }
    }
}

impl Rule {
    /// `web ingress tcp 443 from 0.0.0.0/0`, `web egress all to group db`.
    pub fn text(&self, group: &str, way: Direction, names: &Names<'_>) -> String {
        let preposition = match way {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        };
        let services = match self.services {
            Services::All => "all".to_owned(),
            Services::Protocol(number) => format!("protocol {number}"),
            services => format!("{} {}", services.protocol(), services.ports()),
        };
        let kind = match self.peer {
            Peer::Cidr(_) => "",
            Peer::Group(_) => "group ",
            Peer::PrefixList(_) => "prefix list ",
        };
        let (way, peer) = (direction(way), names.peer(&self.peer));
        format!("{group} {way} {services} {preposition} {kind}{peer}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DesiredState, GroupId, PrefixList, PrefixListId, RuleId, SecurityGroup};

    #[test]
    fn texts_from_outside_stay_on_their_line() {
        for (text, expected) in [
            ("rules.toml", "rules.toml"),
            ("caf\u{e9} \u{4e2d}.toml", "caf\u{e9} \u{4e2d}.toml"),
            ("a\n2  applied", "a\\n2  applied"),
            ("a\r\tb", "a\\r\\tb"),
            ("\x1b[2Jeth0", "\\u{1b}[2Jeth0"),
            ("\x07\x7f\0", "\\u{7}\\u{7f}\\u{0}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("lmot.\u{202e}", "lmot.\\u{202e}"),
            ("a\u{2028}b\u{2066}c\u{200b}d\u{feff}", "a\\u{2028}b\\u{2066}c\\u{200b}d\\u{feff}"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }

    #[test]
    fn json_from_outside_moves_nothing_and_means_the_same() {
        let json = "{\n  \"a\": \"caf\u{e9} \\n\u{7f}\u{9b}31m\u{202e}\"\n}\n";
        let expected = "{\n  \"a\": \"caf\u{e9} \\n\\u007f\\u009b31m\\u202e\"\n}\n";
        assert_eq!(plain_json(json), expected);
        assert_eq!(plain_json(expected), expected);
    }

    #[test]
    fn rules_read_as_sentences() {
        let ports = |from, to| PortRange { from, to };
        let icmp = |kind, code| IcmpMatch { kind, code };
        let any = Peer::Cidr("0.0.0.0/0".parse().expect("a CIDR"));
        let (db, lan) = (GroupId::of_name("db"), PrefixListId::of_name("lan"));
        let state = DesiredState {
            groups: vec![SecurityGroup::named("db").into()],
            prefix_lists: vec![PrefixList::named("lan")],
            ..DesiredState::default()
        };
        let table = [
            (Services::Tcp(ports(443, 443)), any, "tcp 443 from 0.0.0.0/0"),
            (Services::Udp(ports(1, 2)), Peer::Group(db), "udp 1-2 from group db"),
            (Services::Udp(PortRange::ALL), any, "udp all from 0.0.0.0/0"),
            (Services::All, Peer::PrefixList(lan), "all from prefix list lan"),
            (Services::Protocol(47), any, "protocol 47 from 0.0.0.0/0"),
            (Services::Icmp(icmp(None, None)), any, "icmp all from 0.0.0.0/0"),
            (Services::Icmp(icmp(Some(3), Some(4))), any, "icmp type 3 code 4 from 0.0.0.0/0"),
            (Services::Icmpv6(icmp(Some(8), None)), any, "icmpv6 type 8 from 0.0.0.0/0"),
        ];
        for (services, peer, expected) in table {
            let rule = Rule { id: RuleId(0), services, peer, description: String::new() };
            assert_eq!(
                rule.text("web", Direction::Ingress, &state.names()),
                format!("web ingress {expected}")
            );
        }
    }
}
