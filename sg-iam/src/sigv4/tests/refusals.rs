//! Signatures that are refused, each with its answer in the words of each service.

use super::*;
use crate::sigv4::Malformed;

fn signed() -> Message {
    Message::post("Action=DescribeVpcs&Version=2016-11-15").signed(&signer(&secret()), NOW)
}

/// Changes the text of the `Authorization` header.
fn with_authorization(change: impl FnOnce(String) -> String) -> Message {
    let mut message = signed();
    let header = message.header("authorization");
    *header = change(String::from_utf8(header.clone()).expect("UTF-8")).into_bytes();
    message
}

fn refusal(message: &Message) -> Error {
    message.judge(Some(&secret()), NOW).expect_err("refused")
}

#[test]
fn headers_that_cannot_be_read() {
    let edit = |from: &str, to: &str| refusal(&with_authorization(|text| text.replace(from, to)));
    for (error, expected) in [
        (edit("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"), Malformed::Algorithm),
        (edit("AWS4-HMAC-SHA256 ", "AWS AKID:"), Malformed::Algorithm),
        (edit("Credential=", "Credentials="), Malformed::Part),
        (edit("Credential=", "Credential"), Malformed::Part),
        (edit("Credential=", "Signature=0, Credential="), Malformed::Repeated("Signature")),
        (edit("/aws4_request", "/aws4"), Malformed::Terminator),
        (edit("/us-east-1", ""), Malformed::Credential),
        (edit("AKIDEXAMPLE", ""), Malformed::Credential),
        (edit("AKIDEXAMPLE", &"A".repeat(129)), Malformed::Credential),
        (edit("AKIDEXAMPLE", "AKID\nEXAMPLE"), Malformed::Credential),
        (edit("Signature=", "Signature=0"), Malformed::Signature),
        (edit("content-type;host", "host;content-type"), Malformed::SignedHeaders),
        (edit("content-type;host", "content-type;content-type;host"), Malformed::SignedHeaders),
        (edit("content-type;host", "Content-Type;host"), Malformed::SignedHeaders),
        (edit("content-type;host;", "content-type;"), Malformed::HostUnsigned),
        (edit("host;", "host;not-there;"), Malformed::HeaderAbsent),
    ] {
        assert_eq!(error, expected.into());
    }
    for part in ["Credential", "SignedHeaders", "Signature"] {
        let without = with_authorization(|text| {
            let parts = text.strip_prefix("AWS4-HMAC-SHA256 ").expect("the algorithm");
            let parts: Vec<_> =
                parts.split(", ").filter(|text| !text.starts_with(&format!("{part}="))).collect();
            format!("AWS4-HMAC-SHA256 {}", parts.join(", "))
        });
        assert_eq!(refusal(&without), Malformed::Lacks(part).into());
    }
    let upper = with_authorization(|text| {
        let (before, signature) = text.split_once("Signature=").expect("a signature");
        format!("{before}Signature={}", signature.to_uppercase())
    });
    assert_eq!(refusal(&upper), Malformed::Signature.into());
}

#[test]
fn headers_around_the_signature() {
    let mut twice = signed();
    let header = twice.header("authorization").clone();
    twice.headers.push(("Authorization".into(), header));
    assert_eq!(refusal(&twice), Malformed::Several.into());

    let mut both = signed();
    both.query = "X-Amz-Signature=00".into();
    assert_eq!(refusal(&both), Malformed::Several.into());

    let mut two_dates = signed();
    two_dates.headers.push(("X-Amz-Date".into(), b"20150830T123600Z".to_vec()));
    assert_eq!(refusal(&two_dates), Malformed::Repeated("x-amz-date").into());

    let mut no_date = signed();
    no_date.remove("x-amz-date");
    no_date.header("authorization").clear();
    *no_date.header("authorization") =
        b"AWS4-HMAC-SHA256 Credential=A/20150830/us-east-1/ec2/aws4_request, \
        SignedHeaders=host, Signature=00"
            .to_vec();
    assert_eq!(refusal(&no_date), Malformed::NoDate.into());

    let mut odd_date = signed();
    *odd_date.header("x-amz-date") = b"2015-08-30T12:36:00Z".to_vec();
    assert_eq!(refusal(&odd_date), Malformed::Date.into());

    let mut token = signed();
    token.headers.push(("X-Amz-Security-Token".into(), b"token".to_vec()));
    assert_eq!(refusal(&token), Malformed::TokenUnsigned.into());

    let mut unsigned = signed();
    unsigned.remove("authorization");
    assert_eq!(refusal(&unsigned), Error::Missing);
}

