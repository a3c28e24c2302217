//! The reasons of sg-common in words.

use sg_common::Reason;

/// Explains a reason by its name; `None` for a reason that this sgctl does not know.
pub(crate) fn in_words(name: &str) -> Option<&'static str> {
    Reason::ALL.iter().find(|reason| reason.name() == name).map(|reason| words(*reason))
}

const fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::Rule => "a rule allows the packet",
        Reason::Flow => "the packet belongs to a tracked flow",
        Reason::Untracked => "the service is open to all addresses, so it is not tracked",
        Reason::Related => "an ICMP error that quotes a packet of an allowed flow",
        Reason::Exempt => {
            "traffic that is never filtered: ARP, ND, MLD, IGMP, DHCP, link-local cloud services"
        }
        Reason::Fragment => "a fragment of an allowed packet, or its peer is allowed on all ports",
        Reason::NoRule => "no rule of any group on the interface allows the packet",
        Reason::NotSyn => "a TCP segment that opens nothing and belongs to no tracked flow",
        Reason::AllowanceExceeded => "the flow table has no room for a new flow",
        Reason::Malformed => "too short, or its lengths are impossible",
        Reason::FragmentUnknown => "a fragment whose first one was not allowed or not seen",
        Reason::FragmentTiny => "a fragment that hides part of the transport header",
        Reason::TooManyHeaders => "more than two VLAN tags or eight IPv6 extension headers",
        Reason::SourceCheck => {
            "the instance sends from an address that is not its own, or in a role not its own"
        }
        Reason::NonIp => "neither IP nor ARP, in port role",
        Reason::FlowCut => "its flow was ended by a change of the rules",
    }
}
