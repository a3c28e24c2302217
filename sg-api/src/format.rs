//! Records as lines: the fields of VPC flow logs by their names there, and some of our own.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>

use std::{fmt::Write as _, net::IpAddr, str::FromStr};

use crate::FlowRecord;

/// Version 2 of VPC flow logs.
pub const DEFAULT: &str = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} \
    ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}";

/// Stands for a field without a value.
const NOTHING: &str = "-";

macro_rules! fields {
    ($($name:literal $version:literal $variant:ident),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Field { $($variant,)+ }

        /// Name, the version of VPC flow logs that has brought it, and field. Version 0: ours.
        const FIELDS: &[(&str, u8, Field)] = &[$(($name, $version, Field::$variant),)+];
    };
}

fields! {
    "version" 2 Version,
    "account-id" 2 AccountId,
    "interface-id" 2 InterfaceId,
    "srcaddr" 2 Source,
    "dstaddr" 2 Destination,
    "srcport" 2 SourcePort,
    "dstport" 2 DestinationPort,
    "protocol" 2 Protocol,
    "packets" 2 Packets,
    "bytes" 2 Bytes,
    "start" 2 Start,
    "end" 2 End,
    "action" 2 Action,
    "log-status" 2 LogStatus,
    "tcp-flags" 3 TcpFlags,
    "type" 3 Type,
    "pkt-srcaddr" 3 PacketSource,
    "pkt-dstaddr" 3 PacketDestination,
    "flow-direction" 5 FlowDirection,
    "reject-reason" 8 RejectReason,
    "reason" 0 Reason,
    "interface-name" 0 InterfaceName,
}

/// Fields of VPC flow logs that tell of places which only EC2 has: taken, and always [`NOTHING`], so
/// that a format can be carried over.
const ELSEWHERE: &[(&str, u8)] = &[
    ("vpc-id", 3),
    ("subnet-id", 3),
    ("instance-id", 3),
    ("region", 4),
    ("az-id", 4),
    ("sublocation-type", 4),
    ("sublocation-id", 4),
    ("pkt-src-aws-service", 5),
    ("pkt-dst-aws-service", 5),
    ("traffic-path", 5),
    ("ecs-cluster-arn", 7),
    ("ecs-cluster-name", 7),
    ("ecs-container-instance-arn", 7),
    ("ecs-container-instance-id", 7),
    ("ecs-container-id", 7),
    ("ecs-second-container-id", 7),
    ("ecs-service-name", 7),
    ("ecs-task-definition-arn", 7),
    ("ecs-task-arn", 7),
    ("ecs-task-id", 7),
];

/// The fields of a line, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// `None` is of [`ELSEWHERE`].
    fields: Vec<(String, Option<Field>)>,
    version: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "\"{0}\" is no field; a format is fields like ${{srcaddr}} with spaces between them; there \
         are: {1}"
    )]
    Unknown(String, String),
    #[error("a format needs a field at least: {DEFAULT}")]
    Empty,
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut format = Self { fields: Vec::new(), version: 2 };
        for word in text.split_whitespace() {
            let name = word.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            let unknown = || Error::Unknown(word.to_owned(), names());
            let name = name.ok_or_else(unknown)?;
            let known = FIELDS.iter().find(|known| known.0 == name);
            let elsewhere = ELSEWHERE.iter().find(|known| known.0 == name);
            let (version, field) = match (known, elsewhere) {
                (Some((_, version, field)), _) => (*version, Some(*field)),
                (None, Some((_, version))) => (*version, None),
                (None, None) => return Err(unknown()),
            };
            // As in EC2: that of the newest field.
            format.version = format.version.max(version);
            format.fields.push((name.to_owned(), field));
        }
        if format.fields.is_empty() { Err(Error::Empty) } else { Ok(format) }
    }
}

fn names() -> String {
    let names = FIELDS.iter().map(|known| known.0);
    names.chain(ELSEWHERE.iter().map(|known| known.0)).collect::<Vec<_>>().join(", ")
}

impl Format {
    /// The names of the fields, as files in S3 begin with them.
    pub fn header(&self) -> String {
        let names: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        names.join(" ")
    }

    /// A record as a line, without its end.
    pub fn line(&self, record: &FlowRecord, account: &str) -> String {
        let mut line = String::with_capacity(128);
        for (_, field) in &self.fields {
            if !line.is_empty() {
                line.push(' ');
            }
            self.write(&mut line, *field, record, account);
        }
        line
    }

