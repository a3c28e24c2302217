//! A list that comes in pages: whole, or useless.

use crate::{
    id::Revision,
    store::{KeyValue, Page},
};

/// Pages so far.
#[derive(Debug, Default)]
pub(super) struct Listing {
    at: Option<Revision>,
    entries: Vec<KeyValue>,
}

pub(super) enum Progress {
    /// The next page is needed.
    More {
        at: Revision,
        after: String,
    },
    Whole(Vec<KeyValue>, Revision),
    /// The pages do not belong together.
    Useless,
}

impl Listing {
    pub(super) fn add(&mut self, page: Page) -> Progress {
        let at = *self.at.get_or_insert(page.at);
        let keys = self.entries.last().into_iter().chain(&page.entries).map(|entry| &entry.key);
        // Keys rise through all pages, or one was left out or came twice.
        let is_next = page.at == at && keys.is_sorted_by(|one, other| one < other);
        let is_stuck = page.has_more && page.entries.is_empty();
        if !is_next || is_stuck {
            return Progress::Useless;
        }
        self.entries.extend(page.entries);
        match self.entries.last() {
            Some(last) if page.has_more => Progress::More { at, after: last.key.clone() },
            _ => Progress::Whole(std::mem::take(&mut self.entries), at),
        }
    }
}
