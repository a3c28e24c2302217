//! Takes in what there is to record, and gives it out as records.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use sg_common::{Direction, Reason, event::Event};

use super::{
    names::InterfaceNames,
    packet,
    sink::Sinks,
    tracked::Tracked,
    window::{Key, Missing, Volume, Window},
};
use crate::{
    api::FlowRecord,
    datapath::{FlowLogReader, NotLogged},
    system::clock::unix_now,
};

/// Records that are kept for those who ask.
const RECENT: usize = 4096;
/// Tracked flows are looked at this often: more often than the shortest idle timeout, 10 s.
const LOOK: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Recorder {
    reader: FlowLogReader,
    names: InterfaceNames,
    sinks: Sinks,
    interval: u64,
    window: Window,
    /// The window of this second, if somebody follows.
    second: Option<Window>,
    tracked: Tracked,
    looked: Instant,
    recent: VecDeque<FlowRecord>,
    /// By slot, the numbers at the last look.
    not_logged: BTreeMap<u16, NotLogged>,
    /// A ring was full since then.
    full: bool,
}

impl Recorder {
    pub(super) fn new(
        reader: FlowLogReader,
        names: InterfaceNames,
        sinks: Sinks,
        interval: u64,
    ) -> Self {
        let now = unix_now();
        let mut recorder = Self {
            reader,
            names,
            sinks,
            interval,
            window: Window::new(now),
            second: None,
            tracked: Tracked::new(now),
            looked: Instant::now(),
            recent: VecDeque::new(),
            not_logged: BTreeMap::new(),
            full: false,
        };
        recorder.look();
        // Discard the numbers of packets that an earlier agent's log lacks: we cannot date them.
        recorder.read_not_logged();
        recorder.window = Window::new(now);
        recorder
    }

    /// Empties the rings, and writes windows that are due.
    pub(super) fn drain(&mut self) {
        let now = unix_now();
        let Self { reader, window, second, .. } = self;
        self.full |= reader.drain(&mut |event| {
            if let Some((key, volume)) = seen(event, now) {
                if let Some(second) = second {
                    second.add(key.clone(), volume);
                }
                window.add(key, volume);
            }
        });
        if self.looked.elapsed() >= LOOK {
            self.look();
        }
        // Also when the clock was set back.
        if now.wrapping_sub(self.window.start) >= self.interval {
            self.close();
        }
    }

    pub(super) fn be_followed(&mut self) {
        if self.second.is_none() {
            self.second = Some(Window::new(unix_now()));
        }
    }

    /// The records of the second that is over, if somebody follows.
    pub(super) fn second(&mut self, is_followed: bool) -> Vec<FlowRecord> {
        if self.second.is_none() {
            return Vec::new();
        }
        self.look();
        if self.full {
            self.read_not_logged();
        }
        let now = unix_now();
        let next = is_followed.then(|| Window::new(now));
        let over = std::mem::replace(&mut self.second, next);
        over.map_or_else(Vec::new, |over| over.records(now, &self.names.get()))
    }

    /// Records of the past, then of the window that is open, the oldest first.
    pub(super) fn recent(&mut self) -> Vec<FlowRecord> {
        self.drain();
        self.look();
        self.read_not_logged();
        let open = self.window.records(unix_now(), &self.names.get());
        self.recent.iter().cloned().chain(open).collect()
    }

    /// The next window is written there.
    pub(super) fn reopen(&mut self, sinks: Sinks, interval: u64) {
        (self.sinks, self.interval) = (sinks, interval);
    }

    pub(super) fn finish(&mut self) {
        self.drain();
        self.close();
    }

    fn close(&mut self) {
        self.look();
        self.read_not_logged();
        let (now, names) = (unix_now(), self.names.get());
        let window = std::mem::replace(&mut self.window, Window::new(now));
        let mut records = window.records(now, &names);
        let kept = records.len().min(RECENT);
        self.recent.drain(..(self.recent.len() + kept).saturating_sub(RECENT));
        self.recent.extend(records[records.len() - kept..].iter().cloned());
        records.extend(window.without_data(now, &names));
        self.sinks.write(&records);
    }

    /// Adds the packets of tracked flows since the last look to the windows.
    fn look(&mut self) {
        let now = unix_now();
        let Self { reader, window, second, tracked, .. } = self;
        tracked.begin();
        let looked = reader.for_each_flow(&mut |number, tag, flow| {
            if let Some((key, volume)) = tracked.see(number, tag, flow, now) {
                if let Some(second) = second {
                    second.add(key.clone(), volume);
                }
                window.add(key, volume);
            }
        });
        tracked.end(now);
        self.looked = Instant::now();
        if let Err(error) = looked {
            tracing::warn!(%error, "the flow table could not be read for the flow log");
        }
    }

    fn read_not_logged(&mut self) {
        self.full = false;
        let slots: Vec<u16> = self.names.get().keys().copied().collect();
        let now = match self.reader.not_logged(&slots) {
            Ok(now) => now,
            Err(error) => {
                tracing::warn!(%error, "the number of packets without a record cannot be read");
                return;
            }
        };
        for (slot, counters) in &now {
            let before = self.not_logged.get(slot).copied().unwrap_or_default();
            for direction in Direction::BOTH {
                let (was, is) = (before[direction as usize], counters[direction as usize]);
                // A slot that another interface has counts from 0.
                let was = if is.packets < was.packets { Default::default() } else { was };
                let missing = Missing {
                    packets: is.packets - was.packets,
                    bytes: is.bytes.saturating_sub(was.bytes),
                };
                if let Some(second) = &mut self.second {
                    second.add_missing(*slot, direction, missing);
                }
                self.window.add_missing(*slot, direction, missing);
            }
        }
        self.not_logged = now;
    }
}

fn seen(event: &Event, now: u64) -> Option<(Key, Volume)> {
    let reason = Reason::from_number(event.reason)?;
    let direction = if event.direction == 0 { Direction::Ingress } else { Direction::Egress };
    let captured = event.packet.get(..usize::from(event.captured))?;
    let headers = packet::read(captured);
    let key = Key {
        slot: event.slot,
        direction,
        reason,
        packet: headers.map(|it| (it.src, it.dst, it.sport, it.dport, it.protocol)),
    };
    let tcp_flags = headers.map_or(0, |headers| headers.tcp_flags);
    let bytes = u64::from(event.length);
    Some((key, Volume { packets: 1, bytes, tcp_flags, start: now, end: now }))
}
