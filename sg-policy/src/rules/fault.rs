//! Faults of a rules file: collected by byte span, shown with the source line marked.

use std::{fmt, ops::Range};

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};

use crate::describe::plain;

/// Faults that are rendered; the rest is counted.
const SHOWN: usize = 50;
/// Faults that are kept; a hostile file of megabytes must not become gigabytes of messages.
const KEPT: usize = 1000;
/// Characters of a source line that are kept on either side of a mark; the renderer fits them to
/// its width. A file can be one line of megabytes.
const CONTEXT: usize = 500;
/// Bytes of blanks that are shown behind a mark that has nothing but blanks before it.
const BLANKS: usize = 8;

/// Every fault of a rules file, in the file's order. Never empty.
#[derive(Clone, Debug)]
pub struct Faults {
    file: String,
    faults: Vec<Fault>,
    /// More than `faults` where a file has very many.
    total: usize,
}

/// One fault. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug)]
pub struct Fault {
    pub line: usize,
    pub column: usize,
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
    mark: Mark,
    /// Another place that the fault is about, and a label for it.
    related: Option<(Mark, &'static str)>,
}

/// A marked piece of one source line.
#[derive(Clone, Debug)]
struct Mark {
    line: usize,
    column: usize,
    /// The line, or the part of a long one around the mark.
    excerpt: String,
    /// Bytes of `excerpt`.
    span: Range<usize>,
}

impl Faults {
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.faults.iter()
    }

    /// How many faults the file has; [`Faults::iter`] gives the first 1000 at most.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The faults as a compiler would show them, the first 50 in full. `color` for terminals.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let shown = self.faults.iter().take(SHOWN);
        let mut text: Vec<String> =
            shown.map(|fault| renderer.render(&[fault.report(&self.file)])).collect();
        let more = self.total.saturating_sub(SHOWN);
        if more > 0 {
            text.push(format!("... and {more} more faults"));
        }
        text.join("\n\n") + "\n"
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Faults {}

impl Fault {
    fn report<'a>(&'a self, file: &'a str) -> Group<'a> {
        let mut group = Level::ERROR
            .primary_title(self.message.as_str())
            .elements(self.mark.show(file, AnnotationKind::Primary));
        if let Some((mark, note)) = &self.related {
            group = group
                .element(Level::NOTE.message(*note))
                .elements(mark.show(file, AnnotationKind::Context));
        }
        match &self.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }
}

impl Mark {
    fn new(text: &str, lines: &Lines, span: &Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let index = lines.0.partition_point(|line| *line <= start) - 1;
        let begin = lines.0[index];
        let end = text[begin..].find('\n').map_or(text.len(), |length| begin + length);
        let end = begin + text[begin..end].trim_end_matches('\r').len();
        let start = start.min(end);
        let stop = text.floor_char_boundary(span.end.clamp(start, end));
        let left = text[begin..start].char_indices().rev().nth(CONTEXT - 1);
        let right = text[start..end].char_indices().nth(CONTEXT);
        let cut = begin + left.map_or(0, |(at, _)| at);
        let right = right.map_or(end, |(at, _)| start + at);
        // A tab or a control character would move the mark; one blank each keeps the width.
        let blank = |c: char| if c.is_control() { ' '.to_string() } else { c.to_string() };
        let show = |part: &str| part.chars().map(blank).collect::<String>();
        let before = show(&text[cut..start]);
        let marked = show(&text[start..stop.min(right)]);
        let mut after = show(&text[stop.min(right)..right]);
        // annotate-snippets 0.12 takes one from the other where blanks go on well beyond the mark.
        let blanks = after.len() - after.trim_start().len();
        if before.trim().is_empty() && marked.trim().is_empty() && blanks > BLANKS {
            after.truncate(after.ceil_char_boundary(BLANKS));
        }
        Self {
            line: index + 1,
            column: text[begin..start].chars().count() + 1,
            span: before.len()..before.len() + marked.len(),
            excerpt: before + &marked + &after,
        }
    }

    fn show<'a>(&'a self, file: &'a str, kind: AnnotationKind) -> Vec<Element<'a>> {
        let snippet = Snippet::source(self.excerpt.as_str())
            .line_start(self.line)
            .annotation(kind.span(self.span.clone()));
        if self.excerpt[..self.span.start].chars().count() + 1 == self.column {
            return vec![snippet.path(file).into()];
        }
        // The renderer would count the column in the excerpt.
        vec![Origin::path(file).line(self.line).char_column(self.column).into(), snippet.into()]
    }
}

/// Byte offsets at which lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect())
    }
}

/// A fault while the file is being read.
#[derive(Debug)]
pub(super) struct Finding {
    span: Range<usize>,
    message: String,
    help: Option<String>,
    related: Option<(Range<usize>, &'static str)>,
    /// Whether it stands however the rest of the file reads.
    local: bool,
}

impl Finding {
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn related(&mut self, span: Range<usize>, note: &'static str) -> &mut Self {
        self.related = Some((span, note));
        self
    }

    /// Depends on other parts of the file, so says nothing where those could not be read.
    pub(super) fn global(&mut self) -> &mut Self {
        self.local = false;
        self
    }
}

/// Collects faults in any order.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    total: usize,
    /// Every finding beyond `KEPT` is written here and not shown.
    overflow: Option<Finding>,
}

impl Findings {
    pub(super) fn add(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Finding {
        self.total += 1;
        let finding =
            Finding { span, message: message.into(), help: None, related: None, local: true };
        if self.kept.len() < KEPT {
            self.kept.push(finding);
            return self.kept.last_mut().expect("just pushed");
        }
        self.overflow.insert(finding)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Whether hints about the author's intention are still worth their time.
    pub(super) fn wants_hints(&self) -> bool {
        self.total < SHOWN
    }

    /// Adds faults of the readable part of a file that is not TOML: those before the first break
    /// that do not depend on the rest.
    pub(super) fn add_before_break(&mut self, other: Self) {
        let Some(first) = self.kept.iter().map(|finding| finding.span.start).min() else { return };
        let certain = |finding: &Finding| finding.local && finding.span.end <= first;
        for finding in other.kept.into_iter().filter(certain) {
            if self.kept.len() < KEPT {
                self.total += 1;
                self.kept.push(finding);
            }
        }
    }

    pub(super) fn finish(mut self, file: &str, text: &str) -> Faults {
        let file = &*plain(file);
        self.kept.sort_by_key(|finding| finding.span.start);
        let lines = Lines::new(text);
        let locate = |finding: Finding| {
            let mark = Mark::new(text, &lines, &finding.span);
            Fault {
                line: mark.line,
                column: mark.column,
                message: finding.message,
                help: finding.help,
                related: finding.related.map(|(span, note)| (Mark::new(text, &lines, &span), note)),
                mark,
            }
        };
        let faults = self.kept.into_iter().map(locate).collect();
        Faults { file: file.to_owned(), faults, total: self.total }
    }
}
