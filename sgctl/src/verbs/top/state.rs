//! The state of `top`, its screens, and the effect of keys. No terminal here.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde::Serialize;
use sg_api::{Explanation, FlowRecord, Status};

use super::rates::{self, Interface};

/// The agent sends nothing of a second without traffic: after this there is none.
const QUIET: Duration = Duration::from_secs(2);
/// Drops that are kept to look at.
const DROPS: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Interfaces,
    Flows,
    Drops,
}

/// A logged packet, and the verdict that it would get now.
#[derive(Debug)]
pub(super) struct Explained {
    pub(super) record: FlowRecord,
    pub(super) answer: Result<Explanation, String>,
}

/// An answer of the agent.
#[derive(Debug)]
pub(super) enum News {
    Status(Status),
    /// Records of the time before: drops are worth a look, flows are over.
    Past(Vec<FlowRecord>),
    /// Records of the last second.
    Records(Vec<FlowRecord>),
    Explained(Box<Explained>),
    /// It does not answer; what there was stays on the screen.
    Lost(String),
}

/// A key's demand.
#[derive(Debug, PartialEq)]
pub(super) enum Wish {
    Nothing,
    Quit,
    Explain(Box<FlowRecord>),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) status: Option<(Instant, Status)>,
    pub(super) interfaces: Vec<Interface>,
    /// The flows of the last second.
    pub(super) busiest: Vec<FlowRecord>,
    heard: Option<Instant>,
    /// The newest first.
    pub(super) drops: VecDeque<FlowRecord>,
    pub(super) pane: Pane,
    pub(super) selected: usize,
    /// Only this interface's flows, drops and reasons.
    pub(super) only: Option<String>,
    pub(super) paused: bool,
    pub(super) explained: Option<Explained>,
    pub(super) trouble: Option<String>,
}

/// The whole of it for a program.
#[derive(Debug, Serialize)]
pub(super) struct Snapshot<'a> {
    revision: u64,
    interfaces: &'a [Interface],
    busiest: &'a [FlowRecord],
    drops: &'a VecDeque<FlowRecord>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            status: None,
            interfaces: Vec::new(),
            busiest: Vec::new(),
            heard: None,
            drops: VecDeque::new(),
            pane: Pane::Interfaces,
            selected: 0,
            only: None,
            paused: false,
            explained: None,
            trouble: None,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            revision: self.status.as_ref().map_or(0, |(_, status)| status.revision),
            interfaces: &self.interfaces,
            busiest: &self.busiest,
            drops: &self.drops,
        }
    }

    pub(super) fn take(&mut self, news: News, now: Instant) {
        match news {
            News::Explained(explained) => self.explained = Some(*explained),
            News::Lost(trouble) => self.trouble = Some(trouble),
            _ if self.paused => {}
            News::Status(status) => {
                self.trouble = None;
                let (at, before) = match &self.status {
                    Some((at, before)) => (*at, before),
                    None => (now, &status),
                };
                self.interfaces =
                    rates::between(before, &status, now.duration_since(at).as_secs_f64());
                self.status = Some((now, status));
                if self.heard.is_none_or(|heard| now.duration_since(heard) > QUIET) {
                    self.busiest.clear();
                }
            }
            News::Past(records) => self.take_drops(records),
            News::Records(records) => {
                self.heard = Some(now);
                self.busiest = records.iter().filter(|it| is(it, "ACCEPT")).cloned().collect();
                self.busiest.sort_by_key(|record| std::cmp::Reverse(record.bytes));
                self.take_drops(records);
            }
        }
        self.selected = self.selected.min(self.rows().saturating_sub(1));
    }

    fn take_drops(&mut self, records: Vec<FlowRecord>) {
        let shown = self.shown_drops().count();
        for record in records.into_iter().filter(|record| is(record, "REJECT")) {
            self.drops.push_front(record);
        }
        // Keep the selected line in place when lines come before it.
        if self.pane == Pane::Drops && self.selected > 0 {
            self.selected += self.shown_drops().count() - shown;
        }
        self.drops.truncate(DROPS);
    }

    pub(super) fn shown_flows(&self) -> impl Iterator<Item = &FlowRecord> {
        self.busiest.iter().filter(|record| self.is_shown(&record.interface))
    }

    pub(super) fn shown_drops(&self) -> impl Iterator<Item = &FlowRecord> {
        self.drops.iter().filter(|record| self.is_shown(&record.interface))
    }

    pub(super) fn is_shown(&self, interface: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == interface)
    }

    fn rows(&self) -> usize {
        match self.pane {
            Pane::Interfaces => self.interfaces.len(),
            Pane::Flows => self.shown_flows().count(),
            Pane::Drops => self.shown_drops().count(),
        }
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        let interrupt = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if interrupt => return Wish::Quit,
            KeyCode::Esc | KeyCode::Char('q') if self.explained.is_some() => self.explained = None,
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Esc => self.only = None,
            _ if self.explained.is_some() => {}
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Tab | KeyCode::Right => self.go_to(self.pane.next()),
            KeyCode::BackTab | KeyCode::Left => self.go_to(self.pane.next().next()),
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => {
                self.selected = (self.selected + 1).min(self.rows().saturating_sub(1));
            }
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = self.rows().saturating_sub(1),
            KeyCode::Enter => return self.enter(),
            _ => {}
        }
        Wish::Nothing
    }

    fn go_to(&mut self, pane: Pane) {
        (self.pane, self.selected) = (pane, 0);
    }

    fn enter(&mut self) -> Wish {
        let record = match self.pane {
            Pane::Interfaces => {
                let name = self.interfaces.get(self.selected).map(|it| it.name.clone());
                self.only = if self.only == name { None } else { name };
                return Wish::Nothing;
            }
            Pane::Flows => self.shown_flows().nth(self.selected),
            Pane::Drops => self.shown_drops().nth(self.selected),
        };
        record.cloned().map_or(Wish::Nothing, |record| Wish::Explain(record.into()))
    }
}

fn is(record: &FlowRecord, action: &str) -> bool {
    record.action.as_deref() == Some(action)
}

impl Pane {
    fn next(self) -> Self {
        match self {
            Self::Interfaces => Self::Flows,
            Self::Flows => Self::Drops,
            Self::Drops => Self::Interfaces,
        }
    }
}
