//! The local feed: the objects that the agent of this host needs, as they change. See [`sg_api::feed`].

use std::{future::pending, io, time::Duration};

use anyhow::{Context as _, bail};
use sg_api::{
    feed::{Entry, Event, FromHost, MAX_LINE, PROGRESS_S, Position, ToHost, VERSION},
    lines::{Reader, write},
};
use sg_store::{
    EpochId, HostName, Key, Revision, Store, Watch, WatchError,
    key::ROOT,
    store::{KeyValue, List, epoch},
};
use tokio::{
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    time::{interval, timeout},
};

use super::{
    host::{self, Joining},
    peer::accept_root,
};
use crate::state::Server;

/// From a connection to its first message, and for each message to get out.
const PATIENCE: Duration = Duration::from_secs(10);
/// Documents of a page of the list, or of a message of events, in bytes.
const PAGE: usize = 1 << 20;

/// Serves agents of this host until the process ends.
pub async fn serve(listener: UnixListener, server: Server) {
    loop {
        let stream = accept_root(&listener).await;
        let server = server.clone();
        tokio::spawn(async move {
            if let Err(error) = serve_one(stream, &server).await {
                tracing::info!("the feed of an agent ended: {error:#}");
            }
        });
    }
}

async fn serve_one(stream: UnixStream, server: &Server) -> anyhow::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = Reader::new(reader, MAX_LINE);
    let hello = timeout(PATIENCE, reader.next()).await.context("no hello")??;
    let Some(FromHost::Hello { version, host, machine_id, agent, at }) = hello else {
        bail!("the first message is no hello");
    };
    let refused = match admit(version, &host) {
        Ok(name) => match server.hosts.connect(name.clone()) {
            Some(connected) => {
                let joining = Joining { name, machine_id, agent };
                host::join(server, &joining).await?;
                tracing::info!(host = %joining.name, "an agent follows");
                return follow(server, &joining.name, connected, at, reader, writer).await;
            }
            None => format!("an agent of the host {name} is connected already"),
        },
        Err(reason) => reason,
    };
    send(&mut writer, &ToHost::Refused { reason: refused.clone() }).await?;
    bail!(refused)
}

fn admit(version: u32, host: &str) -> Result<HostName, String> {
    if version != VERSION {
        return Err(format!("the agent speaks feed version {version}, the server {VERSION}"));
    }
    host.parse().map_err(|error| format!("the host's name: {error}"))
}

