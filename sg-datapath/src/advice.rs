//! Advice on the kernel's errors.

use std::{fs, io};

/// The capabilities that programs, maps and hooks need (capabilities(7)).
const NEEDED: [(&str, u32); 4] =
    [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// In words, behind the error; empty where nothing better is known.
pub fn on(error: &io::Error) -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let advice = advice(error.raw_os_error(), &read("/proc/self/status"), &read(LOCKDOWN));
    advice.map(|text| format!(" ({text})")).unwrap_or_default()
}

fn advice(errno: Option<i32>, status: &str, lockdown: &str) -> Option<String> {
    match errno? {
        libc::EPERM | libc::EACCES => Some(not_permitted(status, lockdown)),
        libc::ENOSYS => Some(
            "this kernel has no bpf(2): CONFIG_BPF_SYSCALL=y; or a seccomp filter hides it: allow \
             it in the container's profile"
                .to_owned(),
        ),
        libc::ENOMEM => Some(
            "no memory: lower --max-flows, or raise the memory limit of the service or container; \
             before Linux 5.11 also LimitMEMLOCK"
                .to_owned(),
        ),
        _ => None,
    }
}

fn not_permitted(status: &str, lockdown: &str) -> String {
    if lockdown.contains("[confidentiality]") {
        return "the kernel is locked down: boot with lockdown=integrity, or without".to_owned();
    }
    let held = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0);
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(_, bit)| held >> bit & 1 == 0).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return "a security module or seccomp filter forbids it: see the kernel's log, and allow \
                bpf(2) in the service's or container's profile"
            .to_owned();
    }
    format!("start it as root; in a container, with {}", missing.join(", "))
}

/// Behind what went wrong with loading a program.
pub fn on_loading() -> &'static str {
    const BTF: &str = "/sys/kernel/btf/vmlinux";
    if fs::exists(BTF).unwrap_or(false) {
        ""
    } else {
        " (this kernel has no /sys/kernel/btf/vmlinux: it takes CONFIG_DEBUG_INFO_BTF=y)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "Name:\tsg-agent\nCapEff:\t000001ffffffffff\n";

    #[test]
    fn what_is_missing_is_named() {
        let text = |errno, status, lockdown| advice(Some(errno), status, lockdown).unwrap();
        let none = "CapEff:\t0000000000000000\n";
        assert!(
            text(libc::EPERM, none, "")
                .ends_with("CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF")
        );
        let without_bpf = "CapEff:\t0000007fffffffff\n";
        assert!(text(libc::EPERM, without_bpf, "").ends_with("with CAP_BPF"));
        assert!(text(libc::EACCES, ALL, "[none] integrity confidentiality").contains("seccomp"));
        assert!(text(libc::EPERM, ALL, "none integrity [confidentiality]").contains("locked down"));
        assert!(text(libc::ENOSYS, ALL, "").contains("CONFIG_BPF_SYSCALL"));
        assert!(text(libc::ENOMEM, ALL, "").contains("--max-flows"));
        assert_eq!(advice(Some(libc::EINVAL), ALL, ""), None);
        assert_eq!(advice(None, ALL, ""), None);
    }
}
