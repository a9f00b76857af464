//! What comes in on a client's connection: read, answered where the protocol wants an answer,
//! recorded in the order of arrival, and applied to the client's copy of the battle state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::StreamExt;
use futures::stream::SplitStream;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::codec::{self, Frame};
use super::patch;
use super::raw::Stream;

/// One thing that arrived, in the order of arrival.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// Engine.IO handshake.
    Opened(Value),
    /// The namespace was joined.
    Connected { socket: String },
    /// The namespace was refused.
    Refused(String),
    /// An event.
    Event(Event),
    /// An answer to an event of ours.
    Ack { id: u64, args: Vec<Value> },
    /// No more will come.
    Closed { why: String },
}

/// An event as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) args: Vec<Value>,
    /// The whole frame, for tests that look for what must not be in it.
    pub(crate) raw: String,
    /// For a `battleEvent`: this client's state after it.
    pub(crate) state: Option<Arc<Value>>,
    pub(crate) arrived: Instant,
}

impl Event {
    /// Its first argument, null if there is none.
    pub(crate) fn arg(&self) -> &Value {
        self.args.first().unwrap_or(&Value::Null)
    }
}

/// All that has come in on one connection.
pub(super) struct Inbound {
    pub(super) records: Mutex<Vec<Record>>,
    pub(super) grown: watch::Sender<usize>,
    pub(super) answers_pings: AtomicBool,
    /// The battle state after each message, with its number; a reconnect's full state is one, too.
    pub(super) states: Mutex<Vec<(i64, Arc<Value>)>>,
    /// The states began with one that was asked for.
    has_base: AtomicBool,
    /// The ack of this number carries the state to begin with.
    pub(super) base_ack: AtomicU64,
}

/// The events among the records.
pub(crate) fn events(records: &[Record]) -> impl DoubleEndedIterator<Item = &Event> {
    records.iter().filter_map(|record| match record {
        Record::Event(event) => Some(event),
        _ => None,
    })
}

impl Inbound {
    pub(super) fn new() -> Self {
        Self {
            records: Mutex::default(),
            grown: watch::Sender::default(),
            answers_pings: AtomicBool::new(true),
            states: Mutex::default(),
            has_base: AtomicBool::new(false),
            base_ack: AtomicU64::new(u64::MAX),
        }
    }

    /// Reads until the connection ends.
    pub(super) async fn read(
        self: Arc<Self>,
        mut source: SplitStream<Stream>,
        out: mpsc::Sender<Message>,
    ) {
        let why = loop {
            match source.next().await {
                None => break "end of stream".to_owned(),
                Some(Err(error)) => break error.to_string(),
                Some(Ok(Message::Close(frame))) => break format!("close frame {frame:?}"),
                Some(Ok(Message::Text(text))) => match codec::decode(&text) {
                    Ok(Frame::Ping) => {
                        let _ = out.send(Message::text(codec::PONG)).await;
                    }
                    Ok(Frame::Noop) => {}
                    Ok(Frame::Close | Frame::Disconnect) => {
                        break format!("the server said goodbye: {text}");
                    }
                    Ok(Frame::Open(open)) => self.push(Record::Opened(open)),
                    Ok(Frame::Connected(payload)) => {
                        let socket = payload["sid"].as_str().unwrap_or_default().to_owned();
                        self.push(Record::Connected { socket });
                    }
                    Ok(Frame::Refused(text)) => self.push(Record::Refused(text)),
                    Ok(Frame::Ack(id, args)) => {
                        if let (true, [answer]) =
                            (id == self.base_ack.load(Ordering::Relaxed), args.as_slice())
                        {
                            self.set_base(&answer["data"]);
                        }
                        self.push(Record::Ack { id, args });
                    }
                    Ok(Frame::Event(name, args)) => {
                        if name == "ping" && self.answers_pings.load(Ordering::Relaxed) {
                            let _ = out.send(Message::text(codec::event("pong", &[], None))).await;
                        }
                        if let Err(why) = self.event(name, args, &text) {
                            break why;
                        }
                    }
                    Err(why) => break why,
                },
                Some(Ok(_)) => {}
            }
        };
        self.push(Record::Closed { why });
    }

    fn event(&self, name: String, args: Vec<Value>, raw: &str) -> Result<(), String> {
        let mut event =
            Event { name, args, raw: raw.to_owned(), state: None, arrived: Instant::now() };
        match event.name.as_str() {
            // Messages without a number are not part of the battle's sequence.
            "battleEvent" if event.arg()["sequenceId"].is_i64() => {
                let sequence = event.arg()["sequenceId"].as_i64().expect("just checked");
                event.state = self
                    .patched(sequence, event.arg().get("stateDelta"))
                    .map_err(|why| format!("{why}: {raw}"))?;
            }
            "battleReconnect" => {
                if let Some(full) = event.arg().get("fullBattleState") {
                    self.set_base(full);
                }
            }
            _ => {}
        }
        self.push(Record::Event(event));
        Ok(())
    }

    /// The state after a message. `None` while there is no state to change: a socket that came back
    /// has none until it asked for it.
    fn patched(&self, sequence: i64, delta: Option<&Value>) -> Result<Option<Arc<Value>>, String> {
        let mut states = self.states.lock();
        // A new battle begins with nothing, whatever battle was seen before.
        let last = states.last().filter(|_| sequence > 0).cloned();
        let mut state = match last {
            None if sequence > 0 => return Ok(None),
            None => Arc::new(json!({})),
            // Contained in the state that was asked for.
            Some((base, _)) if sequence <= base && self.has_base.load(Ordering::Relaxed) => {
                return Ok(None);
            }
            Some((last, _)) if sequence != last + 1 => {
                return Err(format!("message {sequence} follows message {last}"));
            }
            Some((_, state)) => state,
        };
        if let Some(delta) = delta {
            patch::apply(Arc::make_mut(&mut state), delta)
                .map_err(|why| format!("the delta does not fit: {why}"))?;
        }
        states.push((sequence, state.clone()));
        Ok(Some(state))
    }

    fn set_base(&self, state: &Value) {
        let sequence = state["sequenceId"].as_i64().unwrap_or(-1);
        self.has_base.store(true, Ordering::Relaxed);
        self.states.lock().push((sequence, Arc::new(state.clone())));
    }

    fn push(&self, record: Record) {
        let mut records = self.records.lock();
        records.push(record);
        self.grown.send_replace(records.len());
    }
}