/// The client's header of the digest is not believed.
#[test]
fn the_body_is_what_was_signed() {
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for declared in [digest, "UNSIGNED-PAYLOAD", ""] {
        let mut message = Message::post("Action=DeleteSecurityGroup");
        message.headers.push(("X-Amz-Content-SHA256".into(), declared.as_bytes().to_vec()));
        let message = message.signed(&signer(&secret()), NOW);
        assert_eq!(refusal(&message), Error::Mismatch, "{declared}");
    }
    let mut empty = Message::post("");
    empty.headers.push(("X-Amz-Content-SHA256".into(), digest.as_bytes().to_vec()));
    assert!(empty.signed(&signer(&secret()), NOW).judge(Some(&secret()), NOW).is_ok());
}

#[test]
fn scopes_of_others() {
    let at = |region, service| {
        let secret = secret();
        let signer = Signer { region, service, ..signer(&secret) };
        refusal(&Message::post("").signed(&signer, NOW)).to_string()
    };
    assert_eq!(
        at("us-west-9", "ec2"),
        "Credential should be scoped to a valid region, one of us-east-1, eu-west-1."
    );
    let service = "Credential should be scoped to correct service: 'ec2', 'sts'.";
    assert_eq!(at("us-east-1", "s3"), service);
    assert_eq!(at("us-east-1", "iam"), service);
    let date = with_authorization(|text| text.replace("/20150830/", "/20150829/"));
    assert_eq!(
        refusal(&date).to_string(),
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
         '20150829' != '20150830', from '20150830T123600Z'."
    );
}

#[test]
fn a_header_is_good_for_15_minutes_on_either_side() {
    let at = |seconds| signed().judge(Some(&secret()), Timestamp(NOW.0 + seconds)).map(drop);
    assert_eq!(at(900), Ok(()));
    assert_eq!(at(-900), Ok(()));
    assert_eq!(
        at(901).expect_err("old").to_string(),
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)"
    );
    assert_eq!(
        at(-901).expect_err("early").to_string(),
        "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z \
         (20150830T122059Z + 15 min.)"
    );
}

#[test]
fn a_presigned_request_is_good_for_its_lifetime() {
    let message = Message::parse("GET /?Action=DescribeVpcs HTTP/1.1\nHost: h\n").presigned(
        &signer(&secret()),
        NOW,
        60,
    );
    let at = |seconds| {
        message.judge(Some(&secret()), Timestamp(NOW.0 + seconds)).map(|verified| verified.form)
    };
    assert_eq!(at(60), Ok(Form::Presigned { expires_seconds: 60 }));
    assert!(matches!(at(61), Err(Error::Expired { allowed_seconds: 60, .. })));
    assert!(at(-900).is_ok());
    assert!(matches!(at(-901), Err(Error::NotYetCurrent { .. })));
}

