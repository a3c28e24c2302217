//! How an object is written: one JSON object, with its fields and a number `format`.
//!
//! Fields that this version does not know are ignored. A format that it does not know is refused, and
//! the reader keeps what it had.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Why a document is no object that this version can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    #[error("format {found} is newer than format {known}, the newest that this version knows")]
    Newer { found: u64, known: u32 },
    #[error("not valid: {0}")]
    Invalid(String),
    #[error("the document is of {0}")]
    Misplaced(String),
}

/// Writes an object with its format. Keys of its maps must be texts.
///
/// # Panics
///
/// Where the type is no JSON object: a mistake of this crate.
pub fn encode<T: Serialize>(format: u32, object: &T) -> Vec<u8> {
    let mut text = format!("{{\"format\":{format},").into_bytes();
    let start = text.len() - 1;
    serde_json::to_writer(&mut text, object).expect("objects have keys of text");
    // The object's own brace gives way to what stands before it.
    let brace = text.remove(start + 1);
    assert!(brace == b'{' && text.len() > start + 2, "an object with fields");
    text
}

/// Reads an object of a format up to `known`.
pub fn decode<T: DeserializeOwned>(known: u32, text: &[u8]) -> Result<T, Undecodable> {
    #[derive(Deserialize)]
    struct Head {
        format: u64,
    }

    let invalid = |error: serde_json::Error| Undecodable::Invalid(error.to_string());
    let Head { format } = serde_json::from_slice(text).map_err(invalid)?;
    if format == 0 {
        return Err(Undecodable::Invalid("there is no format 0".to_owned()));
    }
    if format > u64::from(known) {
        return Err(Undecodable::Newer { found: format, known });
    }
    serde_json::from_slice(text).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Pear {
        name: String,
    }

    fn pear(text: &str) -> Result<Pear, Undecodable> {
        decode(2, text.as_bytes())
    }

    #[test]
    fn the_format_comes_first() {
        let text = encode(2, &Pear { name: "a{".to_owned() });
        assert_eq!(String::from_utf8(text).expect("UTF-8"), r#"{"format":2,"name":"a{"}"#);
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_formats_are_not() {
        let expected = Pear { name: "a".to_owned() };
        assert_eq!(pear(r#"{"format":1,"name":"a","colour":{"x":[1]}}"#), Ok(expected));
        assert_eq!(
            pear(r#"{"format":3,"name":7}"#),
            Err(Undecodable::Newer { found: 3, known: 2 })
        );
    }

    #[test]
    fn a_document_that_is_none_says_what_is_wrong() {
        for text in ["", "{", "[]", r#"{"name":"a"}"#, r#"{"format":0,"name":"a"}"#] {
            assert!(matches!(pear(text), Err(Undecodable::Invalid(_))), "{text}");
        }
        let Err(Undecodable::Invalid(text)) = pear(r#"{"format":1}"#) else {
            panic!("it has no name");
        };
        assert!(text.contains("name"), "{text}");
    }
}
