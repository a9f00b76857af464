//! A Socket.IO client of our own, as plain as the contract: it hides nothing from a test.
//!
//! It records whatever arrives, in order of arrival, answers Engine.IO pings, answers the
//! application's `ping` unless told to go silent, and patches its copy of the battle state with
//! each `battleEvent` as clients do. It keeps below the server's rate for well-behaved sockets;
//! tests that want to misbehave use [`super::raw::Raw`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::codec::{self, Frame};
use super::raw::{Stream, dial};
use super::{DEADLINE, Server, patch};

/// A well-behaved client's rate, below the 20 a second with a burst of 60 that a socket may have.
const PACE: Duration = Duration::from_millis(55);
const BURST: u32 = 45;

/// How a client connects.
#[derive(Clone)]
pub(crate) struct Dial {
    address: SocketAddr,
    query: String,
    token: Option<String>,
    from: Ipv4Addr,
}

impl Dial {
    /// As this player, without a session id: what the seed client does.
    pub(crate) fn player(server: &Server, player: &str) -> Self {
        Self::query(server, &format!("playerId={player}&"))
    }

    /// With this query string, which ends in `&` unless it is empty.
    pub(crate) fn query(server: &Server, query: &str) -> Self {
        Self {
            address: server.address(),
            query: query.to_owned(),
            token: None,
            from: Ipv4Addr::LOCALHOST,
        }
    }

    /// With a session id that the client keeps.
    pub(crate) fn session(mut self, session: &str) -> Self {
        self.query.push_str(&format!("sessionId={session}&"));
        self
    }

    /// With a token in the auth payload.
    pub(crate) fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// From another address of this machine.
    pub(crate) fn from(mut self, from: Ipv4Addr) -> Self {
        self.from = from;
        self
    }

    /// Connects; panics if refused.
    pub(crate) async fn open(self) -> Client {
        self.try_open().await.unwrap_or_else(|text| panic!("the handshake was refused: {text}"))
    }

    /// Connects, or gives the text of the refusal.
    pub(crate) async fn try_open(self) -> Result<Client, String> {
        let client = Client::start(dial(self.address, self.from, &self.query).await);
        client.send(codec::connect(self.token.as_deref())).await;
        let answer = client.wait("answer to CONNECT", |records| {
            records.iter().find_map(|record| match record {
                Record::Connected { .. } => Some(Ok(())),
                Record::Refused(text) => Some(Err(text.clone())),
                _ => None,
            })
        });
        answer.await.map(|()| client)
    }
}

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

/// A connected client. Dropping it cuts the connection.
pub(crate) struct Client {
    shared: Arc<Shared>,
    out: mpsc::Sender<Message>,
    tasks: [JoinHandle<()>; 2],
    next_ack: AtomicU64,
    tokens: Mutex<(f64, Instant)>,
}

struct Shared {
    records: Mutex<Vec<Record>>,
    grown: watch::Sender<usize>,
    answers_pings: AtomicBool,
    /// The battle state after each message, with its number; a reconnect's full state is one, too.
    states: Mutex<Vec<(i64, Arc<Value>)>>,
}

impl Client {
    fn start(stream: Stream) -> Self {
        let (mut sink, source) = stream.split();
        let (out, mut outgoing) = mpsc::channel::<Message>(256);
        let shared = Arc::new(Shared {
            records: Mutex::default(),
            grown: watch::Sender::default(),
            answers_pings: AtomicBool::new(true),
            states: Mutex::default(),
        });
        let writer = tokio::spawn(async move {
            while let Some(message) = outgoing.recv().await {
                if sink.send(message).await.is_err() {
                    break;
                }
            }
        });
        let reader = tokio::spawn(shared.clone().read(source, out.clone()));
        let tokens = Mutex::new((f64::from(BURST), Instant::now()));
        Self { shared, out, tasks: [writer, reader], next_ack: AtomicU64::new(0), tokens }
    }

    /// Sends a text frame; one that can't be sent any more shows in what does not come back.
    pub(crate) async fn send(&self, text: String) {
        let _ = self.out.send(Message::text(text)).await;
    }

