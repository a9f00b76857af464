//! Places at which tests let this process die. Compiled in only with the feature `failpoints`, which
//! nothing but the tests asks for.
//!
//! The variable `FAILPOINTS` arms them, as the crate `fail` reads it: `FAILPOINTS=committed=return(doomed)`.

use std::sync::{Once, OnceLock};

use fail::{FailScenario, fail_point};
use serverv2_machine::Entry;

/// Reads which are armed, once.
pub(crate) fn arm() {
    static ARMED: Once = Once::new();
    // They stay armed for as long as the process lives.
    ARMED.call_once(|| std::mem::forget(FailScenario::setup()));
}

/// An entry is committed, and nobody was told: dies if a client named one of its requests like that.
pub(crate) fn committed(entry: &Entry) {
    fail_point!("committed", |doomed| {
        let keys = entry.proposals.iter().filter_map(|proposal| proposal.client_key.as_ref());
        if keys.map(|scoped| scoped.key.to_string()).any(|key| Some(key) == doomed) {
            std::process::abort();
        }
    });
}

/// Whether the effect feed is to behave as if it were full.
pub(crate) fn feed_is_full() -> bool {
    fail_point!("feed", |_| true);
    false
}

/// Whether the places for nodes are to count as nearly taken.
pub(crate) fn nodes_are_crowded() -> bool {
    fail_point!("crowded", |_| true);
    false
}

/// The behaviour level of the older build that this process pretends to be, with all that such a build can't
/// read or say: the variable `SERVERV2_PRETEND_LEVEL`.
pub(crate) fn pretended_level() -> Option<u32> {
    static PRETENDED: OnceLock<Option<u32>> = OnceLock::new();
    *PRETENDED.get_or_init(|| std::env::var("SERVERV2_PRETEND_LEVEL").ok()?.parse().ok())
}

/// A recovery has come so far: dies if this step is named.
pub(crate) fn recovery(step: &str) {
    fail_point!("recovery", |doomed| {
        if doomed.as_deref() == Some(step) {
            std::process::abort();
        }
    });
    let _ = step;
}
