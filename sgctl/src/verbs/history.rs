use sg_api::{Revision, client::Client};

use crate::{error::Result, output::Output, table::table};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        let revisions: Vec<Revision> = client.get("/v1/history")?;
        self.output.print(&revisions, |revisions| text(revisions))
    }
}

fn text(revisions: &[Revision]) -> String {
    if revisions.is_empty() {
        return "nothing was applied yet\n".to_owned();
    }
    let header = ["REVISION", "STATE", "APPLIED (UTC)", "GROUPS", "RULES", "ORIGIN"];
    let rows = revisions.iter().map(|revision| {
        [
            revision.revision.to_string(),
            revision.state.clone(),
            utc(revision.applied_at),
            revision.groups.to_string(),
            revision.rules.to_string(),
            revision.origin.clone(),
        ]
    });
    table(header, rows)
}

/// A Unix time as `2026-11-24 00:07:06`.
///
/// The calendar is Howard Hinnant's `civil_from_days`: years that begin in March put the leap day
/// at the end, and 400 of them have 146097 days.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let day = day - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02}", second % 60)
}

#[cfg(test)]
mod tests {
    use super::utc;

    /// Expected: `date -u -d @SECONDS '+%F %T'`.
    #[test]
    fn unix_times_are_shown_as_dates() {
        let cases = [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_709_251_199, "2024-02-29 23:59:59"),
            (1_767_225_599, "2025-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(utc(seconds), expected);
        }
    }
}