    /// Emits an event that wants no answer.
    pub(crate) async fn emit(&self, name: &str, args: &[Value]) {
        self.pace().await;
        self.send(codec::event(name, args, None)).await;
    }

    /// Emits an event and gives the number under which its ack will be recorded.
    pub(crate) async fn emit_for_ack(&self, name: &str, args: &[Value]) -> u64 {
        self.pace().await;
        let id = self.next_ack.fetch_add(1, Ordering::Relaxed);
        self.send(codec::event(name, args, Some(id))).await;
        id
    }

    /// Emits an event and gives the one argument of its ack.
    pub(crate) async fn ask(&self, name: &str, args: &[Value]) -> Value {
        let id = self.emit_for_ack(name, args).await;
        self.ack(id, name).await
    }

    /// Waits for the ack of an event emitted before.
    pub(crate) async fn ack(&self, id: u64, name: &str) -> Value {
        let args = self
            .wait(&format!("ack of {name}"), |records| {
                records.iter().find_map(|record| match record {
                    Record::Ack { id: of, args } if *of == id => Some(args.clone()),
                    _ => None,
                })
            })
            .await;
        assert_eq!(args.len(), 1, "an ack has exactly one argument: {args:?}");
        args.into_iter().next().expect("there is one")
    }

    /// Asks and gives the data of the success; `Null` if it has none.
    pub(crate) async fn ok(&self, name: &str, args: &[Value]) -> Value {
        let answer = self.ask(name, args).await;
        assert_eq!(answer["status"], "SUCCESS", "{name} {args:?}: {answer}");
        answer["data"].clone()
    }

    /// Asks and gives code and details of the refusal.
    pub(crate) async fn refused(&self, name: &str, args: &[Value]) -> (String, String) {
        let answer = self.ask(name, args).await;
        assert_eq!(answer["status"], "ERROR", "{name} {args:?}: {answer}");
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        let code = text("code");
        let stable = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        assert!(!code.is_empty() && code.chars().all(stable), "not a stable code: {answer}");
        (code, text("details"))
    }

    /// Waits until `find` finds something among all that has arrived since the connection.
    pub(crate) async fn wait<T>(&self, what: &str, find: impl FnMut(&[Record]) -> Option<T>) -> T {
        self.wait_within(DEADLINE, what, find).await
    }

    /// As [`Client::wait`], with another deadline.
    pub(crate) async fn wait_within<T>(
        &self,
        deadline: Duration,
        what: &str,
        mut find: impl FnMut(&[Record]) -> Option<T>,
    ) -> T {
        let mut grown = self.shared.grown.subscribe();
        let found = async {
            loop {
                grown.borrow_and_update();
                let closed = {
                    let records = self.shared.records.lock();
                    if let Some(found) = find(&records) {
                        return Ok(found);
                    }
                    matches!(records.last(), Some(Record::Closed { .. }))
                };
                if closed {
                    return Err("the connection ended");
                }
                grown.changed().await.expect("the sender is ours");
            }
        };
        match tokio::time::timeout(deadline, found).await {
            Ok(Ok(found)) => found,
            Ok(Err(why)) => panic!("no {what}: {why}\n{}", self.transcript()),
            Err(_) => panic!("no {what} within {deadline:?}\n{}", self.transcript()),
        }
    }

    /// Waits for the first event of this name that `wanted` accepts.
    pub(crate) async fn event_where(&self, name: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        self.wait(&format!("event {name}"), |records| {
            events(records).find(|event| event.name == name && wanted(event)).cloned()
        })
        .await
    }

    /// Waits for the first event of this name.
    pub(crate) async fn event(&self, name: &str) -> Event {
        self.event_where(name, |_| true).await
    }

    /// All events of this name so far.
    pub(crate) fn events(&self, name: &str) -> Vec<Event> {
        events(&self.shared.records.lock()).filter(|event| event.name == name).cloned().collect()
    }

