//! A Socket.IO client over a websocket, as plain as the protocol: it answers both kinds of pings, hands out
//! what it hears in order, and says of each question whether there was an answer.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::{BoxStream, SplitSink};
use futures::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::frames::{self, Frame};
use super::http;
use super::npm::{Line, Npm};

/// What is heard, frame by frame; an error is the end, and says why.
type Heard = BoxStream<'static, Result<String, String>>;

/// Frames that wait to be sent.
const UNSENT_MAX: usize = 64;
/// Events that nobody has taken yet; more than a battle has.
const UNHEARD_MAX: usize = 8_192;

/// As whom, where and how somebody connects.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    pub(crate) address: SocketAddr,
    pub(crate) from: Ipv4Addr,
    pub(crate) player: String,
    pub(crate) session: String,
    pub(crate) token: Option<String>,
    /// The client to do it with, if it is the official one.
    pub(crate) npm: Option<Npm>,
}

/// Why somebody is not connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotIn {
    /// The server says why.
    Refused(String),
    /// There is no connection, or no answer.
    Lost(String),
}

/// What is heard, in the order in which it came.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A pushed event and its argument.
    Push(String, Value),
    /// The last one.
    Gone { dismissed: bool, why: String },
}

/// What the server said to a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Success(Value),
    Error {
        code: String,
        details: String,
    },
    /// The connection ended first, or the time was over.
    Nothing(String),
}

/// Who waits for which answer; `None` once the connection is gone.
type Waiting = Arc<Mutex<Option<BTreeMap<u64, oneshot::Sender<Value>>>>>;

/// A connected client. Dropping it cuts the connection without a word.
pub(crate) struct Socket {
    id: String,
    out: mpsc::Sender<String>,
    events: mpsc::Receiver<Event>,
    waiting: Waiting,
    next_ack: AtomicU64,
    tasks: [JoinHandle<()>; 2],
}

impl Socket {
    /// Connects and joins the namespace.
    pub(crate) async fn connect(dial: &Dial, patience: Duration) -> Result<Self, NotIn> {
        let connecting = tokio::time::timeout(patience, Self::open(dial));
        connecting.await.unwrap_or_else(|_| Err(NotIn::Lost("no answer in time".to_owned())))
    }

    async fn open(dial: &Dial) -> Result<Self, NotIn> {
        let (mut mouth, mut heard) = match &dial.npm {
            Some(npm) => {
                let (line, heard) = npm.open(dial);
                (Mouth::Npm(line), heard)
            }
            None => open_own(dial).await.map_err(NotIn::Lost)?,
        };
        loop {
            let Some(frame) = heard.next().await else {
                return Err(NotIn::Lost("closed before an answer".to_owned()));
            };
            match frames::decode(&frame.map_err(NotIn::Lost)?) {
                Some(Frame::Connected(id)) => {
                    dial.npm.iter().for_each(Npm::connected);
                    return Ok(Self::run(id, mouth, heard));
                }
                Some(Frame::Refused(text)) => return Err(NotIn::Refused(text)),
                Some(Frame::Ping) if mouth.say(frames::PONG.to_owned()).await => {}
                Some(Frame::Open | Frame::Noop) => {}
                other => return Err(NotIn::Lost(format!("unexpected: {other:?}"))),
            }
        }
    }

    fn run(id: String, mut mouth: Mouth, source: Heard) -> Self {
        let (out, mut outgoing) = mpsc::channel::<String>(UNSENT_MAX);
        let (heard, events) = mpsc::channel(UNHEARD_MAX);
        let waiting: Waiting = Arc::new(Mutex::new(Some(BTreeMap::new())));
        let writer = tokio::spawn(async move {
            while let Some(text) = outgoing.recv().await {
                if !mouth.say(text).await {
                    break;
                }
            }
        });
        let reader = tokio::spawn(read(source, out.clone(), heard, waiting.clone()));
        let next_ack = AtomicU64::new(0);
        Self { id, out, events, waiting, next_ack, tasks: [writer, reader] }
    }

    /// The server's id of this connection.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Emits an event and waits for its answer.
    pub(crate) async fn ask(&self, name: &str, args: &[&Value], patience: Duration) -> Said {
        let id = self.next_ack.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        match self.waiting.lock().as_mut() {
            Some(waiting) => drop(waiting.insert(id, answer)),
            None => return Said::Nothing("the connection is gone".to_owned()),
        }
        let asking = async {
            let sent = self.out.send(frames::event(name, args, Some(id))).await;
            sent.map_err(|_| "the connection is gone")?;
            answered.await.map_err(|_| "the connection ended first")
        };
        let said = tokio::time::timeout(patience, asking).await;
        if let Some(waiting) = self.waiting.lock().as_mut() {
            waiting.remove(&id);
        }
        match said {
            Ok(Ok(envelope)) => read_envelope(&envelope),
            Ok(Err(why)) => Said::Nothing(why.to_owned()),
            Err(_) => Said::Nothing("no answer in time".to_owned()),
        }
    }

