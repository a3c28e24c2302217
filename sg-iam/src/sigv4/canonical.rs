//! The canonical request: one text for all spellings of one request.

use sha2::{Digest as _, Sha256};

use super::{
    key::hex,
    request::{Request, encode},
};

/// Whether `.`, `..` and empty segments of a path are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathRule {
    /// All services but S3.
    Normalize,
    /// S3, and half of the official vectors.
    #[cfg(test)]
    Keep,
}

/// The canonical request. `signed_headers` are names in lower case, sorted; `unsigned_parameters` of the query are
/// left out.
pub(super) fn request(
    request: &Request<'_>,
    signed_headers: &[&str],
    unsigned_parameters: &[&str],
    path_rule: PathRule,
) -> String {
    let mut text = String::with_capacity(512);
    text.push_str(request.method);
    text.push('\n');
    path(request.path, path_rule, &mut text);
    text.push('\n');
    query(request, unsigned_parameters, &mut text);
    text.push('\n');
    for name in signed_headers {
        header(request, name, &mut text);
    }
    text.push('\n');
    text.push_str(&signed_headers.join(";"));
    text.push('\n');
    text.push_str(&hex(&Sha256::digest(request.body)));
    text
}

/// The path as sent, escaped once more: `%20` becomes `%2520`, as all services but S3 want it.
fn path(path: &str, rule: PathRule, into: &mut String) {
    let normalized = match rule {
        PathRule::Normalize => normalize(path),
        #[cfg(test)]
        PathRule::Keep => path.to_owned(),
    };
    encode(normalized.as_bytes(), b"/", into);
}

/// Resolves `.`, `..` and empty segments (RFC 3986, section 5.2.4).
fn normalize(path: &str) -> String {
    let mut kept = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let ends_in_folder =
        !kept.is_empty() && matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    format!("/{}{}", kept.join("/"), if ends_in_folder { "/" } else { "" })
}

fn query(request: &Request<'_>, unsigned: &[&str], into: &mut String) {
    let is_signed = |name: &[u8]| !unsigned.iter().any(|unsigned| unsigned.as_bytes() == name);
    let escaped = |bytes: &[u8]| {
        let mut text = String::new();
        encode(bytes, b"", &mut text);
        text
    };
    let parameters = request.parameters().filter(|(name, _)| is_signed(name));
    let mut pairs: Vec<_> =
        parameters.map(|(name, value)| (escaped(&name), escaped(&value))).collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    into.push_str(&pairs.join("&"));
}

/// `name:value`, where runs of spaces are one and several values are joined by commas. A byte above 127 is written as
/// the character of that number, as `http.client` of Python sends header values.
fn header(request: &Request<'_>, name: &str, into: &mut String) {
    into.push_str(name);
    into.push(':');
    for (place, value) in request.values(name).enumerate() {
        if place > 0 {
            into.push(',');
        }
        let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        for (place, word) in words.enumerate() {
            if place > 0 {
                into.push(' ');
            }
            match std::str::from_utf8(word) {
                Ok(word) => into.push_str(word),
                Err(_) => into.extend(word.iter().map(|byte| char::from(*byte))),
            }
        }
    }
    into.push('\n');
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn paths_are_resolved() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/a//b", "/a/b"),
            ("/./a", "/a"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/../../a", "/a"),
            ("/a/.", "/a/"),
            ("/..a", "/..a"),
        ] {
            assert_eq!(normalize(path), expected, "{path}");
        }
    }
}