#[test]
fn presigned_requests_that_cannot_be_read() {
    let message = || {
        Message::parse("GET /?Action=DescribeVpcs HTTP/1.1\nHost: h\n").presigned(
            &signer(&secret()),
            NOW,
            60,
        )
    };
    let edit = |from: &str, to: &str| {
        let mut message = message();
        assert!(message.query.contains(from), "{from}");
        message.query = message.query.replace(from, to);
        refusal(&message)
    };
    for expires in ["0", "604801", "-1", "", "1e3", "+60", "99999999999999999999"] {
        let error = edit("X-Amz-Expires=60", &format!("X-Amz-Expires={expires}"));
        // A plus sign is a space in a form.
        assert_eq!(error, Malformed::Expires.into(), "{expires}");
    }
    for (name, value) in [
        ("X-Amz-Credential", Malformed::Lacks("X-Amz-Credential")),
        ("X-Amz-Date", Malformed::Lacks("X-Amz-Date")),
        ("X-Amz-Expires", Malformed::Lacks("X-Amz-Expires")),
        ("X-Amz-SignedHeaders", Malformed::Lacks("X-Amz-SignedHeaders")),
        ("X-Amz-Signature", Malformed::Lacks("X-Amz-Signature")),
    ] {
        assert_eq!(edit(&format!("{name}="), &format!("{name}x=")), value.into());
    }
    assert_eq!(edit("SHA256", "SHA512"), Malformed::Algorithm.into());
    assert_eq!(
        edit("X-Amz-Date=", "X-Amz-Date=1&X-Amz-Date="),
        Malformed::Repeated("X-Amz-Date").into()
    );
    assert_eq!(edit("X-Amz-Date=", "X-Amz-Date=%ff"), Malformed::Part.into());
    // Any other parameter is signed, and may be added or taken away by nobody.
    assert_eq!(edit("Action=DescribeVpcs", "Action=DeleteVpc"), Error::Mismatch);
    assert_eq!(edit("Action=DescribeVpcs&", ""), Error::Mismatch);
    assert_eq!(edit("Action=", "X-Amz-Security-Token=t&Action="), Error::Mismatch);
}

#[test]
fn answers_are_in_the_words_of_each_service() {
    let wrong_secret = signed().judge(Some(&SecretKey::new("another")), NOW).expect_err("refused");
    let unknown_key = signed().judge(None, NOW).expect_err("refused");
    let late = signed().judge(Some(&secret()), Timestamp(NOW.0 + 901)).expect_err("refused");
    let malformed = Error::from(Malformed::Credential);
    let answers = |error: &Error| {
        [Service::Ec2, Service::Iam, Service::Sts, Service::Ram, Service::Sg].map(|service| {
            let answer = error.answer(service);
            (answer.status, answer.code)
        })
    };
    let query = (403, "SignatureDoesNotMatch");
    let json = (403, "InvalidSignatureException");
    assert_eq!(answers(&wrong_secret), [(401, "AuthFailure"), query, query, json, json]);
    assert_eq!(answers(&late), [(400, "RequestExpired"), query, query, json, json]);
    let query = (403, "InvalidClientTokenId");
    let json = (403, "UnrecognizedClientException");
    assert_eq!(answers(&unknown_key), [(401, "AuthFailure"), query, query, json, json]);
    let query = (400, "IncompleteSignature");
    let json = (403, "IncompleteSignatureException");
    assert_eq!(answers(&malformed), [(401, "AuthFailure"), query, query, json, json]);
    let query = (403, "MissingAuthenticationToken");
    let json = (403, "MissingAuthenticationTokenException");
    assert_eq!(answers(&Error::Missing), [query, query, query, json, json]);
    // EC2 does not say whether the key or the signature is wrong.
    assert_eq!(wrong_secret.answer(Service::Ec2), unknown_key.answer(Service::Ec2));
    assert_eq!(
        wrong_secret.answer(Service::Ec2).message,
        "AWS was not able to validate the provided access credentials"
    );
    assert_eq!(
        unknown_key.answer(Service::Sts).message,
        "The security token included in the request is invalid."
    );
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?} {:?}", secret(), signer(&secret()));
    assert!(!shown.contains("wJalr"), "{shown}");
}