    /// The next thing that is heard; `None` if nothing comes in this time.
    pub(crate) async fn next(&mut self, within: Duration) -> Option<Event> {
        match tokio::time::timeout(within, self.events.recv()).await {
            Ok(Some(event)) => Some(event),
            Ok(None) => Some(Event::Gone { dismissed: false, why: "ended before".to_owned() }),
            Err(_) => None,
        }
    }

    /// What has been heard and not been taken.
    pub(crate) fn heard(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Leaves the namespace, as a client that says goodbye.
    pub(crate) async fn leave(self) {
        let _ = self.out.send("41".to_owned()).await;
        // It is on its way when the writer has taken it; what is lost here is lost on a network, too.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn read_envelope(envelope: &Value) -> Said {
    let text = |key: &str| envelope[key].as_str().unwrap_or_default().to_owned();
    match envelope["status"].as_str() {
        Some("SUCCESS") => Said::Success(envelope["data"].clone()),
        Some("ERROR") => Said::Error { code: text("code"), details: text("details") },
        _ => Said::Error { code: "NOT_AN_ENVELOPE".to_owned(), details: envelope.to_string() },
    }
}

/// Where frames are said.
enum Mouth {
    Own(SplitSink<WebSocketStream<TcpStream>, Message>),
    Npm(Line),
}

impl Mouth {
    /// Says a frame; false if the connection is gone.
    async fn say(&mut self, frame: String) -> bool {
        match self {
            Self::Own(sink) => sink.send(Message::text(frame)).await.is_ok(),
            Self::Npm(line) => line.say(&frame),
        }
    }
}

/// Begins to connect by a websocket of our own.
async fn open_own(dial: &Dial) -> Result<(Mouth, Heard), String> {
    let stream = http::connect(dial.address, dial.from).await.map_err(|error| error.to_string())?;
    let url = format!(
        "ws://{}/socket.io/?playerId={}&sessionId={}&EIO=4&transport=websocket",
        dial.address, dial.player, dial.session
    );
    let opened = tokio_tungstenite::client_async(url, stream).await;
    let (stream, _) = opened.map_err(|error| error.to_string())?;
    let (sink, source) = stream.split();
    let heard = source.filter_map(|message| {
        std::future::ready(match message {
            Ok(Message::Text(text)) => Some(Ok(text.to_string())),
            Ok(Message::Close(_)) => Some(Err("closed by the server".to_owned())),
            Ok(_) => None,
            Err(error) => Some(Err(error.to_string())),
        })
    });
    let mut mouth = Mouth::Own(sink);
    if mouth.say(frames::connect(dial.token.as_deref())).await {
        Ok((mouth, heard.boxed()))
    } else {
        Err("the connection ended first".to_owned())
    }
}

async fn read(
    mut source: Heard,
    out: mpsc::Sender<String>,
    heard: mpsc::Sender<Event>,
    waiting: Waiting,
) {
    let (mut dismissed, mut why) = (false, "the stream ended".to_owned());
    while let Some(frame) = source.next().await {
        let text = match frame {
            Ok(text) => text,
            Err(end) => {
                why = end;
                break;
            }
        };
        match frames::decode(&text) {
            Some(Frame::Ping) => drop(out.try_send(frames::PONG.to_owned())),
            Some(Frame::Event(name, _)) if name == "ping" => {
                drop(out.try_send(frames::event("pong", &[], None)));
            }
            Some(Frame::Event(name, argument)) => {
                if heard.try_send(Event::Push(name, argument)).is_err() {
                    "nobody takes what is heard".clone_into(&mut why);
                    break;
                }
            }
            Some(Frame::Ack(id, answer)) => {
                let asker = waiting.lock().as_mut().and_then(|waiting| waiting.remove(&id));
                if let Some(asker) = asker {
                    let _ = asker.send(answer);
                }
            }
            Some(Frame::Dismissed) => dismissed = true,
            Some(Frame::Close) => "the transport was closed".clone_into(&mut why),
            Some(_) => {}
            None => {
                why = format!("not understood: {}", text.chars().take(200).collect::<String>());
                break;
            }
        }
    }
    // Whoever waits for an answer learns that there will be none.
    drop(waiting.lock().take());
    let _ = heard.send(Event::Gone { dismissed, why }).await;
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Both halves of the stream go with their tasks, and the connection with them.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
