//! Durations as people write them.

use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A number with its unit.
pub(crate) fn parse(text: &str) -> Result<Duration> {
    let last = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(last).context("no unit; say 90s, 30m or 8h")?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => bail!("no unit; say 90s, 30m or 8h"),
    };
    let number: u64 = number.parse().context("not a number before the unit")?;
    Ok(Duration::from_secs(number * seconds))
}