async fn follow(
    server: &Server,
    host: &HostName,
    connected: crate::hosts::Connected<'_>,
    at: Option<Position>,
    mut reader: Reader,
    mut writer: OwnedWriteHalf,
) -> anyhow::Result<()> {
    let visible = Visible::to(host);
    let mut events = start(&*server.store, &visible, at, &mut writer).await?;
    let (statuses, mut newest) = tokio::sync::watch::channel(None);
    let listen = async {
        loop {
            match reader.next().await {
                Ok(Some(FromHost::Status(status))) => statuses.send_replace(Some(status)),
                Ok(Some(FromHost::Hello { .. })) => {
                    return Err(io::Error::other("a second hello"));
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(error),
            };
        }
    };
    // Reports are written apart from the events, so a slow disk delays no event.
    let report = async {
        while newest.changed().await.is_ok() {
            let status = newest.borrow_and_update().clone();
            if let Some(status) = status {
                connected.report(Revision(status.enforced), status.faults.clone());
                host::report(server, host, &status).await?;
            }
        }
        pending::<anyhow::Result<()>>().await
    };
    let tell = async {
        let mut progress = interval(Duration::from_secs(PROGRESS_S));
        let mut through = events.through;
        loop {
            let batch = tokio::select! {
                batch = events.watch.next() => Some(batch?),
                _ = progress.tick() => None,
            };
            let mut shown = Vec::new();
            if let Some(batch) = batch {
                through = through.max(batch.through);
                shown =
                    batch.events.into_iter().filter(|event| visible.shows(&event.key)).collect();
                // The rest of the progress comes with the next tick, unless the host waits for it.
            }
            send_events(&mut writer, shown, through).await?;
        }
    };
    tokio::select! {
        done = listen => Ok(done?),
        done = report => done,
        done = tell => done,
    }
}

/// A watch, and how far the host is.
struct Following {
    watch: Box<dyn Watch>,
    through: Revision,
}

/// Greets the host, lists where it cannot resume, and begins to watch.
async fn start(
    store: &dyn Store,
    visible: &Visible,
    at: Option<Position>,
    writer: &mut OwnedWriteHalf,
) -> anyhow::Result<Following> {
    let (record, revision) = epoch(store).await?;
    let welcome = |resumes| ToHost::Welcome {
        version: VERSION,
        epoch: record.epoch.to_string(),
        follows: record.follows.as_ref().map(EpochId::to_string),
        revision: revision.0,
        resumes,
    };
    let known = at.filter(|at| at.epoch == record.epoch.to_string());
    if let Some(known) = known {
        let from = Revision(known.revision).next();
        match store.watch(ROOT.to_owned(), from).await {
            Ok(watch) => {
                send(writer, &welcome(true)).await?;
                return Ok(Following { watch, through: Revision(known.revision) });
            }
            // The host sees by the revision that the store went back, and holds.
            Err(WatchError::Future { .. } | WatchError::Compacted { .. }) => {}
            Err(WatchError::Fault(fault)) => return Err(fault.into()),
        }
    }
    send(writer, &welcome(false)).await?;
    let through = send_list(store, visible, revision, writer).await?;
    let watch = store.watch(ROOT.to_owned(), through.next()).await?;
    Ok(Following { watch, through })
}

async fn send_list(
    store: &dyn Store,
    visible: &Visible,
    at: Revision,
    writer: &mut OwnedWriteHalf,
) -> anyhow::Result<Revision> {
    let mut list = List { at: Some(at), ..List::prefix(ROOT) };
    loop {
        let page = store.list(list.clone()).await?;
        list.after = page.last().map(ToOwned::to_owned).or(list.after);
        let shown = page.entries.into_iter().filter(|entry| visible.shows(&entry.key));
        let mut parts = by_size(shown, |entry| entry.key.len() + entry.value.len()).into_iter();
        let mut part = parts.next().unwrap_or_default();
        loop {
            let next = parts.next();
            let entries = part.into_iter().map(entry).collect::<anyhow::Result<_>>()?;
            let has_more = next.is_some() || page.has_more;
            send(writer, &ToHost::List { at: at.0, entries, has_more }).await?;
            match next {
                Some(next) => part = next,
                None => break,
            }
        }
        if !page.has_more {
            return Ok(at);
        }
    }
}

fn entry(entry: KeyValue) -> anyhow::Result<Entry> {
    Ok(Entry {
        value: String::from_utf8(entry.value).with_context(|| entry.key.clone())?,
        key: entry.key,
        create_revision: entry.create_revision.0,
        mod_revision: entry.mod_revision.0,
    })
}

/// Sends whole revisions: a host takes each one whole. Without events it says how far the store is.
async fn send_events(
    writer: &mut OwnedWriteHalf,
    events: Vec<sg_store::Event>,
    through: Revision,
) -> anyhow::Result<()> {
    let mut parts = by_revision(events).into_iter().peekable();
    while let Some(part) = parts.next() {
        let last = part.last().map(|event| event.revision);
        let reached = if parts.peek().is_some() { last.unwrap_or(through) } else { through };
        let events = part.into_iter().map(event).collect::<anyhow::Result<_>>()?;
        send(writer, &ToHost::Events { events, through: reached.0 }).await?;
    }
    Ok(())
}

fn event(event: sg_store::Event) -> anyhow::Result<Event> {
    let (value, create_revision) = match event.put {
        Some(put) => {
            let text = String::from_utf8(put.value).with_context(|| event.key.clone())?;
            (Some(text), put.create_revision.0)
        }
        None => (None, 0),
    };
    Ok(Event { key: event.key, revision: event.revision.0, value, create_revision })
}

/// Cuts events into parts of about [`PAGE`] bytes, between revisions only. There is at least one part.
fn by_revision(events: Vec<sg_store::Event>) -> Vec<Vec<sg_store::Event>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::<sg_store::Event>::new(), 0);
    for event in events {
        let begins = part.last().is_some_and(|last| last.revision != event.revision);
        if begins && bytes > PAGE {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += event.key.len() + event.put.as_ref().map_or(0, |put| put.value.len());
        part.push(event);
    }
    parts.push(part);
    parts
}

