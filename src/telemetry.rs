//! Log lines: to standard error, for people or as JSON, and panics among them.
//!
//! A line reads alone and its values are fields with dotted names: `node.id` (on every line),
//! `raft.index`, `raft.term`, `room.id`, `player.id`, `request.id`. What follows from a proposal is logged
//! in a span with its request id, on every node: from a player's event to what the other one is told. ERROR wakes someone, WARN is a survived
//! surprise, INFO is a state change, per-entry detail is DEBUG. Tokens, secrets and teams are never
//! logged. Standard output is left to what the program has to say to its caller.

use std::fmt;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
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
    let ansi = std::io::stderr().is_terminal();
    let lines = lines(settings, std::io::stderr, ansi);
    if tracing::dispatcher::set_global_default(lines).is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

fn lines<W>(settings: &Settings, writer: W, ansi: bool) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let node = settings.node_id;
    let lines = tracing_subscriber::fmt().with_env_filter(filter(settings)).with_writer(writer);
    match settings.log_format {
        LogFormat::Pretty => {
            let format = OfNode { lines: Format::default(), prefix: format!("n{node} "), cut: 0 };
            lines.with_ansi(ansi).event_format(format).into()
        }
        LogFormat::Json => {
            let json = Format::default().json().flatten_event(true).with_span_list(false);
            let prefix = format!("{{\"node.id\":{node},");
            let format = OfNode { lines: json, prefix, cut: 1 };
            lines.with_ansi(false).fmt_fields(JsonFields::new()).event_format(format).into()
        }
    }
}

/// Consensus calls each of its steps INFO and each lost message WARN. To us they are detail, and our own
/// parts say what it comes to: ERROR alone, unless asked for.
fn filter(settings: &Settings) -> EnvFilter {
    let level = settings.log_level.as_str();
    let quiet = matches!(level, "off" | "error") || level.contains("openraft");
    let directives = if quiet { level.to_owned() } else { format!("openraft=error,{level}") };
    EnvFilter::builder().parse_lossy(directives)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::config::{self, Mode, Sources};

    /// What was written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(format: &str, level: &str, log: impl FnOnce()) -> String {
        let flags = [("LOG_FORMAT", format), ("LOG_LEVEL", level), ("NODE_ID", "7")];
        let flags: BTreeMap<_, _> =
            flags.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        let sources = Sources { flags, env: &|_| None, file: None };
        let settings = config::load(Mode::Dev, &sources).unwrap();
        let written = Written::default();
        let writer = written.clone();
        let lines = lines(&settings, move || writer.clone(), false);
        tracing::dispatcher::with_default(&lines, log);
        let bytes = written.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_is_one_object_with_the_node_and_its_fields() {
        let text = written("json", "info", || {
            let _span = tracing::info_span!("battle", room.id = "r1").entered();
            tracing::info!(player.id = "p1", raft.index = 9, "a \"turn\"");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["node.id"], &line["raft.index"]), (&7.into(), &9.into()));
        assert_eq!((&line["player.id"], &line["message"]), (&"p1".into(), &"a \"turn\"".into()));
        assert_eq!(line["span"]["room.id"], "r1");
    }

    #[test]
    fn a_pretty_line_begins_with_the_node() {
        let text = written("pretty", "info", || tracing::info!(raft.index = 9, "applied"));
        assert!(text.starts_with("n7 ") && text.contains("applied raft.index=9"), "{text}");
    }

    #[test]
    fn steps_of_consensus_are_written_only_when_asked_for() {
        let step = || tracing::info!(target: "openraft", "a step");
        assert_eq!(written("pretty", "debug", step), "");
        assert!(written("pretty", "warn,openraft=info", step).contains("a step"));
    }
}
