//! The two forms of an exposition: OpenMetrics, which Prometheus asks for and prometheus-client
//! writes, and the older text format, which everything else reads.

use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    Text,
}

impl Format {
    /// The format that a request's Accept header asks for.
    pub(super) fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    pub(super) fn write(self, openmetrics: &str) -> String {
        match self {
            Self::OpenMetrics => openmetrics.to_owned(),
            Self::Text => text(openmetrics),
        }
    }
}

/// In the text format a counter's name has its `_total` everywhere, and the end is no line.
fn text(openmetrics: &str) -> String {
    let lines = || openmetrics.lines();
    let counters: BTreeSet<&str> =
        lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(openmetrics.len());
    for line in lines().filter(|line| *line != "# EOF") {
        let metadata = line.strip_prefix("# ").and_then(|line| {
            let (keyword, rest) = line.split_once(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            counters.contains(name).then(|| format!("# {keyword} {name}_total {rest}"))
        });
        text.push_str(metadata.as_deref().unwrap_or(line));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_format_says_total_everywhere() {
        let openmetrics = "# HELP sg_packets Packets.\n# TYPE sg_packets counter\n\
            sg_packets_total{interface=\"# EOF\"} 3\n# HELP sg_rules Rules.\n# TYPE sg_rules gauge\n\
            sg_rules 9\n# EOF\n";
        let expected = "# HELP sg_packets_total Packets.\n# TYPE sg_packets_total counter\n\
            sg_packets_total{interface=\"# EOF\"} 3\n# HELP sg_rules Rules.\n# TYPE sg_rules gauge\n\
            sg_rules 9\n";
        assert_eq!(Format::Text.write(openmetrics), expected);
        assert_eq!(Format::OpenMetrics.write(openmetrics), openmetrics);
    }

    #[test]
    fn prometheus_gets_openmetrics_and_others_text() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for other in ["", "*/*", "text/plain"] {
            assert_eq!(Format::accepted(other), Format::Text);
        }
    }
}
