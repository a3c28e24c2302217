//! Requests that real clients signed, recorded off the wire (`tests/clients`). Line ends are LF there, and kernel versions
//! are cut out of `User-Agent`, which none but libcloud signs.

use super::*;

#[track_caller]
fn check(recording: &str, signed_headers: &str, service: Service, region: &str) -> Verified {
    let message = Message::parse(recording);
    let (signed_at, form) = message.with(|request| {
        let presented = Presented::read(request).expect("a signature");
        assert_eq!(presented.signed_headers.join(";"), signed_headers);
        (presented.signed_at, presented.form)
    });
    let verified =
        message.judge(Some(&secret()), Timestamp(signed_at.0 + 1)).expect("a good signature");
    assert_eq!((verified.service, &*verified.region), (service, region));
    assert_eq!(verified.form, form);
    let wrong = message.judge(Some(&SecretKey::new("another")), signed_at);
    assert_eq!(wrong.expect_err("another secret"), Error::Mismatch);
    // One bit of what the client asked for.
    let mut changed = message.clone();
    let changed = if changed.method == "GET" {
        changed.query = changed.query.replacen("Group", "Froup", 1);
        assert_ne!(changed.query, message.query);
        changed
    } else {
        changed.body[8] ^= 1;
        changed
    };
    assert_eq!(changed.judge(Some(&secret()), signed_at).expect_err("changed"), Error::Mismatch);
    verified
}

#[test]
fn aws_cli_1() {
    let recording = include_str!("../../../tests/clients/aws-cli-1.http");
    check(recording, "content-type;host;x-amz-date", Service::Ec2, "us-east-1");
}

#[test]
fn aws_cli_1_with_a_session() {
    let recording = include_str!("../../../tests/clients/aws-cli-1-session.http");
    let headers = "content-type;host;x-amz-date;x-amz-security-token";
    let verified = check(recording, headers, Service::Sts, "us-east-1");
    assert_eq!(verified.session_token.as_deref(), Some("a/token+with=signs"));
}

#[test]
fn aws_cli_2() {
    let recording = include_str!("../../../tests/clients/aws-cli-2.http");
    check(recording, "content-type;host;x-amz-date", Service::Ec2, "eu-west-1");
}

#[test]
fn boto3() {
    let recording = include_str!("../../../tests/clients/boto3-post.http");
    check(recording, "content-type;host;x-amz-date", Service::Ec2, "us-east-1");
}

#[test]
fn boto3_presigned() {
    let recording = include_str!("../../../tests/clients/boto3-presigned.http");
    let verified = check(recording, "host", Service::Ec2, "us-east-1");
    assert_eq!(verified.form, Form::Presigned { expires_seconds: 600 });
}

#[test]
fn curl_leaves_the_content_type_unsigned() {
    let recording = include_str!("../../../tests/clients/curl.http");
    check(recording, "host;x-amz-date", Service::Ec2, "us-east-1");
}

#[test]
fn javascript_sdk_3() {
    let recording = include_str!("../../../tests/clients/js-sdk-3.http");
    let headers = "amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;\
                   x-amz-content-sha256;x-amz-date;x-amz-user-agent";
    check(recording, headers, Service::Ec2, "us-east-1");
}

/// It signs a space as `%20` and sends it as `+`.
#[test]
fn libcloud_by_get() {
    let recording = include_str!("../../../tests/clients/libcloud.http");
    let headers = "accept-encoding;host;user-agent;x-amz-content-sha256;x-amz-date";
    check(recording, headers, Service::Ec2, "us-east-1");
}

#[test]
fn terraform_with_a_session() {
    let recording = include_str!("../../../tests/clients/terraform.http");
    let headers = "amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;x-amz-date;\
                   x-amz-security-token";
    let verified = check(recording, headers, Service::Ec2, "us-east-1");
    assert_eq!(verified.session_token.as_deref(), Some("a/token+with=signs"));
}
