//! Why a packet passed or was dropped: one numbered list for the BPF programs, the agent, the
//! metrics, `sgctl` and the README. A retired number is not used again.

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $allowed:literal;)+) => {
        /// Why a packet passed or was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $variant = $number,)+ }

        impl Reason {
            /// Every reason, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name that `sgctl`, JSON and metrics show.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Whether a packet that is counted under this reason passes.
            #[inline(always)]
            pub const fn allowed(self) -> bool {
                match self { $(Self::$variant => $allowed,)+ }
            }

            /// The reason with this number, if there is one.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }

        /// Reasons whose packets pass, and those whose packets do not, as bits by number.
        const ALLOWED: u32 = 0 $(| ($allowed as u32) << $number)+;
        pub(crate) const REFUSED: u32 = 0 $(| (!$allowed as u32) << $number)+;
    };
}

reasons! {
    /// A rule allows the packet.
    Rule = 1, "rule", true;
    /// The packet belongs to a tracked flow.
    Flow = 2, "flow", true;
    /// A service that is open to all addresses, so not tracked.
    Untracked = 3, "untracked", true;
    /// An ICMP error that quotes a packet of an allowed flow.
    Related = 4, "related", true;
    /// Traffic that is never filtered: ARP, ND, MLD, IGMP, DHCP, link-local services, and in host
    /// role frames that are not IP.
    Exempt = 5, "exempt", true;
    /// A later fragment of an allowed packet, or one whose peer is allowed on all ports.
    Fragment = 6, "fragment", true;
    /// No rule of any group on the interface allows the packet.
    NoRule = 16, "no_rule", false;
    /// A TCP segment that opens nothing and belongs to no tracked flow.
    NotSyn = 17, "not_syn", false;
    /// The flow table has no room for a new flow.
    AllowanceExceeded = 18, "conntrack_allowance_exceeded", false;
    /// Too short, or impossible lengths.
    Malformed = 19, "malformed", false;
    /// A later fragment whose first fragment was not allowed or not seen.
    FragmentUnknown = 20, "fragment_unknown", false;
    /// A first fragment without the whole transport header, or a TCP fragment at offset 8.
    FragmentTiny = 21, "fragment_tiny", false;
    /// More than two VLAN tags or eight IPv6 extension headers.
    TooManyHeaders = 22, "too_many_headers", false;
    /// Sent by the instance from an address that is not its own, or a role it must not play.
    SourceCheck = 23, "source_check", false;
    /// Not IP and not ARP, in port role.
    NonIp = 24, "non_ip", false;
    /// A tracked flow that a change of the rules ended.
    FlowCut = 25, "flow_cut", false;
}

/// [`Reason::allowed`] by number.
#[inline(always)]
pub const fn is_allowed(number: u32) -> bool {
    ALLOWED >> (number % REASONS as u32) & 1 != 0
}

/// Reasons are numbered below this; counters are arrays of this length.
pub const REASONS: usize = 32;

const _: () = {
    let mut i = 0;
    while i < Reason::ALL.len() {
        assert!((Reason::ALL[i] as usize) < REASONS);
        i += 1;
    }
};
