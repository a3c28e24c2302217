//! The tables of documents, whose rows tests provoke one by one.

use std::{fs, path::Path};

use crate::Ctl;

/// A row: its cells as they are written.
#[derive(Clone, Debug)]
pub struct Row(pub Vec<String>);

/// The rows of all tables of a document of the repository.
#[track_caller]
pub fn rows(name: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with("|---");
    // Not the line of headings, which a line of dashes follows.
    let is_row = |at: &usize| {
        let heads = lines.get(at + 1).is_some_and(|next| is_rule(next));
        lines[*at].starts_with('|') && !is_rule(lines[*at]) && !heads
    };
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    (0..lines.len()).filter(is_row).map(|at| Row(cells(lines[at]))).collect()
}

/// The row that begins with this cell.
#[track_caller]
pub fn row(name: &str, first: &str) -> Row {
    let found = rows(name).into_iter().find(|row| row.0[0] == first);
    found.unwrap_or_else(|| panic!("{name} has no row {first}"))
}

impl Row {
    /// Panics unless each quotation in a cell is in the text; `…` stands for anything.
    #[track_caller]
    pub fn is_quoted(&self, cell: usize, text: &str) {
        let quotations = code(&self.0[cell]);
        assert!(!quotations.is_empty(), "nothing is quoted in {self:?}");
        self.quotes(&quotations, text);
    }

    /// The same for a cell that is one quotation, whose marks may be the message's own.
    #[track_caller]
    pub fn is_said(&self, cell: usize, text: &str) {
        let cell = &self.0[cell];
        let inner = cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`'));
        self.quotes(&[inner.filter(|inner| !inner.contains('`')).unwrap_or(cell)], text);
    }

    #[track_caller]
    fn quotes(&self, quotations: &[&str], text: &str) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for quotation in quotations {
            let mut rest = text.as_str();
            for part in quotation.split('…').map(str::trim) {
                let Some(at) = rest.find(part) else {
                    panic!("{part:?} of {quotation:?} is not said:\n{text}")
                };
                rest = &rest[at + part.len()..];
            }
        }
    }

    /// Runs the first `sgctl` command of a cell, with `interface` for IF. `more` are arguments that
    /// are not in the cell. Returns its output, whatever its exit status.
    #[track_caller]
    pub fn sgctl(&self, cell: usize, ctl: &Ctl, interface: &str, more: &str) -> String {
        let commands = code(&self.0[cell]);
        let command = commands.iter().find_map(|command| command.strip_prefix("sgctl "));
        let command = command.unwrap_or_else(|| panic!("no command in {self:?}"));
        let place = |word| if word == "IF" { interface } else { word };
        let words = command.split_whitespace().map(place).chain(more.split_whitespace());
        let ran = ctl.run(&words.collect::<Vec<_>>());
        ran.stdout + &ran.stderr
    }
}

/// The texts between marks of code.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}
