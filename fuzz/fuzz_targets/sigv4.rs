//! Signatures: nothing made up is read with a panic or verifies, and what is signed verifies whatever is signed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sg_iam::{
    Service, Timestamp,
    sigv4::{Expected, Presented, Request, SecretKey, Signer, sign},
};

const NOW: Timestamp = Timestamp(1_440_938_160);

// Lines: method, path, query, then `name:value` each a header; behind an empty line the body.
fuzz_target!(|input: &[u8]| {
    let (head, body) = match input.windows(2).position(|window| window == b"\n\n") {
        Some(end) => (&input[..end], &input[end + 2..]),
        None => (input, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or("x");
    let (method, path, query) = (text(), text(), text());
    let mut headers: Vec<(&str, &[u8])> = Vec::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        if let Ok(name) = std::str::from_utf8(&line[..colon]) {
            headers.push((name, line.get(colon + 1..).unwrap_or_default()));
        }
    }
    let request = Request { method, path, query, headers: &headers, body };
    let regions = ["us-east-1".to_owned()];
    let expected = Expected { now: NOW, regions: &regions, services: &Service::ALL };
    let secret = SecretKey::new("a secret that no input has");
    if let Ok(presented) = Presented::read(&request) {
        assert!(presented.verify(&request, Some(&secret), &expected).is_err());
        return;
    }
    let mut kept: Vec<_> = headers.iter().copied().filter(|(name, _)| is_name(name)).collect();
    kept.push(("host", b"127.0.0.1"));
    let request = Request { headers: &kept, ..request };
    if query.contains("X-Amz-") || query.contains('%') {
        return;
    }
    let signer = Signer {
        access_key_id: "AKID",
        secret: &secret,
        session_token: None,
        region: "us-east-1",
        service: "ec2",
    };
    let added = sign(&request, &signer, NOW);
    let mut signed = kept.clone();
    signed.extend(added.iter().map(|(name, value)| (*name, value.as_bytes())));
    let request = Request { headers: &signed, ..request };
    let presented = Presented::read(&request).expect("our own signature");
    presented.verify(&request, Some(&secret), &expected).expect("our own signature");
});

/// Headers that say nothing about signatures, with names that HTTP takes.
fn is_name(name: &str) -> bool {
    let is_ours =
        ["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256", "date"];
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !is_ours.iter().any(|other| name.eq_ignore_ascii_case(other))
}
