//! The official test suite (`tests/vectors`, see NOTICE there). Every vector verifies in both forms, and none does with one
//! bit flipped anywhere that is signed.

use std::{fs, path::PathBuf};

use super::{Message, NOW};
use crate::sigv4::{
    Error, Malformed, Presented, SecretKey,
    canonical::{self, PathRule},
    key::string_to_sign,
};

struct Vector {
    name: String,
    folder: PathBuf,
    secret: SecretKey,
    path_rule: PathRule,
    /// The client added its token after signing. EC2, IAM and STS refuse that.
    has_unsigned_token: bool,
}

impl Vector {
    fn all() -> Vec<Self> {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/v4"));
        let folders = fs::read_dir(folder).expect("vectors").flatten().map(|entry| entry.path());
        let mut all: Vec<_> = folders.map(Self::read).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        assert_eq!(all.len(), 38);
        all
    }

    fn read(folder: PathBuf) -> Self {
        let context = fs::read(folder.join("context.json")).expect("a context");
        let context: serde_json::Value = serde_json::from_slice(&context).expect("JSON");
        assert_eq!(context["timestamp"], "2015-08-30T12:36:00Z");
        let secret = context["credentials"]["secret_access_key"].as_str().expect("a secret");
        let path_rule = match context["normalize"].as_bool() {
            Some(true) => PathRule::Normalize,
            _ => PathRule::Keep,
        };
        Self {
            name: folder.file_name().expect("a name").to_string_lossy().into_owned(),
            secret: SecretKey::new(secret),
            path_rule,
            has_unsigned_token: context["omit_session_token"].as_bool() == Some(true),
            folder,
        }
    }

    fn text(&self, file: &str) -> String {
        let path = self.folder.join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// `form` is `header` or `query`.
    fn message(&self, form: &str) -> Message {
        let mut message = Message::parse(&self.text(&format!("{form}-signed-request.txt")));
        // The suite's files end with a line break that is no part of an empty body.
        if self.text("request.txt").matches("\n\n").count() == 0 || message.body == b"\n" {
            message.body.clear();
        }
        if self.has_unsigned_token {
            message.remove("x-amz-security-token");
            let mut pairs: Vec<_> = message.query.split('&').collect();
            pairs.retain(|pair| !pair.starts_with("X-Amz-Security-Token="));
            message.query = pairs.join("&");
        }
        message
    }

    fn holds(&self, message: &Message) -> Result<bool, Error> {
        message.with(|request| {
            let presented = Presented::read(request)?;
            Ok(presented.is_signed_by(request, &self.secret, self.path_rule))
        })
    }
}

#[test]
fn every_vector_verifies() {
    for vector in Vector::all() {
        for form in ["header", "query"] {
            let message = vector.message(form);
            assert_eq!(vector.holds(&message), Ok(true), "{} by {form}", vector.name);
        }
    }
}

#[test]
fn canonical_requests_and_texts_to_sign_are_those_of_the_suite() {
    for vector in Vector::all() {
        for form in ["header", "query"] {
            let (canonical, to_sign) = vector.message(form).with(|request| {
                let presented = Presented::read(request).expect("a signature");
                assert_eq!(presented.signed_at, NOW);
                let names: Vec<_> = presented.signed_headers.iter().map(String::as_str).collect();
                let unsigned = ["X-Amz-Signature"];
                let canonical = canonical::request(request, &names, &unsigned, vector.path_rule);
                let timestamp = presented.signed_at.to_string();
                let to_sign = string_to_sign(&timestamp, &presented.scope, &canonical);
                (canonical, to_sign)
            });
            let name = &vector.name;
            assert_eq!(canonical, vector.text(&format!("{form}-canonical-request.txt")), "{name}");
            assert_eq!(to_sign, vector.text(&format!("{form}-string-to-sign.txt")), "{name}");
        }
    }
}

#[test]
fn a_token_added_after_signing_is_refused() {
    let vector = Vector::all().into_iter().find(|vector| vector.has_unsigned_token);
    let vector = vector.expect("the suite has one");
    let signed = |form: &str| Message::parse(&vector.text(&format!("{form}-signed-request.txt")));
    assert_eq!(vector.holds(&signed("header")), Err(Malformed::TokenUnsigned.into()));
    let mut by_query = signed("query");
    by_query.body.clear();
    assert_eq!(vector.holds(&by_query), Ok(false));
}

/// Flips each bit of each byte of a text; results that are no UTF-8 are left out.
fn flipped(text: &str) -> impl Iterator<Item = String> {
    (0..text.len() * 8).filter_map(move |bit| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        String::from_utf8(bytes).ok()
    })
}

#[test]
fn no_vector_with_a_flipped_bit_verifies() {
    let mut refused = 0;
    for vector in Vector::all() {
        for form in ["header", "query"] {
            let message = vector.message(form);
            let mut refuse = |change: &dyn Fn(&mut Message), what: &str| {
                let mut changed = message.clone();
                change(&mut changed);
                assert_ne!(
                    vector.holds(&changed),
                    Ok(true),
                    "{} by {form}: {what} of {changed:?}",
                    vector.name
                );
                refused += 1;
            };
            let parts = presented_parts(&message);
            for text in flipped(&parts.signature) {
                refuse(&|message| replace(message, &parts.signature, &text), "signature");
            }
            refuse(&|message| message.method.push('X'), "method");
            refuse(&|message| message.body.push(b'x'), "body");
            refuse(&|message| message.path.push('x'), "path");
            refuse(&|message| message.query.push_str("&x=1"), "query");
            refuse(&|message| replace(message, "us-east-1", "us-east-2"), "region");
            refuse(&|message| replace(message, "20150830T123600Z", "20150830T123601Z"), "time");
            for name in parts.signed_headers.split(';').filter(|name| *name != "authorization") {
                refuse(&|message| message.header(name).extend(b"x"), name);
            }
            for bit in 0..message.body.len() * 8 {
                refuse(&|message| message.body[bit / 8] ^= 1 << (bit % 8), "body's bit");
            }
        }
    }
    assert!(refused > 38 * 2 * 64 * 4, "only {refused} were tried");
}

struct Parts {
    signature: String,
    signed_headers: String,
}

fn presented_parts(message: &Message) -> Parts {
    message.with(|request| {
        let presented = Presented::read(request).expect("a signature");
        Parts {
            signature: crate::sigv4::key::hex(&presented.signature),
            signed_headers: presented.signed_headers.join(";"),
        }
    })
}

/// Replaces a text where the signature is: in the `Authorization` header, the date's header and the query.
fn replace(message: &mut Message, from: &str, to: &str) {
    message.query = message.query.replace(from, to);
    for (name, value) in &mut message.headers {
        if name.eq_ignore_ascii_case("authorization") || name.eq_ignore_ascii_case("x-amz-date") {
            *value = String::from_utf8_lossy(value).replace(from, to).into_bytes();
        }
    }
}
