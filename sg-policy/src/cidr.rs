//! The text of a CIDR.

use std::net::IpAddr;

use ipnet::IpNet;

/// Reads `ADDRESS/LENGTH`; host bits stay as they are. Refuses leading zeros in IPv4 addresses and in
/// lengths, which [`IpNet`]'s own parser takes: `010` is 10 to some programs and 8 (octal) to others.
pub fn parse(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || (length.starts_with('0') && length != "0") {
        return None;
    }
    IpNet::new(address, length.parse().ok()?).ok()
}

/// The same text without leading zeros, where those are why [`parse`] refuses it.
pub fn without_leading_zeros(text: &str) -> Option<String> {
    text.parse::<IpNet>().ok().filter(|_| parse(text).is_none()).map(|net| net.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_are_ambiguous() {
        for (text, meant) in [
            ("010.0.0.0/8", "10.0.0.0/8"),
            ("10.00.0.0/8", "10.0.0.0/8"),
            ("192.0.2.001/32", "192.0.2.1/32"),
            ("10.0.0.0/08", "10.0.0.0/8"),
            ("0.0.0.0/00", "0.0.0.0/0"),
            ("2001:db8::/032", "2001:db8::/32"),
            ("::ffff:010.0.0.0/104", "::ffff:10.0.0.0/104"),
        ] {
            assert_eq!(parse(text), None, "{text}");
            assert_eq!(without_leading_zeros(text).as_deref(), Some(meant), "{text}");
        }
        // In IPv6 they are hexadecimal and mean one thing.
        for (text, read) in [
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("10.1.2.3/8", "10.1.2.3/8"),
            ("::/0", "::/0"),
            ("2001:0db8:00a0::/48", "2001:db8:a0::/48"),
            ("255.255.255.255/32", "255.255.255.255/32"),
            ("::ffff:10.0.0.0/104", "::ffff:10.0.0.0/104"),
        ] {
            assert_eq!(parse(text).map(|net| net.to_string()).as_deref(), Some(read));
            assert_eq!(without_leading_zeros(text), None, "{text}");
        }
        for text in
            ["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/8 ", "/8", "::/129"]
        {
            assert_eq!((parse(text), without_leading_zeros(text)), (None, None), "{text:?}");
        }
    }
}
