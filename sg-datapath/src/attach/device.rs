//! The hooks that an interface's driver admits.

use std::{ffi::CStr, io};

use super::hook::{HookChoice, Receiver};

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 3;

/// struct ethtool_drvinfo, include/uapi/linux/ethtool.h.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// struct ifreq, with only the used member of its union.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    value: Value,
}

#[repr(C)]
union Value {
    data: *mut DriverInfo,
    address: libc::sockaddr,
    size: [u8; 24],
}

/// Asks by the name that the interface has now.
fn ask(ifindex: u32, command: libc::c_ulong, value: Value) -> Option<Request> {
    let mut request = Request { name: [0; libc::IFNAMSIZ], value };
    // SAFETY: the buffer has the length that the function wants.
    if unsafe { libc::if_indextoname(ifindex, request.name.as_mut_ptr().cast()) }.is_null() {
        return None;
    }
    // SAFETY: plain socket call.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return None;
    }
    // SAFETY: the request is valid, and so is the memory it points to.
    let result = unsafe { libc::ioctl(socket, command, &raw mut request) };
    // SAFETY: our own descriptor.
    unsafe { libc::close(socket) };
    (result == 0).then_some(request)
}

/// Name of the interface's driver, where it has one.
fn driver(ifindex: u32) -> Option<String> {
    let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
    ask(ifindex, SIOCETHTOOL, Value { data: &raw mut info })?;
    let text = CStr::from_bytes_until_nul(&info.driver).ok()?;
    Some(text.to_string_lossy().into_owned())
}

/// Whether frames of the interface have an Ethernet header.
fn has_ethernet(ifindex: u32) -> bool {
    let value = Value { size: [0; 24] };
    ask(ifindex, libc::SIOCGIFHWADDR, value).is_none_or(|request| {
        // SAFETY: the call has filled in an address.
        let kind = unsafe { request.value.address }.sa_family;
        kind == libc::ARPHRD_ETHER || kind == libc::ARPHRD_LOOPBACK
    })
}

impl Receiver {
    /// The hook that this interface will get, if its driver keeps its promise.
    pub fn of(ifindex: u32, choice: HookChoice) -> Self {
        if wants_xdp(ifindex, choice).0 { Self::Xdp } else { Self::Tc }
    }
}

/// Whether XDP is to be tried, and why or why not.
pub fn wants_xdp(ifindex: u32, choice: HookChoice) -> (bool, String) {
    if choice == HookChoice::Tc {
        return (false, "datapath = \"tc\"".into());
    }
    if !has_ethernet(ifindex) {
        return (false, "no Ethernet header, so no XDP".into());
    }
    by_driver(driver(ifindex).as_deref(), choice)
}

fn by_driver(driver: Option<&str>, choice: HookChoice) -> (bool, String) {
    match driver {
        // They hand the program on to a device below (bond_xdp_set, netvsc_vf_setxdp), and packets come
        // with that one's ifindex, under which nothing is filtered.
        Some(driver @ ("bonding" | "hv_netvsc")) => {
            (false, format!("{driver} runs XDP on the devices below it, where it is not us"))
        }
        _ if choice == HookChoice::Xdp => (true, "datapath = \"xdp\"".into()),
        // Native XDP takes GSO away from a veth, too: two thirds of a TCP stream.
        Some(driver) if has_chosen_metadata(Some(driver)) => (
            false,
            format!(
                "auto: XDP does not see checksums and segments that a sender on a {driver} asks for"
            ),
        ),
        Some(driver) => (true, format!("auto: native XDP of {driver}")),
        None => (true, "auto: native XDP".into()),
    }
}

/// Returns true if senders on the interface may choose what the kernel does to a packet after XDP.
/// They do by a virtio-net header (`IFF_VNET_HDR` of tun and tap, `PACKET_VNET_HDR` behind a veth).
fn has_chosen_metadata(driver: Option<&str>) -> bool {
    matches!(driver, Some("tun" | "veth"))
}

/// Whether TC has to look behind XDP.
pub fn needs_look_behind_xdp(ifindex: u32) -> bool {
    has_chosen_metadata(driver(ifindex).as_deref())
}

/// Why the kernel refused XDP, in words.
pub fn why_not_xdp(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => {
            "another XDP program is attached, and is left alone".into()
        }
        Some(libc::EOPNOTSUPP) => "the driver has no native XDP".into(),
        Some(libc::ERANGE) => {
            "the MTU is too large for XDP in this driver: lower it (`ip link set mtu`) to have XDP"
                .into()
        }
        Some(libc::ENOSPC) => {
            "too few queues for XDP: as many to receive as the other end of a veth \
                               has to send, or one more per CPU (`ethtool -L`)"
                .into()
        }
        Some(libc::EINVAL) => format!(
            "the driver refuses XDP as the interface is set up (MTU, queues, LRO; the kernel's log \
             may say which): {error}"
        ),
        _ => format!("XDP could not be attached: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_do() {
        for (errno, part) in [
            (libc::EBUSY, "another XDP program"),
            (libc::EOPNOTSUPP, "no native XDP"),
            (libc::ERANGE, "ip link set mtu"),
            (libc::ENOSPC, "ethtool -L"),
            (libc::EINVAL, "kernel's log"),
            (libc::EIO, "could not be attached"),
        ] {
            let text = why_not_xdp(&io::Error::from_raw_os_error(errno));
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn no_xdp_where_another_device_would_run_it() {
        use HookChoice::{Auto, Xdp};
        for (driver, auto, asked) in [
            (Some("virtio_net"), true, true),
            (Some("veth"), false, true),
            (Some("tun"), false, true),
            (Some("bonding"), false, false),
            (Some("hv_netvsc"), false, false),
            (None, true, true),
        ] {
            assert_eq!(by_driver(driver, Auto).0, auto, "{driver:?}");
            assert_eq!(by_driver(driver, Xdp).0, asked, "{driver:?}");
        }
    }
}
