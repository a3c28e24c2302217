//! XML answers: well-formed whatever the texts in them are, and read back as they were.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sg_ec2::codec::xml::Xml;

// Lines are texts, each of one element.
fuzz_target!(|input: &str| {
    let mut xml = Xml::new();
    xml.open_in("answer", "http://example.org/");
    for text in input.split('\n') {
        xml.element("text", text);
    }
    xml.empty("end");
    xml.close("answer");
    let xml = xml.finish();
    let document = roxmltree::Document::parse(&xml).expect("well-formed XML");
    let elements = document.root_element().children();
    let read: Vec<_> =
        elements.map(|element| element.text().unwrap_or_default().to_owned()).collect();
    let is_kept = |letter: char| {
        letter >= ' ' && !matches!(letter, '\u{FFFE}' | '\u{FFFF}') || matches!(letter, '\t' | '\r')
    };
    let kept = |text: &str| {
        text.chars().map(|letter| if is_kept(letter) { letter } else { '\u{FFFD}' }).collect()
    };
    let mut expected: Vec<String> = input.split('\n').map(kept).collect();
    expected.push(String::new());
    assert_eq!(read, expected);
});
