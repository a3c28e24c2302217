//! Logs go to stderr, for people at a terminal and for journald.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
};

use sg_policy::describe::plain;

use tracing::{Event, Level, Subscriber, field::Field};
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt as _,
    fmt::{FmtContext, FormatEvent, FormatFields, format},
    registry::LookupSpan,
};

/// The level is `RUST_LOG`'s, `info` without it.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let base = tracing_subscriber::fmt().with_env_filter(filter);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        base.with_writer(|| OneLine(io::stderr()))
            .event_format(Journal(
                format().without_time().with_level(false).with_target(false).with_ansi(false),
            ))
            .init();
    } else if io::stderr().is_terminal() {
        // Colours are escape sequences, too, so what is logged is escaped before they are added.
        base.with_writer(io::stderr).with_target(false).with_ansi(true).fmt_fields(fields()).init();
    } else {
        base.with_writer(|| OneLine(io::stderr())).with_target(false).with_ansi(false).init();
    }
}

/// Fields as the formatter writes them, but each escaped.
fn fields() -> impl for<'a> FormatFields<'a> + 'static {
    let field = |writer: &mut format::Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let text = format!("{value:?}");
        match field.name() {
            "message" => write!(writer, "{}", plain(&text)),
            name => write!(writer, "{name}={}", plain(&text)),
        }
    };
    format::debug_fn(field).delimited(" ")
}

/// Keeps each event on one line, whatever names of files and interfaces it has in it. A second line would
/// be an event of its own to journald, with a priority that somebody else has chosen.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    /// `event` is a whole one: the formatter writes each at once.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        writeln!(self.0, "{}", plain(line))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Lines with the priority that journald reads (sd-daemon(3)); it adds the time itself.
struct Journal<F>(F);

impl<S, N, F> FormatEvent<S, N> for Journal<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: format::Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A terminal gets colours of ours, and nothing else that moves text.
    #[test]
    fn a_terminal_gets_no_escape_sequence_from_outside() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .without_time()
            .with_target(false)
            .with_ansi(true)
            .fmt_fields(fields())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let name = "\x1b[2Jeth0\n\u{202e}";
            tracing::warn!(interface = %name, "filtered: {name}");
        });
        let text = String::from_utf8(written.0.lock().expect("one thread").clone());
        let text = text.expect("UTF-8");
        let name = "\\u{1b}[2Jeth0\\n\\u{202e}";
        assert!(text.ends_with(&format!(" filtered: {name} interface={name}\n")), "{text}");
        assert!(text.starts_with("\x1b[33m"), "{text}");
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || OneLine(writer.clone()))
            .event_format(Journal(
                format().without_time().with_level(false).with_target(false).with_ansi(false),
            ))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let (name, origin) = ("\x1b[2Jeth0\u{202e}", "a\n<0>b");
            tracing::warn!(%name, "not filtered");
            tracing::info!(%origin, "applied {origin}");
        });
        let text = String::from_utf8(written.0.lock().expect("one thread").clone());
        let text = text.expect("UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("<4>not filtered name="), "{text}");
        assert!(lines[0].contains("[2Jeth0\\u{202e}"), "{text}");
        assert!(lines[1].starts_with("<6>applied a\\n<0>b origin=a\\n<0>b"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
}
