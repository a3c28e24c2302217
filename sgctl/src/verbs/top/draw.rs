//! The screen.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Block, Borders, Clear, Paragraph, Row, Table, TableState, Wrap},
};
use sg_api::{FlowRecord, ShownRule};
use sg_policy::describe::plain;

use super::{
    rates::Rate,
    state::{Explained, Pane, State},
};
use crate::{output::short, reasons};

const KEYS: &str = "Tab pane  Up/Down select  Enter explain/filter  p pause  Esc back  q quit";
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let interfaces = (state.interfaces.len() as u16).clamp(1, 5) + 2;
    let [title, top, middle, bottom, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(interfaces),
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [reasons, flows] =
        Layout::horizontal([Constraint::Length(30), Constraint::Fill(1)]).areas(middle);
    frame.render_widget(Line::styled(plain(&head(state)).into_owned(), BOLD), title);
    draw_interfaces(frame, top, state);
    draw_reasons(frame, reasons, state);
    draw_flows(frame, flows, state);
    draw_drops(frame, bottom, state);
    frame.render_widget(Line::styled(KEYS, Style::new().fg(Color::Cyan)), keys);
    if let Some(explained) = &state.explained {
        draw_explained(frame, explained);
    }
}

fn head(state: &State) -> String {
    let Some((_, status)) = &state.status else { return "sg top: waiting for the agent".into() };
    let used: u64 = status.interfaces.iter().map(|interface| interface.flows.used).sum();
    let capacity = status.interfaces.iter().map(|interface| interface.flows.capacity).max();
    let mut head = format!(
        "sg top  revision {}, {} rules, {} of {} flows",
        status.revision,
        status.rules,
        short(used),
        short(capacity.unwrap_or(0))
    );
    if status.confirm_until.is_some() {
        head += "  NOT CONFIRMED";
    }
    if let Some(only) = &state.only {
        head += &format!("  only {only}");
    }
    if state.paused {
        head += "  PAUSED";
    }
    if let Some(trouble) = &state.trouble {
        head += &format!("  {trouble}");
    }
    head
}

/// A table under a title, with the chosen row if it is the pane that one is in.
fn pane<'a>(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &'a str,
    table: Table<'a>,
    state: &State,
    pane: Option<Pane>,
) {
    let is_chosen = pane == Some(state.pane);
    let style = if is_chosen { BOLD.fg(Color::Yellow) } else { Style::new() };
    let block = Block::new().borders(Borders::TOP).title(title).border_style(style);
    let chosen = is_chosen.then_some(state.selected);
    let mut selection = TableState::new().with_selected(chosen);
    let table = table.block(block).row_highlight_style(CHOSEN);
    frame.render_stateful_widget(table, area, &mut selection);
}

fn draw_interfaces(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let rows = state.interfaces.iter().map(|interface| {
        let style = match interface.datapath.as_str() {
            "none" => Style::new().fg(Color::Red),
            _ => Style::new(),
        };
        Row::new([
            plain(&interface.name).into_owned(),
            interface.role.clone(),
            interface.datapath.clone(),
            volume(interface.ingress),
            volume(interface.egress),
            short(interface.dropped.packets),
            short(interface.flows),
        ])
        .style(style)
    });
    let widths = [16, 5, 5, 15, 15, 8, 7].map(Constraint::Length);
    let header = ["", "ROLE", "PATH", "IN PKT/BIT/S", "OUT PKT/BIT/S", "DROP/S", "FLOWS"];
    let table = Table::new(rows, widths).header(Row::new(header).style(BOLD));
    pane(frame, area, "Interfaces", table, state, Some(Pane::Interfaces));
}

fn draw_reasons(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let shown = state.interfaces.iter().filter(|interface| state.is_shown(&interface.name));
    let mut sums: Vec<(&str, &str, bool, u64)> = Vec::new();
    for it in shown.flat_map(|interface| &interface.reasons) {
        match sums.iter_mut().find(|sum| (sum.0, sum.1) == (it.direction, it.reason.as_str())) {
            Some(sum) => sum.3 += it.rate.packets,
            None => sums.push((it.direction, &it.reason, it.allowed, it.rate.packets)),
        }
    }
    sums.sort_by_key(|sum| std::cmp::Reverse(sum.3));
    let rows = sums.into_iter().map(|(direction, reason, allowed, packets)| {
        let arrow = if direction == "ingress" { "in" } else { "out" };
        let colour = if allowed { Color::Reset } else { Color::Red };
        Row::new([arrow.to_owned(), short(packets), reason.to_owned()]).fg_of(colour)
    });
    let widths = [Constraint::Length(3), Constraint::Length(6), Constraint::Fill(1)];
    pane(frame, area, "Packets/s by reason", Table::new(rows, widths), state, None);
}

