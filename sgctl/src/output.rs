//! Standard output: JSON for programs, text for people.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use serde::Serialize;
use sg_policy::describe::{plain, plain_json};

use crate::error::Result;

/// Flag of every verb that prints.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Output {
    /// Print JSON
    #[arg(long, display_order = 99)]
    pub(crate) json: bool,
}

impl Output {
    /// Prints `value` as JSON, or the text for people.
    pub(crate) fn print<T: Serialize + ?Sized>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        if !self.json {
            return print(&text(value));
        }
        if !io::stdout().is_terminal() {
            return print(&json_line(value)?);
        }
        let json = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        print(&(plain_json(&json).into_owned() + "\n"))
    }

    /// Writes warnings to standard error, a line each; in JSON they are part of the answer.
    pub(crate) fn warn(self, warnings: &[String]) {
        if self.json {
            return;
        }
        let mut stderr = io::stderr().lock();
        for warning in warnings {
            // Nobody is left to tell when this fails.
            let _ = writeln!(stderr, "warning: {}", plain(warning));
        }
    }
}

/// `value` as a line of JSON.
pub(crate) fn json_line<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    let json = serde_json::to_string(value).map_err(io::Error::from)?;
    Ok(plain_json(&json).into_owned() + "\n")
}

/// Writes all of `text` now, so that a reader of a pipe has it.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// `text` in `colour` where standard output shows colours.
pub(crate) fn paint(colour: Colour, text: &str) -> String {
    if shows_colour(&io::stdout()) {
        format!("\x1b[{}m{text}\x1b[0m", colour as u8)
    } else {
        text.to_owned()
    }
}

/// On a terminal, unless the user said otherwise (<https://no-color.org>).
pub(crate) fn shows_colour(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `1 rule`, `2 rules`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A number in at most five characters: `999`, `1.2k`, `34M`.
pub(crate) fn short(number: u64) -> String {
    const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let mut unit = 0;
    let mut tenths = u128::from(number) * 10;
    while tenths >= 10_000 {
        tenths /= 1000;
        unit += 1;
    }
    if unit == 0 || tenths >= 100 {
        format!("{}{}", tenths / 10, UNITS[unit])
    } else {
        format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn short_numbers_keep_two_digits_at_least() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1.0k"),
            (1999, "1.9k"),
            (10_000, "10k"),
            (999_999, "999k"),
            (1_000_000, "1.0M"),
            (u64::MAX, "18E"),
        ];
        for (number, expected) in cases {
            assert_eq!(short(number), expected, "{number}");
        }
    }
}
