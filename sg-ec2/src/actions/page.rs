//! Pages. A token says behind which id the next page begins, so that changes between two pages neither repeat nor hide
//! what stays.

use crate::error::Error;

/// The token of a page: hex digits, so that nobody takes it for an id.
fn token_of(id: &str) -> String {
    id.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn id_of(token: &str) -> Option<String> {
    let pairs = token.as_bytes().chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair)
            .ok()
            .filter(|text| text.len() == 2 && !text.starts_with('+'))?;
        u8::from_str_radix(text, 16).ok()
    });
    String::from_utf8(pairs.collect::<Option<_>>()?).ok().filter(|id| !id.is_empty())
}

/// Which page is asked for.
pub(super) struct Page {
    after: Option<String>,
    limit: usize,
}

impl Page {
    pub(super) fn read(max_results: Option<i32>, next_token: Option<&str>) -> Result<Self, Error> {
        let limit = max_results.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(0));
        let token = next_token.filter(|token| !token.is_empty());
        let invalid =
            || Error::new("InvalidNextToken", "The token that NextToken has is not valid");
        let after = token.map(|token| id_of(token).ok_or_else(invalid)).transpose()?;
        Ok(Self { after, limit })
    }

    /// Cuts the page out of all items, which it sorts by id; gives the token of the next one.
    pub(super) fn cut<T>(
        &self,
        items: impl Iterator<Item = (String, T)>,
    ) -> (Vec<T>, Option<String>) {
        let mut items: Vec<_> =
            items.filter(|(id, _)| self.after.as_ref().is_none_or(|after| id > after)).collect();
        items.sort_by(|one, other| one.0.cmp(&other.0));
        let has_more = items.len() > self.limit;
        items.truncate(self.limit);
        let token = items.last().filter(|_| has_more).map(|(id, _)| token_of(id));
        (items.into_iter().map(|(_, item)| item).collect(), token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_cut_behind_each_other() {
        let items = || ["c", "a", "e", "b", "d"].map(|id| (id.to_owned(), id)).into_iter();
        let page = |max, token: Option<&str>| Page::read(max, token).expect("a page").cut(items());
        let (first, token) = page(Some(2), None);
        assert_eq!(first, ["a", "b"]);
        let (second, token) = page(Some(2), token.as_deref());
        assert_eq!(second, ["c", "d"]);
        let (third, token) = page(Some(2), token.as_deref());
        assert_eq!((third, token), (vec!["e"], None));
        assert_eq!(page(None, None), (vec!["a", "b", "c", "d", "e"], None));
        assert_eq!(page(Some(5), None).1, None);
    }

    #[test]
    fn tokens_of_others_are_refused() {
        for token in ["x", "6", "6g", "+6", "ff", "é"] {
            let refused = Page::read(None, Some(token)).err().expect(token);
            assert_eq!(refused.code, "InvalidNextToken", "{token}");
        }
    }
}