trait Coloured {
    fn fg_of(self, colour: Color) -> Self;
}

impl Coloured for Row<'_> {
    fn fg_of(self, colour: Color) -> Self {
        self.style(Style::new().fg(colour))
    }
}

fn draw_flows(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let rows = state.shown_flows().map(|record| {
        let bits = short(record.bytes.unwrap_or(0) * 8);
        Row::new([bits, plain(&record.interface).into_owned(), ends(record)])
    });
    let widths = [Constraint::Length(6), Constraint::Length(8), Constraint::Fill(1)];
    let title = "Busiest flows, bit/s";
    pane(frame, area, title, Table::new(rows, widths), state, Some(Pane::Flows));
}

fn draw_drops(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let rows = state.shown_drops().map(|record| {
        let way = if record.direction.as_deref() == Some("ingress") { "in" } else { "out" };
        Row::new([
            clock(record.end),
            plain(&record.interface).into_owned(),
            way.to_owned(),
            short(record.packets.unwrap_or(0)),
            record.reason.clone().unwrap_or_default(),
            ends(record),
        ])
    });
    let widths = [
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(3),
        Constraint::Length(5),
        Constraint::Length(12),
        Constraint::Fill(1),
    ];
    let title = "Newest drops (UTC, packets)";
    pane(frame, area, title, Table::new(rows, widths), state, Some(Pane::Drops));
}

fn draw_explained(frame: &mut Frame<'_>, explained: &Explained) {
    let Rect { width, height, .. } = frame.area();
    let (w, h) = (width.saturating_sub(4).min(100), height.saturating_sub(4).min(20));
    let area = Rect::new((width - w) / 2, (height - h) / 2, w, h);
    let block = Block::bordered().title("Explain (Esc: back)");
    // Its lines are ours; names and the agent's errors in them are not.
    let words = words(explained);
    let lines: Vec<Line<'_>> = words.lines().map(|line| Line::from(plain(line))).collect();
    let text = Paragraph::new(lines).wrap(Wrap { trim: false }).block(block);
    frame.render_widget(Clear, area);
    frame.render_widget(text, area);
}

fn words(explained: &Explained) -> String {
    let record = &explained.record;
    let reason = record.reason.as_deref().unwrap_or("-");
    let mut text = format!(
        "{} {} {}\n{} then: {reason}",
        record.interface,
        record.direction.as_deref().unwrap_or("-"),
        ends(record),
        record.action.as_deref().unwrap_or("-"),
    );
    if let Some(meaning) = reasons::in_words(reason) {
        text += &format!(", {meaning}");
    }
    match &explained.answer {
        Err(error) => text += &format!("\n\nnow: {error}"),
        Ok(answer) => {
            text += &format!("\n\na packet like it now: {}: {}", answer.verdict, answer.reason);
            if let Some(meaning) = reasons::in_words(&answer.reason) {
                text += &format!(", {meaning}");
            }
            if answer.rules.is_empty() {
                text += "\nno rule allows it";
            }
            for rule in &answer.rules {
                text += &format!("\nallowed by {}", rule_in_words(rule));
            }
        }
    }
    text
}

fn rule_in_words(rule: &ShownRule) -> String {
    let ShownRule { id, group, direction, protocol, ports, peer, .. } = rule;
    format!("{id}: group {group}, {direction} {protocol} {ports} {peer}")
}

fn volume(rate: Rate) -> String {
    format!("{}/{}", short(rate.packets), short(rate.bytes * 8))
}

/// Protocol, source and destination.
pub(super) fn ends(record: &FlowRecord) -> String {
    let (Some(src), Some(dst)) = (record.src, record.dst) else { return "not IP".into() };
    let protocol = record.protocol.map_or_else(|| "-".to_owned(), protocol);
    match (record.protocol, record.sport, record.dport) {
        (Some(6 | 17), Some(sport), Some(dport)) => {
            let (src, dst) = ((src, sport).into(), (dst, dport).into());
            let (src, dst): (std::net::SocketAddr, std::net::SocketAddr) = (src, dst);
            format!("{protocol} {src} > {dst}")
        }
        _ => format!("{protocol} {src} > {dst}"),
    }
}

pub(super) fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        other => other.to_string(),
    }
}

/// Time of day.
pub(super) fn clock(unix: u64) -> String {
    let of_day = unix % 86_400;
    format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}
