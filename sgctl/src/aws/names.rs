//! Names for what AWS knows by ids: its own where they are free, as sg's rules for names want them.

use std::collections::HashSet;

const LONGEST: usize = 255;
/// EC2's punctuation, which is ours.
const PUNCTUATION: &str = " ._-:/()#,@[]+=&;{}!$*";

/// Names given so far, ignoring case.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// A name that nothing else has: that of AWS, or with the id behind it. `what` is for those that
    /// have none: ids alone are no names.
    pub(super) fn give(&mut self, name: &str, id: &str, what: &str) -> String {
        // A list of AWS's own is called com.amazonaws.REGION.SERVICE.
        let name = clean(name.trim());
        let name =
            name.strip_prefix("com.").filter(|it| it.starts_with("amazonaws")).unwrap_or(&name);
        let is_name = !name.is_empty() && !name.to_ascii_lowercase().starts_with("sg-");
        let name = if is_name { name.to_owned() } else { clean(&format!("{what} {id}")) };
        let longer = format!("{} ({})", &name[..name.len().min(LONGEST - 40)], clean(id));
        let numbered = (2..).map(|number| format!("{longer} {number}"));
        let mut candidates = [cut(&name), cut(&longer)].into_iter().chain(numbered);
        candidates.find(|name| self.0.insert(name.to_ascii_lowercase())).unwrap_or(name)
    }
}

fn cut(name: &str) -> String {
    name[..name.len().min(LONGEST)].trim_end().to_owned()
}

/// All ASCII afterwards.
fn clean(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || PUNCTUATION.contains(c);
    text.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

/// A description as it is, if it can be one here.
pub(super) fn description(text: &str) -> Option<String> {
    (clean(text) == text && text.len() <= LONGEST).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_ignoring_case() {
        let mut names = Names::default();
        assert_eq!(names.give("web", "sg-1", "group"), "web");
        assert_eq!(names.give("Web", "sg-2", "group"), "Web (sg-2)");
        assert_eq!(names.give("", "sg-3", "group"), "group sg-3");
        assert_eq!(names.give("SG-4", "sg-4", "group"), "group sg-4");
        assert_eq!(names.give("a\u{e9}b", "sg-5", "group"), "a_b");
        assert_eq!(names.give("web (sg-2)", "sg-2", "group"), "web (sg-2) (sg-2)");
        let s3 = names.give("com.amazonaws.eu-west-1.s3", "pl-6", "list");
        assert_eq!(s3, "amazonaws.eu-west-1.s3");
        let long = "x".repeat(300);
        assert_eq!(names.give(&long, "sg-7", "group").len(), 255);
        let other = names.give(&long, "sg-8", "group");
        assert!(other.ends_with("(sg-8)") && other.len() <= 255, "{other}");
    }
}
