//! A player whose connection is read at once, whatever he does: what comes is noted with its moment, both heartbeats are
//! answered, and a gap in the numbers of a battle's messages is noticed.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::book::{Book, Wait};
use crate::harness::codec::{self, Frame};
use crate::harness::raw::{Stream, try_dial};

/// Whoever waits longer has waited in vain.
const PATIENCE: Duration = Duration::from_secs(30);
/// What may wait to be looked at.
const HEARD_MAX: usize = 4_096;

/// What came, and when.
#[derive(Debug)]
pub(crate) enum Heard {
    Ack(u64, Value),
    Matched,
    /// A numbered message of a battle, by its type.
    Event(String),
    RoomClosed,
    /// Any other event.
    Told(String, Value),
}

/// What a message that matters wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Choices of both.
    Turn,
    /// Another pet, of one or both: who may choose now says it.
    Switch,
    /// Nothing any more.
    End,
}

impl Next {
    fn read(heard: &Heard) -> Option<Self> {
        let Heard::Event(kind) = heard else { return None };
        match kind.as_str() {
            "TURN_ACTION" => Some(Self::Turn),
            "FORCED_SWITCH" => Some(Self::Switch),
            "BATTLE_END" => Some(Self::End),
            _ => None,
        }
    }
}

/// Something is lost; the book knows.
#[derive(Debug)]
pub(crate) struct Lost;

/// See the module's text.
pub(crate) struct Player {
    pub(crate) id: String,
    out: mpsc::Sender<String>,
    heard: mpsc::Receiver<(Instant, Heard)>,
    next_ack: u64,
    /// What his battle wants and was not asked for yet.
    wanted: VecDeque<Next>,
    book: Arc<Book>,
    task: JoinHandle<()>,
}

impl Player {
    /// Connects with a session of its own.
    pub(crate) async fn connect(
        node: SocketAddr,
        id: &str,
        token: Option<&str>,
        book: &Arc<Book>,
    ) -> Result<Self, Lost> {
        let query = format!("playerId={id}&sessionId=session-of-{}&", &id[..8]);
        let dialing = timeout(PATIENCE, try_dial(node, Ipv4Addr::LOCALHOST, &query)).await;
        let Ok(Ok(mut stream)) = dialing else { return Err(lost(book)) };
        if stream.send(Message::text(codec::connect(token))).await.is_err() {
            return Err(lost(book));
        }
        let joined = async {
            while let Some(Ok(message)) = stream.next().await {
                match message.to_text().map(codec::decode) {
                    Ok(Ok(Frame::Connected(_))) => return true,
                    Ok(Ok(Frame::Refused(_))) => return false,
                    // The first comes at once.
                    Ok(Ok(Frame::Ping)) => drop(stream.send(Message::text(codec::PONG)).await),
                    _ => {}
                }
            }
            false
        };
        if !timeout(PATIENCE, joined).await.unwrap_or(false) {
            return Err(lost(book));
        }
        let (out, outgoing) = mpsc::channel(64);
        let (found, heard) = mpsc::channel(HEARD_MAX);
        let task = tokio::spawn(live(stream, outgoing, found, book.clone()));
        Ok(Self {
            id: id.to_owned(),
            out,
            heard,
            next_ack: 0,
            wanted: VecDeque::new(),
            book: book.clone(),
            task,
        })
    }

    /// What is wanted next in his battle.
    pub(crate) async fn next(&mut self) -> Result<Next, Lost> {
        loop {
            if let Some(next) = self.wanted.pop_front() {
                return Ok(next);
            }
            self.until(|_, heard| matches!(heard, Heard::Event(_))).await?;
        }
    }

    /// Emits an event; gives the number of its ack.
    pub(crate) async fn emit(&mut self, name: &str, args: &[Value]) -> Result<u64, Lost> {
        let id = self.next_ack;
        self.next_ack += 1;
        let sent = self.out.send(codec::event(name, args, Some(id))).await;
        sent.map(|()| id).map_err(|_| lost(&self.book))
    }

    /// Emits an event and waits for its success; gives its data.
    pub(crate) async fn ask(&mut self, name: &str, args: &[Value]) -> Result<Value, Lost> {
        let began = Instant::now();
        let id = self.emit(name, args).await?;
        let mut answer = Value::Null;
        let is_it = |_, heard: &mut Heard| match heard {
            Heard::Ack(of, value) if *of == id => {
                answer = value.take();
                true
            }
            _ => false,
        };
        let at = self.until(is_it).await?;
        self.acked(name, began, at, &answer);
        Ok(answer["data"].take())
    }

    /// Notes an answer.
    pub(crate) fn acked(&self, name: &str, began: Instant, at: Instant, answer: &Value) {
        self.book.waited(Wait::Ack, at.saturating_duration_since(began));
        if answer["status"] != "SUCCESS" {
            self.book.refused(format!("{name}: {answer}"));
        }
    }

    /// Waits until this has come, and leaves out what came before; gives when.
    pub(crate) async fn until(
        &mut self,
        mut wanted: impl FnMut(Instant, &mut Heard) -> bool,
    ) -> Result<Instant, Lost> {
        let found = async {
            while let Some((at, mut heard)) = self.heard.recv().await {
                self.wanted.extend(Next::read(&heard));
                if wanted(at, &mut heard) {
                    return Some(at);
                }
            }
            None
        };
        match timeout(PATIENCE, found).await {
            Ok(Some(at)) => Ok(at),
            Ok(None) | Err(_) => Err(lost(&self.book)),
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lost(book: &Book) -> Lost {
    book.lost();
    Lost
}

/// Reads and writes until the connection is gone, or nobody listens any more.
async fn live(
    mut stream: Stream,
    mut outgoing: mpsc::Receiver<String>,
    found: mpsc::Sender<(Instant, Heard)>,
    book: Arc<Book>,
) {
    let mut sequence = -1;
    loop {
        let text = tokio::select! {
            out = outgoing.recv() => {
                let Some(out) = out else { return };
                if stream.send(Message::text(out)).await.is_err() {
                    return;
                }
                continue;
            }
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
        };
        let at = Instant::now();
        let heard = match codec::decode(&text) {
            Ok(Frame::Ping) => {
                let _ = stream.send(Message::text(codec::PONG)).await;
                continue;
            }
            Ok(Frame::Ack(id, mut args)) => Heard::Ack(id, args.pop().unwrap_or_default()),
            Ok(Frame::Event(name, mut args)) => match name.as_str() {
                "ping" => {
                    let pong = codec::event("pong", &[], None);
                    let _ = stream.send(Message::text(pong)).await;
                    continue;
                }
                "matchSuccess" => Heard::Matched,
                "roomClosed" => Heard::RoomClosed,
                "battleEvent" => {
                    let message = args.pop().unwrap_or_default();
                    let Some(number) = message["sequenceId"].as_i64() else { continue };
                    // A new battle begins with nothing.
                    if number != 0 && number != sequence + 1 {
                        book.lost();
                    }
                    sequence = number;
                    let kind = message["type"].as_str().unwrap_or_default().to_owned();
                    Heard::Event(kind)
                }
                _ => Heard::Told(name, args.pop().unwrap_or_default()),
            },
            Ok(_) => continue,
            Err(_) => return,
        };
        // Whoever does not listen any more has his own reason.
        if found.send((at, heard)).await.is_err() {
            return;
        }
    }
}
