//! Messages of the feed as the replica and the snapshot take them.

use sg_api::feed::{Entry, Event};
use sg_store::{Batch, KeyValue, Page, Revision, store::Put};

pub fn store_event(event: Event) -> sg_store::Event {
    let create_revision = Revision(event.create_revision);
    let put = event.value.map(|value| Put { value: value.into_bytes(), create_revision });
    sg_store::Event { key: event.key, revision: Revision(event.revision), put }
}

pub fn batch(events: Vec<Event>, through: u64) -> Batch {
    Batch { events: events.into_iter().map(store_event).collect(), through: Revision(through) }
}

pub fn page(at: u64, entries: Vec<Entry>, has_more: bool) -> Page {
    let entry = |entry: Entry| KeyValue {
        key: entry.key,
        value: entry.value.into_bytes(),
        create_revision: Revision(entry.create_revision),
        mod_revision: Revision(entry.mod_revision),
    };
    Page { at: Revision(at), entries: entries.into_iter().map(entry).collect(), has_more }
}
