//! Addresses of network interfaces: requested ones, and free ones of the subnet.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sg_store::{
    Index, Key,
    objects::{IndexEntry, Subnet},
};

use crate::{call::Context, error::Error, generated::ec2::CreateNetworkInterfaceRequest};

/// EC2's own limit of addresses on one interface.
const MAX_ADDRESSES: usize = 50;

/// The addresses that a request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AskedAddresses {
    primary: Option<Ipv4Addr>,
    secondary: Vec<Ipv4Addr>,
    secondary_count: usize,
    ipv6: Vec<Ipv6Addr>,
    ipv6_count: usize,
}

impl AskedAddresses {
    pub(super) fn read(request: &CreateNetworkInterfaceRequest) -> Result<Self, Error> {
        let mut asked = Self::default();
        if let Some(address) = request.private_ip_address.as_deref().filter(|text| !text.is_empty())
        {
            asked.primary = Some(parsed(address)?);
        }
        for entry in &request.private_ip_addresses {
            let text = entry.private_ip_address.as_deref();
            let address =
                parsed(text.ok_or_else(|| Error::missing("PrivateIpAddresses.PrivateIpAddress"))?)?;
            if entry.primary == Some(true) {
                match asked.primary.replace(address) {
                    Some(other) if other != address => {
                        return Err(Error::combination(
                            "Only one primary private IP address can be specified",
                        ));
                    }
                    _ => {}
                }
            } else {
                asked.secondary.push(address);
            }
        }
        for entry in &request.ipv6_addresses {
            let text = entry.ipv6_address.as_deref();
            asked
                .ipv6
                .push(parsed(text.ok_or_else(|| Error::missing("Ipv6Addresses.Ipv6Address"))?)?);
        }
        asked.secondary_count =
            count(request.secondary_private_ip_address_count, "SecondaryPrivateIpAddressCount")?;
        asked.ipv6_count = count(request.ipv6_address_count, "Ipv6AddressCount")?;
        asked.check()?;
        Ok(asked)
    }

    fn check(&self) -> Result<(), Error> {
        if self.secondary_count > 0 && !self.secondary.is_empty() {
            let message = "Secondary addresses are given by a list or by a count, not by both";
            return Err(Error::combination(message));
        }
        if self.ipv6_count > 0 && !self.ipv6.is_empty() {
            return Err(Error::combination(
                "IPv6 addresses are given by a list or by a count, not by both",
            ));
        }
        let mut seen = HashSet::new();
        let all = self.primary.iter().chain(&self.secondary).map(|address| IpAddr::V4(*address));
        for address in all.chain(self.ipv6.iter().map(|address| IpAddr::V6(*address))) {
            if !seen.insert(address) {
                return Err(Error::invalid(format!(
                    "The address {address} is specified more than once"
                )));
            }
        }
        // A primary one is there in any case.
        let automatic =
            usize::from(self.primary.is_none()) + self.secondary_count + self.ipv6_count;
        if seen.len() + automatic > MAX_ADDRESSES {
            return Err(too_many());
        }
        Ok(())
    }

    /// The interface's addresses, the primary one first. Each lies in the subnet and is free.
    pub(super) fn assign(
        &self,
        context: &Context<'_>,
        subnet: &Subnet,
    ) -> Result<Vec<IpAddr>, Error> {
        let mut taken = Taken { context, subnet, given: Vec::new(), freed: &[] };
        for address in self.primary.iter().chain(&self.secondary) {
            taken.reserve(IpAddr::V4(*address))?;
        }
        for address in &self.ipv6 {
            taken.reserve(IpAddr::V6(*address))?;
        }
        let mut ipv4 = Vec::new();
        if self.primary.is_none() {
            ipv4.push(taken.free_ipv4()?);
        }
        ipv4.extend(self.primary.iter().chain(&self.secondary).map(|address| IpAddr::V4(*address)));
        for _ in 0..self.secondary_count {
            ipv4.push(taken.free_ipv4()?);
        }
        let mut ipv6: Vec<_> = self.ipv6.iter().map(|address| IpAddr::V6(*address)).collect();
        let is_automatic = subnet.assign_ipv6 && ipv6.is_empty();
        for _ in 0..self.ipv6_count.max(usize::from(is_automatic)) {
            ipv6.push(taken.free_ipv6()?);
        }
        Ok([ipv4, ipv6].concat())
    }
}

/// Addresses that are asked for beside those that an interface has.
#[derive(Debug, Default)]
pub(super) struct More {
    named: Vec<IpAddr>,
    count: usize,
    is_ipv6: bool,
}

impl More {
    pub(super) fn ipv4(named: &[String], count: Option<i32>) -> Result<Self, Error> {
        Self::read::<Ipv4Addr>(named, count, "SecondaryPrivateIpAddressCount", false)
    }

    pub(super) fn ipv6(named: &[String], count: Option<i32>) -> Result<Self, Error> {
        Self::read::<Ipv6Addr>(named, count, "Ipv6AddressCount", true)
    }