    fn write(&self, line: &mut String, field: Option<Field>, record: &FlowRecord, account: &str) {
        let FlowRecord { interface, action, reason, .. } = record;
        match field {
            None => line.push_str(NOTHING),
            Some(Field::Version) => number(line, Some(self.version)),
            Some(Field::AccountId) => line.push_str(account),
            Some(Field::InterfaceId | Field::InterfaceName) => line.push_str(interface),
            Some(Field::Source | Field::PacketSource) => number(line, record.src),
            Some(Field::Destination | Field::PacketDestination) => number(line, record.dst),
            Some(Field::SourcePort) => number(line, record.sport),
            Some(Field::DestinationPort) => number(line, record.dport),
            Some(Field::Protocol) => number(line, record.protocol),
            Some(Field::Packets) => number(line, record.packets),
            Some(Field::Bytes) => number(line, record.bytes),
            Some(Field::Start) => number(line, Some(record.start)),
            Some(Field::End) => number(line, Some(record.end)),
            Some(Field::Action) => number(line, action.as_deref()),
            Some(Field::LogStatus) => line.push_str(&record.log_status),
            Some(Field::TcpFlags) => number(line, record.tcp_flags),
            Some(Field::Type) => number(line, record.src.map(family)),
            Some(Field::FlowDirection) => number(line, record.direction.as_deref()),
            Some(Field::Reason) => number(line, reason.as_deref()),
            Some(Field::RejectReason) => {
                let refused = action.as_deref() == Some("REJECT");
                number(line, reason.as_deref().filter(|_| refused));
            }
        }
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn number(line: &mut String, value: Option<impl std::fmt::Display>) {
    match value {
        // Writing to a string does not fail.
        Some(value) => drop(write!(line, "{value}")),
        None => line.push_str(NOTHING),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> FlowRecord {
        FlowRecord {
            direction: Some("ingress".into()),
            action: Some("REJECT".into()),
            reason: Some("no_rule".into()),
            src: Some([192, 0, 2, 1].into()),
            dst: Some([192, 0, 2, 2].into()),
            sport: Some(4000),
            dport: Some(22),
            protocol: Some(6),
            packets: Some(3),
            bytes: Some(180),
            tcp_flags: Some(2),
            ..FlowRecord::of("tap0", 1_700_000_000, 1_700_000_060, "OK")
        }
    }

    fn line(format: &str, record: &FlowRecord) -> String {
        format.parse::<Format>().expect("a format").line(record, "123456789012")
    }

    #[test]
    fn a_record_in_the_default_format() {
        assert_eq!(
            line(DEFAULT, &refused()),
            "2 123456789012 tap0 192.0.2.1 192.0.2.2 4000 22 6 3 180 1700000000 1700000060 REJECT OK"
        );
        let quiet = FlowRecord::of("tap0", 1_700_000_000, 1_700_000_060, "NODATA");
        assert_eq!(
            line(DEFAULT, &quiet),
            "2 123456789012 tap0 - - - - - - - 1700000000 1700000060 - NODATA"
        );
    }

    #[test]
    fn the_version_is_that_of_the_newest_field() {
        for (format, expected) in [
            ("${version} ${action}", "2 REJECT"),
            ("${tcp-flags} ${type} ${version}", "2 IPv4 3"),
            ("${version} ${pkt-srcaddr} ${pkt-dstaddr} ${vpc-id}", "3 192.0.2.1 192.0.2.2 -"),
            ("${version} ${flow-direction} ${az-id}", "5 ingress -"),
            ("${version} ${reject-reason} ${reason}", "8 no_rule no_rule"),
            ("${reason} ${interface-name} ${version}", "no_rule tap0 2"),
        ] {
            assert_eq!(line(format, &refused()), expected);
        }
    }

    #[test]
    fn only_refusals_have_a_reject_reason() {
        let accepted = FlowRecord {
            action: Some("ACCEPT".into()),
            reason: Some("flow".into()),
            src: Some([1; 16].into()),
            ..refused()
        };
        let line = line("${reject-reason} ${reason} ${type}", &accepted);
        assert_eq!(line, "- flow IPv6");
    }

    #[test]
    fn a_format_that_is_none_is_refused() {
        for (format, named) in [
            ("${srcaddr} ${nowhere}", "\"${nowhere}\" is no field"),
            ("srcaddr", "\"srcaddr\" is no field"),
            ("${srcaddr},${dstaddr}", "\"${srcaddr},${dstaddr}\" is no field"),
            (" ", "needs a field"),
        ] {
            let error = format.parse::<Format>().expect_err(format).to_string();
            assert!(error.contains(named), "{error}");
        }
        let format: Format = "${end}  ${start}".parse().expect("a format");
        assert_eq!(format.header(), "end start");
    }
}
