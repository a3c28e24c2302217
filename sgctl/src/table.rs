//! Tables for people: upper-case header, two spaces between columns, nothing to strip for `awk`.
//!
//! Rows are made twice, once to be measured and once to be written, so that half a million flows
//! take no more memory than their text.

use std::io::{self, IsTerminal as _};

use sg_policy::describe::plain;

/// Between columns.
const GAP: usize = 2;
/// Narrowest last column that is worth wrapping.
const LAST_COLUMN: usize = 16;

/// A table as text. On a terminal the last column wraps at the edge; nothing else ever wraps, so
/// that what one copies from the others is whole.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]> + Clone,
) -> String {
    let terminal = if io::stdout().is_terminal() { terminal_size::terminal_size() } else { None };
    layout(header, rows, terminal.map(|(width, _)| width.0.into()))
}

fn layout<const N: usize>(
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]> + Clone,
    terminal: Option<usize>,
) -> String {
    // Names of files and interfaces are what somebody else has chosen.
    let rows = rows.map(|row| row.map(|cell| plain(&cell).into_owned()));
    let rows = std::iter::once(header.map(str::to_owned)).chain(rows);
    let widths = rows.clone().fold([0; N], |mut widths, row| {
        for (width, cell) in widths.iter_mut().zip(&row) {
            *width = cell.chars().count().max(*width);
        }
        widths
    });
    let indent: usize = widths[..N - 1].iter().map(|width| width + GAP).sum();
    let room = terminal.map_or(usize::MAX, |width| width.saturating_sub(indent).max(LAST_COLUMN));
    let mut text = String::new();
    for row in rows {
        let start = text.len();
        for (cell, width) in row[..N - 1].iter().zip(widths) {
            text.push_str(cell);
            pad(&mut text, width + GAP - cell.chars().count());
        }
        for (number, line) in wrap(&row[N - 1], room).into_iter().enumerate() {
            if number > 0 {
                text.push('\n');
                pad(&mut text, indent);
            }
            text.push_str(line);
        }
        text.truncate(start + text[start..].trim_end().len());
        text.push('\n');
    }
    text
}

fn pad(text: &mut String, spaces: usize) {
    text.extend(std::iter::repeat_n(' ', spaces));
}

/// Lines of at most `room` characters, broken at spaces; a longer word has a line of its own.
fn wrap(text: &str, room: usize) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((beyond, _)) = rest.char_indices().nth(room) {
        let fits = rest[beyond..].starts_with(' ').then_some(beyond);
        let end = fits.or_else(|| rest[..beyond].rfind(' ')).or_else(|| rest.find(' '));
        let Some(end) = end else { break };
        lines.push(&rest[..end]);
        rest = &rest[end + 1..];
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::{layout, wrap};

    #[test]
    fn only_the_last_column_wraps() {
        let rows = [["tap0", "web, database, monitoring"], ["veth1234", "web"]];
        let rows = rows.into_iter().map(|row| row.map(str::to_owned));
        let wide = "NAME      GROUPS\ntap0      web, database, monitoring\nveth1234  web\n";
        let narrow = "NAME      GROUPS\ntap0      web, database,\n          monitoring\n\
            veth1234  web\n";
        assert_eq!(layout(["NAME", "GROUPS"], rows.clone(), None), wide);
        assert_eq!(layout(["NAME", "GROUPS"], rows.clone(), Some(35)), wide);
        assert_eq!(layout(["NAME", "GROUPS"], rows.clone(), Some(34)), narrow);
        assert_eq!(layout(["NAME", "GROUPS"], rows, Some(1)), narrow);
    }

    #[test]
    fn a_cell_cannot_be_a_line_of_its_own() {
        let rows = [["2\n3", "rules.toml\n4  in force"], ["\x1b[8m", "b"]];
        let rows = rows.into_iter().map(|row| row.map(str::to_owned));
        let expected = "REVISION   ORIGIN\n2\\n3       rules.toml\\n4  in force\n\\u{1b}[8m  b\n";
        assert_eq!(layout(["REVISION", "ORIGIN"], rows, None), expected);
    }

    #[test]
    fn lines_break_at_spaces() {
        let cases: [(&str, &[&str]); 6] = [
            ("", &[""]),
            ("12345678", &["12345678"]),
            ("1234 678 12", &["1234 678", "12"]),
            ("123456789 1", &["123456789", "1"]),
            ("é 3456789 1", &["é", "3456789", "1"]),
            ("ééééééééé", &["ééééééééé"]),
        ];
        for (text, lines) in cases {
            assert_eq!(wrap(text, 8), lines, "{text}");
        }
    }
}
