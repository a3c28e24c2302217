use proptest::prelude::*;

use super::*;

fn refused(query: &str) -> String {
    let error = Parameters::decode(query.as_bytes(), b"").expect_err(query);
    assert_eq!((error.status, error.code), (400, "MalformedQueryString"), "{query}");
    error.message
}

#[test]
fn malformed_queries_are_refused() {
    let deep = ["A"; MAX_DEPTH + 1].join(".");
    let long = "A".repeat(MAX_NAME_BYTES + 1);
    let many: Vec<_> = (0..=MAX_PARAMETERS).map(|number| format!("A.{number}=1")).collect();
    for (query, expected) in [
        ("A=1&A=2", "The parameter A comes twice"),
        ("Action=A&Action=A", "The parameter Action comes twice"),
        ("A.1.B=1&A.1.B=", "The parameter A.1.B comes twice"),
        ("A..B=1", "The name of a parameter has an empty part"),
        (".A=1", "The name of a parameter has an empty part"),
        ("=1", "The name of a parameter has an empty part"),
        ("A.=1", "The name of a parameter has an empty part"),
        ("A=%ff", "A parameter is not valid UTF-8"),
        ("%c3%28=1", "A parameter is not valid UTF-8"),
        ("A=%", "A percent sign is not followed by two hexadecimal digits"),
        ("A=%4", "A percent sign is not followed by two hexadecimal digits"),
        ("A=%zz", "A percent sign is not followed by two hexadecimal digits"),
        ("A=%+1", "A percent sign is not followed by two hexadecimal digits"),
        (&*format!("{deep}=1"), "The name of a parameter has too many parts"),
        (&*format!("{long}=1"), "The name of a parameter is too long"),
        (&*many.join("&"), "The request has more than 4096 parameters"),
    ] {
        assert_eq!(refused(query), expected);
    }
    let raw = Parameters::decode(b"", b"A=\xff").expect_err("no UTF-8");
    assert_eq!(raw.message, "A parameter is not valid UTF-8");
    let both = Parameters::decode(b"A=1", b"A=2").expect_err("twice");
    assert_eq!(both.message, "The parameter A comes twice");
}

#[test]
fn forms_are_read_from_query_and_body() {
    let query = b"Action=X&X-Amz-Signature=00&X-Amz-Date=1&&A.2=%C3%A9+%2B";
    let parameters = Parameters::decode(query, b"Version=2016-11-15&A.1&B=a=b").expect("a form");
    assert_eq!(parameters.action(), Ok("X"));
    assert_eq!(parameters.version(), Some("2016-11-15"));
    let pairs = parameters.pairs();
    let expected = [("A.1", ""), ("A.2", "é +"), ("B", "a=b")];
    let expected: Vec<_> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    assert_eq!(pairs, expected);
    let limit: Vec<_> = (0..MAX_PARAMETERS).map(|number| format!("A.{number}=1")).collect();
    assert!(Parameters::decode(limit.join("&").as_bytes(), b"").is_ok());
}

#[test]
fn an_action_is_needed() {
    for query in ["", "Action=", "Version=1"] {
        let parameters = Parameters::decode(query.as_bytes(), b"").expect("a form");
        assert_eq!(parameters.action().expect_err("none").code, "MissingAction");
    }
}

/// Encodes as `form_urlencoded` does, and shares no code with the decoder.
fn encode(text: &str, choices: &mut impl Iterator<Item = u8>) -> String {
    let byte = |byte: u8| match byte {
        b' ' => {
            if choices.next() == Some(0) {
                "%20".into()
            } else {
                "+".into()
            }
        }
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'*' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn tree() -> impl Strategy<Value = Node> {
    let value = prop::option::of(any::<String>());
    let leaf = value.clone().prop_map(|value| Node { value, parts: BTreeMap::new() });
    let part = prop_oneof![
        "[A-Z][a-zA-Z]{0,6}"
            .prop_filter("not of the envelope", |name| name != "Action" && name != "Version"),
        (1..20u32).prop_map(|number| number.to_string()),
        "[^.\u{0}X]{1,3}",
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        let parts = prop::collection::btree_map(part.clone(), inner, 0..5);
        (value.clone(), parts).prop_map(|(value, parts)| Node { value, parts })
    })
}

/// The tree as a decoder can know it: without nodes that have no value below them.
fn pruned(node: &Node) -> Node {
    let parts = node.parts.iter().map(|(name, node)| (name.clone(), pruned(node)));
    let parts = parts.filter(|(_, node)| node.value.is_some() || !node.parts.is_empty());
    Node { value: node.value.clone(), parts: parts.collect() }
}

proptest! {
    #[test]
    fn a_tree_comes_back_as_it_was(
        mut root in tree(), choices in any::<Vec<u8>>(), in_body in any::<prop::sample::Index>(),
    ) {
        root.value = None;
        let root = pruned(&root);
        let mut choices = choices.into_iter();
        let pairs = Parameters { root: root.clone(), ..Parameters::default() };
        let pairs: Vec<_> = pairs.pairs().into_iter().map(|(name, value)| {
            format!("{}={}", encode(&name, &mut choices), encode(value, &mut choices))
        }).collect();
        let (query, body) = pairs.split_at(in_body.index(pairs.len() + 1));
        let decoded = Parameters::decode(query.join("&").as_bytes(), body.join("&").as_bytes());
        prop_assert_eq!(decoded.expect("a form").root, root);
    }

    #[test]
    fn nothing_panics(query in any::<Vec<u8>>(), body in any::<Vec<u8>>()) {
        let _ = Parameters::decode(&query, &body);
    }
}
