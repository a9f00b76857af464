//! What a client sends, in the order in which it sent it.
//!
//! The library runs each event's handler in a task of its own, but calls the handler's body in order
//! of arrival. So the body only puts the event into the socket's bounded inbox; one task per socket
//! takes them out. Payloads stay raw until then: the library would drop an event whose payload does
//! not fit a type, without an answer, and a client's page would wait for ever.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use socketioxide::adapter::Adapter;
use socketioxide::extract::AckSender;
use socketioxide::handler::{FromMessageParts, Value};
use socketioxide::socket::Socket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ANSWER_PATIENCE;
use super::socket::Pulse;
use super::wire::Event;

/// Events one socket may have waiting; one more cuts it.
pub(crate) const INBOX_MAX: usize = 64;
/// An event counts once for each begun so many bytes, so that large ones can't keep the decoder busy.
const BYTES_PER_TOKEN: usize = 128 * 1024;

/// How many events a client may send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventRate {
    /// Events per second in the long run; 0 means no limit.
    pub per_second: u32,
    /// Events at once.
    pub burst: u32,
    /// Overruns after which the socket is cut; refusals within a second are one.
    pub overruns_max: u32,
}

/// An event's text as it came, `["name", argument…]`.
pub(crate) struct Raw(Value);

impl<A: Adapter> FromMessageParts<A> for Raw {
    type Error = Infallible;

    fn from_message_parts(
        _: &Arc<Socket<A>>,
        value: &mut Value,
        _: &Option<i64>,
    ) -> Result<Self, Infallible> {
        Ok(Self(value.clone()))
    }
}

impl Raw {
    fn text(&self) -> &str {
        match &self.0 {
            Value::Str(text, _) => text.as_str(),
            // Binary packets are refused by the parser's limit before they get here.
            Value::Bytes(_) => "",
        }
    }
}

/// One received event.
pub(crate) struct Inbound {
    /// Which.
    pub(crate) event: Event,
    /// Its text.
    pub(crate) raw: Raw,
    /// Where the answer goes.
    pub(crate) ack: AckSender,
    /// When it came.
    pub(crate) received: Instant,
}

impl Inbound {
    /// Until when it must be answered, with whatever is known then.
    pub(crate) fn deadline(&self) -> tokio::time::Instant {
        (self.received + ANSWER_PATIENCE).into()
    }

    /// Its text, `["name", argument…]`.
    pub(crate) fn text(&self) -> &str {
        self.raw.text()
    }
}

/// Where event handlers put what they get. Holds nothing that holds the library's socket, or the two
/// would keep each other alive.
pub(crate) struct Inlet {
    queue: mpsc::Sender<Inbound>,
    pulse: Arc<Pulse>,
    gate: Mutex<Gate>,
    /// Set when the connection is gone.
    pub(crate) closed: CancellationToken,
}

/// What became of an event at the door.
pub(crate) enum Admission {
    /// It waits in the inbox.
    Queued,
    /// Too many at once: to be refused.
    Refused(Inbound),
    /// Too many for too long: the socket is to be cut.
    Flood,
}

impl Inlet {
    /// An inlet and its inbox.
    pub(crate) fn new(pulse: Arc<Pulse>, rate: EventRate) -> (Self, mpsc::Receiver<Inbound>) {
        let (queue, inbox) = mpsc::channel(INBOX_MAX);
        let gate = Mutex::new(Gate::new(rate, Instant::now()));
        (Self { queue, pulse, gate, closed: CancellationToken::new() }, inbox)
    }

    /// The client answered a heartbeat.
    pub(crate) fn pong(&self) {
        self.pulse.beat();
    }

    /// An event came.
    pub(crate) fn admit(&self, inbound: Inbound) -> Admission {
        let tokens = inbound.text().len().div_ceil(BYTES_PER_TOKEN);
        match self.gate.lock().pass(Instant::now(), tokens) {
            Pass::Free => match self.queue.try_send(inbound) {
                Ok(()) => Admission::Queued,
                Err(mpsc::error::TrySendError::Full(_)) => Admission::Flood,
                Err(mpsc::error::TrySendError::Closed(inbound)) => Admission::Refused(inbound),
            },
            Pass::Held => Admission::Refused(inbound),
            Pass::Flood => Admission::Flood,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Free,
    Held,
    Flood,
}

/// A token bucket that counts how often it ran dry. Refusals within a second are one overrun.
struct Gate {
    rate: EventRate,
    tokens: f64,
    at: Instant,
    overruns: u32,
    overrun_at: Option<Instant>,
}

impl Gate {
    fn new(rate: EventRate, now: Instant) -> Self {
        Self { rate, tokens: f64::from(rate.burst), at: now, overruns: 0, overrun_at: None }
    }

    /// An event that costs more than a burst passes when the bucket is full.
    fn pass(&mut self, now: Instant, tokens: usize) -> Pass {
        if self.rate.per_second == 0 {
            return Pass::Free;
        }
        let refill =
            now.saturating_duration_since(self.at).as_secs_f64() * f64::from(self.rate.per_second);
        self.tokens = (self.tokens + refill).min(f64::from(self.rate.burst));
        self.at = now;
        let cost = (tokens.max(1) as f64).min(f64::from(self.rate.burst));
        if self.tokens >= cost {
            self.tokens -= cost;
            return Pass::Free;
        }
        let same =
            self.overrun_at.is_some_and(|at| now.saturating_duration_since(at).as_secs() < 1);
        if !same {
            self.overruns += 1;
            self.overrun_at = Some(now);
        }
        if self.overruns >= self.rate.overruns_max { Pass::Flood } else { Pass::Held }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds_then_a_flood_is_cut() {
        let start = Instant::now();
        let mut gate = Gate::new(EventRate { per_second: 1, burst: 2, overruns_max: 3 }, start);
        let mut at = |ms| gate.pass(start + Duration::from_millis(ms), 1);
        assert_eq!([at(0), at(0), at(0)], [Pass::Free, Pass::Free, Pass::Held]);
        assert_eq!(at(500), Pass::Held, "the same overrun");
        assert_eq!(at(1_000), Pass::Free, "a token came back");
        assert_eq!(at(1_500), Pass::Held, "the second overrun");
        assert_eq!(at(2_000), Pass::Free);
        assert_eq!(at(2_600), Pass::Flood, "the third");
    }
    #[test]
    fn a_large_event_counts_like_many() {
        let start = Instant::now();
        let mut gate = Gate::new(EventRate { per_second: 1, burst: 4, overruns_max: 9 }, start);
        let mut at = |s, tokens| gate.pass(start + Duration::from_secs(s), tokens);
        assert_eq!([at(0, 3), at(0, 2), at(0, 1)], [Pass::Free, Pass::Held, Pass::Free]);
        assert_eq!([at(3, 100), at(4, 100), at(4, 1)], [Pass::Held, Pass::Free, Pass::Held]);
    }
}
