//! From the bytes of a file to the JSON values that it holds, one after the other.

use std::borrow::Cow;

use serde_json::{Deserializer, Value};

use crate::{
    error::{Error, Result},
    input::Input,
};

/// All JSON values of a file: a shell loop appends one document after the other.
///
/// # Errors
/// The file is not text, or not JSON.
pub(super) fn values(input: &Input) -> Result<Vec<Value>> {
    let name = &input.name;
    let text = text(input)?;
    // Each appended document may bring a byte-order mark of its own.
    let blank = |c: char| c.is_ascii_whitespace() || c == '\u{feff}';
    let mut rest = text.trim_start_matches(blank);
    let mut values = Vec::new();
    while !rest.is_empty() {
        let mut stream = Deserializer::from_str(rest).into_iter();
        let Some(value) = stream.next() else { break };
        values.push(value.map_err(|error| {
            let which = match values.len() {
                0 => name.clone(),
                before => format!("document {} of {name}", before + 1),
            };
            Error::Usage(format!(
                "{which} is not JSON as the AWS CLI prints it with --output json: {error}"
            ))
        })?);
        rest = rest[stream.byte_offset()..].trim_start_matches(blank);
    }
    if values.is_empty() {
        return Err(Error::Usage(format!("{name} is empty")));
    }
    Ok(values)
}

/// The text of a file in UTF-8 or UTF-16. PowerShell's `>` writes UTF-16.
fn text(input: &Input) -> Result<Cow<'_, str>> {
    let Input { name, bytes } = input;
    // JSON begins with an ASCII character, so a zero among the first two bytes tells the encoding
    // where there is no byte-order mark (RFC 4627, section 3).
    let unit: fn([u8; 2]) -> u16 = match bytes[..] {
        [0xff, 0xfe, ..] | [_, 0, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] | [0, _, ..] => u16::from_be_bytes,
        _ => {
            let text = str::from_utf8(bytes).map_err(|error| {
                let at = error.valid_up_to();
                let message = "is neither UTF-8 nor UTF-16: invalid byte at offset";
                Error::Usage(format!("{name} {message} {at}"))
            })?;
            return Ok(Cow::Borrowed(text));
        }
    };
    let (pairs, odd) = bytes.as_chunks();
    let text: std::result::Result<String, _> =
        char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect();
    match text {
        Ok(text) if odd.is_empty() => Ok(Cow::Owned(text)),
        _ => Err(Error::Usage(format!("{name} is not UTF-16, though it begins like it"))),
    }
}

/// Removes members that are `null`: the AWS CLI and jq print it for what is absent.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        other => other,
    }
}
