//! The slowest tests, from the JUnit report that cargo-nextest writes.

use std::fs;

use anyhow::{Context as _, Result};

use crate::workspace;

/// As `[profile.default.junit]` of .config/nextest.toml says.
const REPORT: &str = "nextest/default/junit.xml";

/// The slowest tests of the last run, a line for each.
pub(crate) fn slowest_tests(number: usize) -> Result<String> {
    let path = workspace::target().join(REPORT);
    let report = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(slowest_of(&report, number))
}

fn slowest_of(report: &str, number: usize) -> String {
    let mut tests: Vec<(f64, String)> =
        report.split("<testcase ").skip(1).filter_map(test).collect();
    tests.sort_by(|a, b| b.0.total_cmp(&a.0));
    let lines =
        tests.iter().take(number).map(|(seconds, name)| format!("{seconds:>8.1}  {name}\n"));
    format!("{:>8}  slowest tests\n", "seconds") + &lines.collect::<String>()
}

/// Seconds and name of an element `testcase` of which this is the rest.
fn test(element: &str) -> Option<(f64, String)> {
    let (attributes, _) = element.split_once('>')?;
    let value = |name: &str| {
        let (_, rest) = attributes.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0)
    };
    let name = format!("{} {}", value("classname")?, value("name")?);
    Some((value(" time")?.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::slowest_of;

    const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3" time="7.100">
    <testsuite name="sg-tests::rules" tests="3">
        <testcase name="quick" classname="sg-tests::rules" timestamp="2026-11-30T00:00:00" time="0.250">
        </testcase>
        <testcase name="slow::host_tc" classname="sg-tests::rules" timestamp="2026-11-30T00:00:00" time="10.5">
            <failure message="time=&quot;99&quot;"/>
        </testcase>
        <testcase name="medium" classname="sg-tests::rules" timestamp="2026-11-30T00:00:00" time="9.75"/>
    </testsuite>
</testsuites>"#;

    #[test]
    fn the_slowest_come_first() {
        assert_eq!(
            slowest_of(REPORT, 2),
            " seconds  slowest tests\n    10.5  sg-tests::rules slow::host_tc\n     \
             9.8  sg-tests::rules medium\n"
        );
    }
}
