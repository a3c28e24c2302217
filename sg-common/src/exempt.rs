//! Link-local services of a cloud that an instance may always call, where `exempt_services` is on:
//! instance metadata, DNS, time and others, at addresses that EC2 documents.

use core::net::IpAddr;

/// Whether a service is at this IPv4 address.
#[inline(always)]
pub const fn is_service4(address: u32) -> bool {
    // 169.254.169.x and 169.254.170.x
    match address >> 8 {
        0x00a9_fea9 => matches!(address as u8, 253 | 254 | 123 | 250 | 251),
        0x00a9_feaa => matches!(address as u8, 2 | 23),
        _ => false,
    }
}

/// Whether a service is at the IPv6 address with these two halves.
#[inline(always)]
pub const fn is_service6(high: u64, low: u64) -> bool {
    // fd00:ec2::/64
    high == 0xfd00_0ec2_0000_0000 && matches!(low, 0x253 | 0x254 | 0x123 | 0x250 | 0x251 | 0x23)
}

/// The same of an address of either family.
pub const fn is_service(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_service4(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            is_service6((bits >> 64) as u64, bits as u64)
        }
    }
}