    /// All that has arrived so far.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.shared.records.lock().clone()
    }

    /// Waits until the connection is gone, and gives the reason.
    pub(crate) async fn closed_within(&self, deadline: Duration) -> String {
        self.wait_within(deadline, "end of the connection", |records| match records.last() {
            Some(Record::Closed { why }) => Some(why.clone()),
            _ => None,
        })
        .await
    }

    /// Whether the connection is gone.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.shared.records.lock().last(), Some(Record::Closed { .. }))
    }

    /// The socket id given by the server.
    pub(crate) fn socket_id(&self) -> String {
        let records = self.shared.records.lock();
        let id = records.iter().find_map(|record| match record {
            Record::Connected { socket } => Some(socket.clone()),
            _ => None,
        });
        id.expect("only connected clients are handed out")
    }

    /// From now on `ping` stays unanswered.
    pub(crate) fn go_silent(&self) {
        self.shared.answers_pings.store(false, Ordering::Relaxed);
    }

    /// This client's state after the message of this number, once it is here.
    pub(crate) async fn state_after(&self, sequence: i64) -> Arc<Value> {
        self.wait(&format!("message {sequence}"), |_| {
            let states = self.shared.states.lock();
            states.iter().rev().find(|(of, _)| *of == sequence).map(|(_, state)| state.clone())
        })
        .await
    }

    /// Asks something harmless and waits for its answer: whatever the server sent before is here then.
    pub(crate) async fn settle(&self) {
        self.ok("getServerState", &[]).await;
    }

    /// Leaves the namespace and closes, as a client that says goodbye.
    pub(crate) async fn leave(self) {
        self.send("41".to_owned()).await;
        let _ = self.out.send(Message::Close(None)).await;
        let _ = tokio::time::timeout(
            Duration::from_secs(2),
            self.shared.grown.subscribe().wait_for(|_| self.is_closed()),
        )
        .await;
    }

    /// Cuts the connection without a word.
    pub(crate) fn cut(self) {
        drop(self);
    }

    /// What arrived last, for messages of failed tests.
    pub(crate) fn transcript(&self) -> String {
        let records = self.shared.records.lock();
        let shown = records.iter().skip(records.len().saturating_sub(12));
        let lines: Vec<String> = shown
            .map(|record| match record {
                Record::Event(event) => event.raw.chars().take(400).collect(),
                other => format!("{other:?}").chars().take(400).collect(),
            })
            .collect();
        format!("last of {} records:\n{}", records.len(), lines.join("\n"))
    }

    async fn pace(&self) {
        let wait = {
            let mut tokens = self.tokens.lock();
            let earned = tokens.1.elapsed().as_secs_f64() / PACE.as_secs_f64();
            *tokens = ((tokens.0 + earned).min(f64::from(BURST)) - 1.0, Instant::now());
            if tokens.0 < 0.0 { PACE.mul_f64(-tokens.0) } else { Duration::ZERO }
        };
        tokio::time::sleep(wait).await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Both halves of the stream go with their tasks, and the connection with them.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The events among the records.
pub(crate) fn events(records: &[Record]) -> impl DoubleEndedIterator<Item = &Event> {
    records.iter().filter_map(|record| match record {
        Record::Event(event) => Some(event),
        _ => None,
    })
}

impl Shared {
    async fn read(
        self: Arc<Self>,
        mut source: futures::stream::SplitStream<Stream>,
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
                    Ok(Frame::Ack(id, args)) => self.push(Record::Ack { id, args }),
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
                let mut states = self.states.lock();
                // A new battle begins with nothing, whatever battle was seen before.
                let last = states.last().filter(|_| sequence > 0);
                let mut state =
                    last.map_or_else(|| Arc::new(json!({})), |(_, state)| state.clone());
                if let Some(delta) = event.arg().get("stateDelta") {
                    patch::apply(Arc::make_mut(&mut state), delta)
                        .map_err(|why| format!("delta does not fit: {why}: {raw}"))?;
                }
                event.state = Some(state.clone());
                states.push((sequence, state));
            }
            "battleReconnect" => {
                if let Some(full) = event.arg().get("fullBattleState") {
                    let sequence = full["sequenceId"].as_i64().unwrap_or(-1);
                    self.states.lock().push((sequence, Arc::new(full.clone())));
                }
            }
            _ => {}
        }
        self.push(Record::Event(event));
        Ok(())
    }

    fn push(&self, record: Record) {
        let mut records = self.records.lock();
        records.push(record);
        self.grown.send_replace(records.len());
    }
}