    fn read<T: std::str::FromStr + Into<IpAddr>>(
        texts: &[String],
        number: Option<i32>,
        parameter: &str,
        is_ipv6: bool,
    ) -> Result<Self, Error> {
        let mut named: Vec<IpAddr> = Vec::new();
        for text in texts {
            let address = parsed::<T>(text)?.into();
            if named.contains(&address) {
                let message = format!("The address {address} is specified more than once");
                return Err(Error::invalid(message));
            }
            named.push(address);
        }
        let count = count(number, parameter)?;
        match (named.is_empty(), count) {
            (true, 0) => Err(Error::missing(format!("addresses or {parameter}"))),
            (false, 1..) => {
                let message = "Addresses are given by a list or by a count, not by both";
                Err(Error::combination(message))
            }
            _ => Ok(Self { named, count, is_ipv6 }),
        }
    }

    pub(super) fn named(&self) -> &[IpAddr] {
        &self.named
    }

    /// Addresses of the subnet for an interface that has `present` ones. Each is free, or in `freed`.
    pub(super) fn assign(
        &self,
        context: &Context<'_>,
        subnet: &Subnet,
        present: usize,
        freed: &[IpAddr],
    ) -> Result<Vec<IpAddr>, Error> {
        if present.saturating_add(self.named.len()).saturating_add(self.count) > MAX_ADDRESSES {
            return Err(too_many());
        }
        let mut taken = Taken { context, subnet, given: Vec::new(), freed };
        for address in &self.named {
            taken.reserve(*address)?;
        }
        for _ in 0..self.count {
            match self.is_ipv6 {
                true => taken.free_ipv6()?,
                false => taken.free_ipv4()?,
            };
        }
        Ok(taken.given)
    }
}

pub(super) fn without_ipv6(subnet: &Subnet) -> Error {
    Error::invalid(format!("The subnet '{}' has no IPv6 CIDR block", subnet.id))
}

fn too_many() -> Error {
    let message = format!("A network interface has at most {MAX_ADDRESSES} private IP addresses");
    Error::new("PrivateIpAddressLimitExceeded", message)
}

pub(super) fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::invalid(format!("invalid value for parameter address: {text}")))
}

fn count(number: Option<i32>, parameter: &str) -> Result<usize, Error> {
    let number = number.unwrap_or(0);
    let message = "Expecting a value of 0 or more";
    usize::try_from(number)
        .map_err(|_| Error::invalid_value(parameter, &number.to_string(), message))
}

/// Numbers of the first and the last address that are given automatically: the first four and the last stay free.
pub(super) fn automatic(net: Ipv4Net) -> Option<(u32, u32)> {
    let first = net.network().to_bits().checked_add(4)?;
    let last = net.broadcast().to_bits().checked_sub(1)?;
    (first <= last).then_some((first, last))
}

struct Taken<'c, 'a> {
    context: &'c Context<'a>,
    subnet: &'c Subnet,
    given: Vec<IpAddr>,
    /// Addresses that the transaction takes from others.
    freed: &'c [IpAddr],
}

impl Taken<'_, '_> {
    fn is_free(&self, address: IpAddr) -> bool {
        let key = Key::Index(Index::Address(self.subnet.vpc, address));
        let is_held = self.context.snapshot.get::<IndexEntry>(&key).is_some();
        !self.given.contains(&address) && (!is_held || self.freed.contains(&address))
    }

    fn reserve(&mut self, address: IpAddr) -> Result<(), Error> {
        let net = match address {
            IpAddr::V4(_) => self.subnet.ipv4,
            IpAddr::V6(_) => self.subnet.ipv6.as_ref().map(|block| block.cidr),
        };
        if !net.is_some_and(|net| net.contains(&address)) {
            let id = self.subnet.id;
            return Err(Error::invalid(format!(
                "The address {address} does not lie in the subnet '{id}'"
            )));
        }
        if !self.is_free(address) {
            return Err(Error::new(
                "InvalidIPAddress.InUse",
                format!("Address {address} is in use."),
            ));
        }
        self.given.push(address);
        Ok(())
    }

    fn free_ipv4(&mut self) -> Result<IpAddr, Error> {
        let range = match self.subnet.ipv4 {
            Some(IpNet::V4(net)) => automatic(net),
            _ => None,
        };
        let mut addresses = range
            .into_iter()
            .flat_map(|(first, last)| first..=last)
            .map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
        let free =
            addresses.find(|address| self.is_free(*address)).ok_or_else(|| self.exhausted())?;
        self.given.push(free);
        Ok(free)
    }

    /// The low half is drawn, as EC2 does it; a few draws find a free one in any subnet of a sensible size.
    fn free_ipv6(&mut self) -> Result<IpAddr, Error> {
        const DRAWS: usize = 64;
        let Some(IpNet::V6(net)) = self.subnet.ipv6.as_ref().map(|block| block.cidr) else {
            return Err(without_ipv6(self.subnet));
        };
        let draw = |_| IpAddr::V6(address_in(net, (self.context.draw)()));
        let free = (0..DRAWS).map(draw).find(|address| self.is_free(*address));
        let free = free.ok_or_else(|| self.exhausted())?;
        self.given.push(free);
        Ok(free)
    }

    fn exhausted(&self) -> Error {
        let message =
            "The specified subnet does not have enough free addresses to satisfy the request.";
        Error::new("InsufficientFreeAddressesInSubnet", message)
    }
}

fn address_in(net: Ipv6Net, drawn: u128) -> Ipv6Addr {
    let hosts = !u128::from(net.netmask());
    Ipv6Addr::from_bits(net.network().to_bits() | drawn & hosts)
}