async fn send(writer: &mut OwnedWriteHalf, message: &ToHost) -> anyhow::Result<()> {
    timeout(PATIENCE, write(writer, message)).await.context("the agent does not read")??;
    Ok(())
}

/// Cuts a page into parts of [`PAGE`] bytes or one entry.
fn by_size<T>(entries: impl Iterator<Item = T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for entry in entries {
        let added = size(&entry);
        if !part.is_empty() && bytes + added > PAGE {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += added;
        part.push(entry);
    }
    parts.push(part);
    parts
}

/// The keys that a host may read: those of VPCs with their blobs, the epoch and the host's own record. Accounts, their keys
/// and the records of other hosts are not among them.
struct Visible {
    vpcs: String,
    blobs: String,
    epoch: String,
    host: String,
}

impl Visible {
    fn to(host: &HostName) -> Self {
        Self {
            vpcs: format!("{ROOT}v/"),
            blobs: format!("{ROOT}b/"),
            epoch: Key::Epoch.to_string(),
            host: Key::Host(host.clone()).to_string(),
        }
    }

    fn shows(&self, key: &str) -> bool {
        key.starts_with(&self.vpcs)
            || key.starts_with(&self.blobs)
            || key == self.epoch
            || key == self.host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_reads_no_accounts_and_no_other_hosts() {
        let visible = Visible::to(&"h1".parse().unwrap());
        for key in ["/sg/1/v/vpc-1/g/sg-1", "/sg/1/b/vpc-1/0/0", "/sg/1/epoch", "/sg/1/h/h1"] {
            assert!(visible.shows(key), "{key}");
        }
        for key in ["/sg/1/acct/1", "/sg/1/x/key/AKIA", "/sg/1/h/h10", "/sg/1/h/h", "/sg/1/s/h1"] {
            assert!(!visible.shows(key), "{key}");
        }
    }

    #[test]
    fn parts_are_cut_by_bytes_and_lose_nothing() {
        let sizes = [PAGE / 2, PAGE / 2, 1, 3 * PAGE, 5, 6];
        let parts = by_size(sizes.iter().copied(), |size| *size);
        let lengths: Vec<_> = parts.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1, 1, 2]);
        assert_eq!(parts.concat(), sizes);
        assert_eq!(by_size(std::iter::empty::<usize>(), |size| *size), [Vec::<usize>::new()]);
    }

    #[test]
    fn a_revision_stays_in_one_message() {
        let event = |revision, bytes| sg_store::Event {
            key: "k".to_owned(),
            revision: Revision(revision),
            put: Some(sg_store::store::Put { value: vec![0; bytes], create_revision: Revision(1) }),
        };
        let events = [(1, PAGE), (1, PAGE), (2, 1), (2, PAGE), (3, 1), (4, 1)];
        let events: Vec<_> =
            events.into_iter().map(|(revision, bytes)| event(revision, bytes)).collect();
        let parts = by_revision(events.clone());
        let revisions: Vec<Vec<u64>> =
            parts.iter().map(|part| part.iter().map(|event| event.revision.0).collect()).collect();
        assert_eq!(revisions, [vec![1, 1], vec![2, 2], vec![3, 4]]);
        assert_eq!(parts.concat(), events);
        assert_eq!(by_revision(Vec::new()), [Vec::new()]);
    }
}
