//! Log lines of the nodes, for who reads a run. They are no part of the trace and draw no chance: a run that is
//! read is the run that it was.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::trace;

/// Writes log lines of the server's crates to standard error from here on, down to those for debugging.
pub(crate) fn show() {
    // There is no other in this process.
    let _ = tracing::subscriber::set_global_default(Lines);
}

struct Lines;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        // A text takes everything.
        let _ = written;
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let level = if target.starts_with("serverv2") { Level::DEBUG } else { Level::WARN };
        metadata.is_event() && *metadata.level() <= level
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut text = Text(format!("{} {}:", metadata.level(), metadata.target()));
        event.record(&mut text);
        trace::aside(&text.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
