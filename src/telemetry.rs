//! Log lines: to standard error, for people or as JSON, and panics among them.
//!
//! A line reads alone and its values are fields with dotted names: `node.id` (on every line),
//! `raft.index`, `room.id`, `player.id`, `request.id`. ERROR wakes someone, WARN is a survived
//! surprise, INFO is a state change, per-entry detail is DEBUG. Tokens, secrets and teams are never
//! logged. Standard output is left to what the program has to say to its caller.

use std::fmt;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{LogFormat, Settings};

/// Whether this text is a log filter: levels, or `target=level`, between commas. Stricter than the
/// library, which takes a misspelt level for the name of a target.
pub fn is_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let part_fine = |part: &str| {
        let (target, level) = part.split_once('=').unwrap_or(("any", part));
        !target.is_empty() && LEVELS.contains(&level)
    };
    text.split(',').all(part_fine) && EnvFilter::builder().parse(text).is_ok()
}

/// Starts logging for the whole process. A second call changes nothing: tests share one process.
pub fn init(settings: &Settings) {
    let filter = EnvFilter::builder().parse_lossy(&settings.log_level);
    let ansi = std::io::stderr().is_terminal();
    let node = settings.node_id;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match settings.log_format {
        LogFormat::Pretty => lines
            .with_ansi(ansi)
            .event_format(OfNode { lines: Format::default(), prefix: format!("n{node} "), cut: 0 })
            .try_init(),
        LogFormat::Json => lines
            .with_ansi(false)
            .fmt_fields(JsonFields::new())
            .event_format(OfNode {
                lines: Format::default().json().flatten_event(true).with_span_list(false),
                prefix: format!("{{\"node.id\":{node},"),
                cut: 1,
            })
            .try_init(),
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// A panic is a defect: it is logged like one, wherever it happens, and the thread unwinds as usual.
fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("(no text)");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(
        panic.place = place,
        panic.thread = thread.name().unwrap_or("(unnamed)"),
        panic.backtrace = %backtrace,
        "panicked: {message}"
    );
}

/// Lines of another format, each with the node's number in front.
struct OfNode<L> {
    lines: L,
    prefix: String,
    /// Bytes at the start of a line that the prefix replaces.
    cut: usize,
}

impl<S, N, L> FormatEvent<S, N> for OfNode<L>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    L: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.cut == 0 {
            writer.write_str(&self.prefix)?;
            return self.lines.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.lines.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&self.prefix)?;
        writer.write_str(line.get(self.cut..).unwrap_or_default())
    }
}
