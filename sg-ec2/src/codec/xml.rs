//! XML answers: well-formed whatever text they hold.

/// An XML document that grows at its end. Names of elements are ours and need no escaping.
#[derive(Clone, Debug)]
pub struct Xml {
    text: String,
}

impl Default for Xml {
    fn default() -> Self {
        Self::new()
    }
}

impl Xml {
    pub fn new() -> Self {
        Self { text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned() }
    }

    /// Writes a start tag.
    pub fn open(&mut self, name: &str) {
        for part in ["<", name, ">"] {
            self.text.push_str(part);
        }
    }

    /// Writes a start tag with a namespace.
    pub fn open_in(&mut self, name: &str, namespace: &str) {
        for part in ["<", name, " xmlns=\"", namespace, "\">"] {
            self.text.push_str(part);
        }
    }

    /// Writes an end tag.
    pub fn close(&mut self, name: &str) {
        for part in ["</", name, ">"] {
            self.text.push_str(part);
        }
    }

    /// Writes an element without content.
    pub fn empty(&mut self, name: &str) {
        for part in ["<", name, "/>"] {
            self.text.push_str(part);
        }
    }

    /// Writes an element that holds a text. Characters that XML 1.0 cannot hold (section 2.2) become U+FFFD. A carriage
    /// return is escaped, because a reader makes it a line feed (section 2.11).
    pub fn element(&mut self, name: &str, text: &str) {
        self.open(name);
        for letter in text.chars() {
            match letter {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                '\r' => self.text.push_str("&#xD;"),
                '\t' | '\n' | ' '..='\u{FFFD}' | '\u{10000}'.. => self.text.push(letter),
                _ => self.text.push(char::REPLACEMENT_CHARACTER),
            }
        }
        self.close(name);
    }

    pub fn finish(self) -> String {
        self.text
    }
}

/// A value that an answer can hold.
pub(crate) trait ToXml {
    /// Appends the element of this name; nothing where there is no value.
    fn write(&self, name: &str, xml: &mut Xml);
}

/// A structure: what its element holds, without the element.
pub(crate) trait Members {
    fn write_members(&self, xml: &mut Xml);
}

/// The answer of an action that returns nothing, as EC2 writes it.
impl Members for () {
    fn write_members(&self, xml: &mut Xml) {
        xml.element("return", "true");
    }
}

impl ToXml for String {
    fn write(&self, name: &str, xml: &mut Xml) {
        xml.element(name, self);
    }
}

impl ToXml for bool {
    fn write(&self, name: &str, xml: &mut Xml) {
        xml.element(name, if *self { "true" } else { "false" });
    }
}

impl ToXml for i32 {
    fn write(&self, name: &str, xml: &mut Xml) {
        xml.element(name, &self.to_string());
    }
}

impl ToXml for i64 {
    fn write(&self, name: &str, xml: &mut Xml) {
        xml.element(name, &self.to_string());
    }
}

impl<T: ToXml> ToXml for Option<T> {
    fn write(&self, name: &str, xml: &mut Xml) {
        if let Some(value) = self {
            value.write(name, xml);
        }
    }
}

/// An empty list is an empty element, as EC2 writes it.
impl<T: ToXml> ToXml for Vec<T> {
    fn write(&self, name: &str, xml: &mut Xml) {
        if self.is_empty() {
            return xml.empty(name);
        }
        xml.open(name);
        for item in self {
            item.write("item", xml);
        }
        xml.close(name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> String {
        let mut xml = Xml::new();
        xml.open_in("a", "http://example.org/");
        xml.element("b", text);
        xml.empty("c");
        xml.close("a");
        let xml = xml.finish();
        let document = roxmltree::Document::parse(&xml).expect(&xml);
        let element = document.root_element().first_element_child().expect("b");
        assert_eq!(element.tag_name().namespace(), Some("http://example.org/"));
        element.text().unwrap_or_default().to_owned()
    }

    #[test]
    fn texts_are_escaped() {
        for text in ["", "a & b", "<b>]]></b>", "\"'", "\r\n\t \r", "é\u{10FFFF}\u{FFFD}", "&#xD;"]
        {
            assert_eq!(read(text), text);
        }
        assert_eq!(read("a\0b\u{1f}\u{FFFE}\u{FFFF}"), "a\u{FFFD}b\u{FFFD}\u{FFFD}\u{FFFD}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(text in any::<String>()) {
            let is_kept = |letter: char| {
                letter >= ' ' && !matches!(letter, '\u{FFFE}' | '\u{FFFF}') || "\t\n\r".contains(letter)
            };
            let expected: String =
                text.chars().map(|letter| if is_kept(letter) { letter } else { '\u{FFFD}' }).collect();
            prop_assert_eq!(read(&text), expected);
        }
    }
}
