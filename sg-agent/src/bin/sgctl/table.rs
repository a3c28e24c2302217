//! Tables for people: upper-case header, two spaces between columns, nothing to strip for `awk`.

use std::io::{self, IsTerminal as _};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

/// Narrowest last column before a table goes over the terminal's edge.
const LAST_COLUMN: u16 = 16;

/// A table as text. On a terminal the last column wraps at the edge; nothing else ever wraps, so
/// that what one copies from the others is whole.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let width = if io::stdout().is_terminal() { terminal_size::terminal_size() } else { None };
    format(header, rows, width.map(|(width, _)| width.0))
}

fn format<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    width: Option<u16>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index + 1 == N { 0 } else { 2 }));
        column.set_constraint(if index + 1 == N {
            ColumnConstraint::LowerBoundary(Width::Fixed(LAST_COLUMN))
        } else {
            ColumnConstraint::ContentWidth
        });
    }
    table.trim_fmt() + "\n"
}
