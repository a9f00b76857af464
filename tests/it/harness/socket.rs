//! A Socket.IO client of our own, as plain as the contract: it hides nothing from a test.
//!
//! It records whatever arrives, in order of arrival, answers Engine.IO pings, answers the
//! application's `ping` unless told to go silent, and patches its copy of the battle state with
//! each `battleEvent` as clients do. It keeps below the server's rate for well-behaved sockets;
//! tests that want to misbehave use [`super::raw::Raw`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::codec;
use super::inbound::Inbound;
pub(crate) use super::inbound::{Event, Record, events};
use super::raw::{Stream, dial};
use super::{DEADLINE, Server};

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

    /// The same, as this player.
    pub(crate) fn of_player(mut self, player: &str) -> Self {
        self.query = format!("playerId={player}&{}", self.query);
        self
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
                Record::Closed { why } => Some(Err(why.clone())),
                _ => None,
            })
        });
        answer.await.map(|()| client)
    }
}

/// A connected client. Dropping it cuts the connection.
pub(crate) struct Client {
    inbound: Arc<Inbound>,
    out: mpsc::Sender<Message>,
    tasks: [JoinHandle<()>; 2],
    next_ack: AtomicU64,
    tokens: Mutex<(f64, Instant)>,
}

impl Client {
    fn start(stream: Stream) -> Self {
        let (mut sink, source) = stream.split();
        let (out, mut outgoing) = mpsc::channel::<Message>(256);
        let inbound = Arc::new(Inbound::new());
        let writer = tokio::spawn(async move {
            while let Some(message) = outgoing.recv().await {
                if sink.send(message).await.is_err() {
                    break;
                }
            }
        });
        let reader = tokio::spawn(inbound.clone().read(source, out.clone()));
        let tokens = Mutex::new((f64::from(BURST), Instant::now()));
        Self { inbound, out, tasks: [writer, reader], next_ack: AtomicU64::new(0), tokens }
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
        self.ack_within(DEADLINE, id, name).await
    }

    /// As [`Client::ack`], with another deadline.
    pub(crate) async fn ack_within(&self, deadline: Duration, id: u64, name: &str) -> Value {
        let args = self
            .wait_within(deadline, &format!("ack of {name}"), |records| {
                records.iter().find_map(|record| match record {
                    Record::Ack { id: of, args } if *of == id => Some(args.clone()),
                    _ => None,
                })
            })
            .await;
        assert_eq!(args.len(), 1, "an ack has exactly one argument: {args:?}");
        args.into_iter().next().expect("there is one")
    }

    /// As [`Client::ack`]; `None` if the connection ends before it comes.
    pub(crate) async fn ack_or_end(&self, id: u64) -> Option<Value> {
        let found = self.wait("ack or end of the connection", |records| {
            records.iter().find_map(|record| match record {
                Record::Ack { id: of, args } if *of == id => Some(args.first().cloned()),
                Record::Closed { .. } => Some(None),
                _ => None,
            })
        });
        found.await
    }

    /// As [`Client::ask`]; `None` if the connection ends before the answer comes.
    pub(crate) async fn ask_or_end(&self, name: &str, args: &[Value]) -> Option<Value> {
        let id = self.emit_for_ack(name, args).await;
        self.ack_or_end(id).await
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
        let mut grown = self.inbound.grown.subscribe();
        let found = async {
            loop {
                grown.borrow_and_update();
                let closed = {
                    let records = self.inbound.records.lock();
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
        events(&self.inbound.records.lock()).filter(|event| event.name == name).cloned().collect()
    }

    /// All that has arrived so far.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.inbound.records.lock().clone()
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
        matches!(self.inbound.records.lock().last(), Some(Record::Closed { .. }))
    }

    /// The socket id given by the server.
    pub(crate) fn socket_id(&self) -> String {
        let records = self.inbound.records.lock();
        let id = records.iter().find_map(|record| match record {
            Record::Connected { socket } => Some(socket.clone()),
            _ => None,
        });
        id.expect("only connected clients are handed out")
    }

    /// From now on `ping` stays unanswered.
    pub(crate) fn go_silent(&self) {
        self.inbound.answers_pings.store(false, Ordering::Relaxed);
    }

    /// Asks for the state of a running battle and lets coming deltas change it, as a client does
    /// that came back. Gives the state.
    pub(crate) async fn resume(&self) -> Value {
        let id = self.next_ack.fetch_add(1, Ordering::Relaxed);
        self.inbound.base_ack.store(id, Ordering::Relaxed);
        self.send(codec::event("getState", &[], Some(id))).await;
        let answer = self.ack(id, "getState").await;
        assert_eq!(answer["status"], "SUCCESS", "{answer}");
        answer["data"].clone()
    }

    /// This client's state after the message of this number, once it is here.
    pub(crate) async fn state_after(&self, sequence: i64) -> Arc<Value> {
        self.wait(&format!("message {sequence}"), |_| {
            let states = self.inbound.states.lock();
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
            self.inbound.grown.subscribe().wait_for(|_| self.is_closed()),
        )
        .await;
    }

    /// Cuts the connection without a word.
    pub(crate) fn cut(self) {
        drop(self);
    }

    /// What arrived last, for messages of failed tests.
    pub(crate) fn transcript(&self) -> String {
        let records = self.inbound.records.lock();
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
