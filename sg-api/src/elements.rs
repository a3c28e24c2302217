//! The elements of a JSON array that comes in pieces: each as soon as it is whole, and none for longer.

/// Splits what comes. It looks at brackets and strings only; whether an element makes sense is for whoever
/// reads it.
#[derive(Debug, Default)]
pub(crate) struct Elements {
    /// Bytes of the element that is under way.
    element: Vec<u8>,
    /// Brackets that are open, the array's own among them.
    depth: u32,
    in_string: bool,
    is_escaped: bool,
    has_ended: bool,
}

impl Elements {
    /// Calls `each` with the elements that are whole now.
    pub(crate) fn take<E>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for &byte in bytes {
            let is_mark = !self.in_string;
            if self.in_string {
                self.in_string = self.is_escaped || byte != b'"';
                self.is_escaped = !self.is_escaped && byte == b'\\';
            } else if byte == b'"' {
                self.in_string = true;
            }
            let opens = is_mark && matches!(byte, b'[' | b'{');
            let closes = is_mark && matches!(byte, b']' | b'}');
            self.depth += u32::from(opens);
            let is_between = match self.depth {
                // The array's own brackets, and the commas in it.
                1 => opens || closes || is_mark && byte == b',',
                _ => false,
            };
            self.depth = self.depth.saturating_sub(u32::from(closes));
            self.has_ended |= closes && self.depth == 0;
            if !is_between {
                self.element.push(byte);
                continue;
            }
            if !self.element.trim_ascii().is_empty() {
                each(&self.element)?;
            }
            self.element.clear();
        }
        Ok(())
    }

    /// Whether the array was closed.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same however it is cut into pieces.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        for size in 1..=text.len().max(1) {
            let (mut elements, mut found) = (Elements::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                let each = |element: &[u8]| {
                    found.push(String::from_utf8_lossy(element).trim().to_owned());
                    Ok::<_, ()>(())
                };
                elements.take(piece, each).unwrap();
                assert_eq!(
                    elements.has_ended(),
                    found.len() == expected.len() && {
                        let end = piece.as_ptr() as usize + piece.len();
                        end == text.as_ptr() as usize + text.len()
                    }
                );
            }
            assert_eq!(found, expected, "{size} bytes at a time");
        }
    }

    #[test]
    fn elements_come_one_by_one() {
        check("[]", &[]);
        check("[1,2]", &["1", "2"]);
        check("[ {\"a\": [1, 2]},\n{\"b\": {}} ]", &["{\"a\": [1, 2]}", "{\"b\": {}}"]);
        check(r#"["a,b","]","\"","\\"]"#, &[r#""a,b""#, r#""]""#, r#""\"""#, r#""\\""#]);
    }

    #[test]
    fn an_array_that_breaks_off_has_not_ended() {
        let mut elements = Elements::default();
        elements.take::<()>(b"[{\"a\": 1}, {\"a\"", |_| Ok(())).unwrap();
        assert!(!elements.has_ended());
    }
}
