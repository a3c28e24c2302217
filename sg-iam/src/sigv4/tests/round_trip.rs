//! `verify` takes all that `sign` and `presign` make, however proxies and libraries spell it.

use proptest::prelude::*;

use super::*;

/// Parameters of a form. Names are not those of a presigned request.
fn parameters() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[a-zA-Z.0-9 é%+&=~*]{1,8}", any::<String>()), 0..6)
}

/// Escapes as some library does: letters and digits may be escaped, too, in either case.
fn escaped(text: &str, choices: &[u8]) -> String {
    let mut escaped = String::new();
    for (place, byte) in text.bytes().enumerate() {
        let choice = choices.get(place % choices.len().max(1)).copied().unwrap_or(0);
        match byte {
            b' ' if choice % 3 == 0 => escaped.push('+'),
            byte if byte.is_ascii_alphanumeric() && choice % 2 == 0 => escaped.push(byte.into()),
            byte if choice % 5 == 0 => escaped.push_str(&format!("%{byte:02x}")),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn query(parameters: &[(String, String)], choices: &[u8]) -> String {
    let pairs = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name, choices), escaped(value, choices)));
    pairs.collect::<Vec<_>>().join("&")
}

proptest! {
    #[test]
    fn a_signature_holds_for_every_spelling(
        parameters in parameters(),
        (choices, others) in (any::<Vec<u8>>(), any::<Vec<u8>>()),
        order in any::<prop::sample::Index>(),
        token in prop::option::of("[A-Za-z0-9/+=]{1,40}"),
        body in any::<Vec<u8>>(),
        is_presigned in any::<bool>(),
    ) {
        let secret = secret();
        let signer = Signer { session_token: token.as_deref(), ..signer(&secret) };
        let mut message = Message::parse("POST / HTTP/1.1\nHost: h:8773\nUser-Agent:  a   b \n");
        message.query = query(&parameters, &choices);
        message.body = body;
        let mut message = if is_presigned {
            message.presigned(&signer, NOW, 60)
        } else {
            message.signed(&signer, NOW)
        };
        // Another order, other escapes.
        let presigned: Vec<_> = message.query.split('&').filter(|pair| pair.starts_with("X-Amz-")).map(str::to_owned).collect();
        let mut pairs: Vec<_> = parameters.clone();
        if !pairs.is_empty() {
            let by = order.index(pairs.len());
            pairs.rotate_left(by);
        }
        let mut pairs = vec![query(&pairs, &others)];
        pairs.extend(presigned);
        message.query = pairs.join("&");
        for (name, value) in &mut message.headers {
            *name = name.to_uppercase();
            value.insert(0, b' ');
        }
        let verified = message.judge(Some(&secret), NOW).expect("a good signature");
        prop_assert_eq!(verified.session_token, token);
        prop_assert_eq!(verified.access_key_id, "AKIDEXAMPLE");
        prop_assert_eq!(verified.service, Service::Ec2);
    }

    /// No text in any place of a signature panics or verifies.
    #[test]
    fn nothing_made_up_verifies(authorization in any::<Vec<u8>>(), query in any::<String>(), date in any::<String>()) {
        let mut message = Message::post("Action=DescribeVpcs");
        message.query = query;
        message.headers.push(("Authorization".into(), authorization));
        message.headers.push(("X-Amz-Date".into(), date.into_bytes()));
        prop_assert!(message.judge(Some(&secret()), NOW).is_err());
    }
}
