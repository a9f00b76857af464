//! What came in by Socket.IO, and who was cut for what: numbers that only grow, from zero at each start.
//!
//! Counting is one atomic add, since it is done for each event.

use std::sync::atomic::{AtomicU64, Ordering};

use super::wire::{Event, HandshakeError};

/// Why a client was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It sent too much for too long.
    Flood,
    /// Its outbound queue was full.
    SlowReader,
    /// It did not answer the heartbeat.
    Silent,
    /// The log did not open its session.
    NoSession,
    /// Its session was lost with this node's former life.
    CountedOut,
    /// Its token is revoked.
    Revoked,
    /// Somebody wanted its session ended.
    Ended,
    /// This node can't say whether its token counts still.
    Isolated,
    /// This node stops.
    Draining,
    /// Somebody wanted its player's sockets to leave.
    Disconnected,
}

impl Cut {
    const ALL: [Self; 10] = [
        Self::Flood,
        Self::SlowReader,
        Self::Silent,
        Self::NoSession,
        Self::CountedOut,
        Self::Revoked,
        Self::Ended,
        Self::Isolated,
        Self::Draining,
        Self::Disconnected,
    ];

    /// For log lines.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Flood => "sends too much",
            Self::SlowReader => "reads too slowly",
            Self::Silent => "does not answer the heartbeat",
            Self::NoSession => "its session could not be opened",
            Self::CountedOut => "counted out",
            Self::Revoked => "its token is revoked",
            Self::Ended => "its session was ended",
            Self::Isolated => "nobody can say whether its token counts",
            Self::Draining => "this node stops",
            Self::Disconnected => "its player was told to leave",
        }
    }

    /// For labels.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::SlowReader => "slow_reader",
            Self::Silent => "silent",
            Self::NoSession => "no_session",
            Self::CountedOut => "counted_out",
            Self::Revoked => "revoked",
            Self::Ended => "ended",
            Self::Isolated => "isolated",
            Self::Draining => "draining",
            Self::Disconnected => "disconnected",
        }
    }
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Counters {
    received: [AtomicU64; Event::ALL.len()],
    cut: [AtomicU64; Cut::ALL.len()],
    refused: AtomicU64,
    turned_away: [AtomicU64; HandshakeError::ALL.len()],
}

impl Counters {
    /// A client sent this.
    pub(crate) fn received(&self, event: Event) {
        add(&self.received[event as usize]);
    }

    /// An event was refused because there were too many.
    pub(crate) fn refused(&self) {
        add(&self.refused);
    }

    /// A handshake was refused.
    pub(crate) fn turned_away(&self, why: HandshakeError) {
        add(&self.turned_away[why as usize]);
    }

    /// A client was cut.
    pub(crate) fn cut(&self, why: Cut) {
        add(&self.cut[why as usize]);
    }

    /// Received events by name; those that were refused are among them.
    pub(crate) fn events(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Event::ALL.into_iter().map(|event| (event.name(), get(&self.received[event as usize])))
    }

    /// Events refused because there were too many.
    pub(crate) fn events_refused(&self) -> u64 {
        get(&self.refused)
    }

    /// Refused handshakes by what the client was told.
    pub(crate) fn handshakes_refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let count = |why| get(&self.turned_away[why as usize]);
        HandshakeError::ALL.into_iter().map(move |why| (why.text(), count(why)))
    }

    /// Cut clients by reason.
    pub(crate) fn cuts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Cut::ALL.into_iter().map(|why| (why.label(), get(&self.cut[why as usize])))
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_and_each_reason_has_a_counter_of_its_own() {
        let counters = Counters::default();
        for event in Event::ALL {
            counters.received(event);
        }
        for why in Cut::ALL {
            counters.cut(why);
        }
        for why in HandshakeError::ALL {
            counters.turned_away(why);
        }
        let all = counters.events().chain(counters.cuts()).chain(counters.handshakes_refused());
        assert!(all.map(|(_, count)| count).all(|count| count == 1));
    }
}
