//! Address blocks of VPCs and subnets: read from requests, and held against each other.

use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sg_store::objects::CidrBlock;

use crate::{call::Context, error::Error};

/// Prefix lengths of IPv4 blocks.
const IPV4_LENGTHS: std::ops::RangeInclusive<u8> = 8..=28;
/// A block that the product gives.
const GIVEN_LENGTH: u8 = 56;
/// Blocks of one family that a VPC may have.
pub(super) const MAX_BLOCKS: usize = 5;

fn malformed(text: &str, parameter: &str) -> Error {
    Error::invalid(format!(
        "Value ({text}) for parameter {parameter} is invalid. This is not a valid CIDR block."
    ))
}

/// An IPv4 block of /8 to /28. `refusal`: the code for other lengths. Host bits are zeroed.
pub(super) fn ipv4(text: &str, refusal: &'static str) -> Result<IpNet, Error> {
    let net: Ipv4Net = text.parse().map_err(|_| malformed(text, "cidrBlock"))?;
    if !IPV4_LENGTHS.contains(&net.prefix_len()) {
        return Err(Error::new(refusal, format!("The CIDR '{text}' is invalid.")));
    }
    Ok(IpNet::V4(net.trunc()))
}

pub(super) fn ipv6(text: &str) -> Result<IpNet, Error> {
    let net: Ipv6Net = text.parse().map_err(|_| malformed(text, "ipv6CidrBlock"))?;
    Ok(IpNet::V6(net.trunc()))
}

/// The IPv6 block that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskedIpv6 {
    Named(IpNet),
    /// Any of fd00::/8.
    Given,
}

impl AskedIpv6 {
    pub(super) fn read(named: Option<&str>, given: Option<bool>) -> Result<Option<Self>, Error> {
        let named = named.filter(|text| !text.is_empty());
        match (named, given == Some(true)) {
            (Some(_), true) => Err(Error::combination(
                "Ipv6CidrBlock and AmazonProvidedIpv6CidrBlock cannot be used together",
            )),
            (Some(text), false) => Ok(Some(Self::Named(ipv6(text)?))),
            (None, true) => Ok(Some(Self::Given)),
            (None, false) => Ok(None),
        }
    }

    pub(super) fn block(self, context: &Context<'_>) -> IpNet {
        match self {
            Self::Named(net) => net,
            Self::Given => {
                let drawn = (context.draw)() >> 8 | 0xfd << 120;
                let net = Ipv6Net::new(Ipv6Addr::from_bits(drawn), GIVEN_LENGTH);
                IpNet::V6(net.expect("a length of IPv6").trunc())
            }
        }
    }
}

pub(super) fn overlaps(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// A block with the id of its association.
pub(super) fn associated(context: &Context<'_>, kind: &str, cidr: IpNet) -> CidrBlock {
    CidrBlock { cidr, association: format!("{kind}-cidr-assoc-{:017x}", context.draw_id()) }
}
