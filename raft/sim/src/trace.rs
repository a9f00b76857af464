//! What happened, in order. Each line goes into a digest; two runs of one seed must have the same one.
//!
//! Bytes between nodes go into it, too, so hardly anything that differs could hide.

use std::cell::RefCell;
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};

thread_local! {
    static TRACE: RefCell<Trace> = RefCell::new(Trace::default());
}

/// Which lines are written to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shown {
    #[default]
    Nothing,
    /// Changes of the world, and what ends the run.
    Changes,
    /// All, and the nodes' own log lines between them.
    Everything,
}

#[derive(Default)]
struct Trace {
    hasher: DefaultHasher,
    lines: u64,
    now_ms: u128,
    shown: Shown,
}

/// Writes lines to standard error from here on.
pub(crate) fn show(shown: Shown) {
    TRACE.with_borrow_mut(|trace| trace.shown = shown);
}

/// Writes a line that is not part of the trace, if lines are written.
pub(crate) fn aside(what: &str) {
    // Whoever is writing a line now has no other to write.
    TRACE.with(|trace| {
        if let Ok(trace) = trace.try_borrow()
            && trace.shown == Shown::Everything
        {
            eprintln!("{:>6}    {what}", trace.now_ms);
        }
    });
}

/// Sets the time that lines begin with.
pub(crate) fn set_now(now_ms: u128) {
    TRACE.with_borrow_mut(|trace| trace.now_ms = now_ms);
}

/// The time since the beginning, milliseconds.
pub(crate) fn now_ms() -> u128 {
    TRACE.with_borrow(|trace| trace.now_ms)
}

/// Adds a line, which is written where at least so much is shown.
pub(crate) fn line(from: Shown, what: fmt::Arguments<'_>) {
    TRACE.with_borrow_mut(|trace| {
        let line = format!("{:>6} {what}", trace.now_ms);
        if trace.shown >= from {
            eprintln!("{line}");
        }
        trace.hasher.write(line.as_bytes());
        trace.lines += 1;
    });
}

/// Adds bytes that went from one node to another.
pub(crate) fn sent(from: u64, to: u64, bytes: &[u8]) {
    TRACE.with_borrow_mut(|trace| {
        trace.hasher.write_u64(from);
        trace.hasher.write_u64(to);
        trace.hasher.write(bytes);
    });
}

/// The digest of everything so far, and the number of lines.
pub(crate) fn digest() -> (u64, u64) {
    TRACE.with_borrow(|trace| (trace.hasher.finish(), trace.lines))
}

/// Adds a line that is formatted as by `println!`.
macro_rules! note {
    ($($what:tt)*) => {
        $crate::trace::line($crate::trace::Shown::Everything, format_args!($($what)*))
    };
}
pub(crate) use note;

/// The same for a change of the world.
macro_rules! note_change {
    ($($what:tt)*) => {
        $crate::trace::line($crate::trace::Shown::Changes, format_args!($($what)*))
    };
}
pub(crate) use note_change;
