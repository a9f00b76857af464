//! The smallest client that speaks the contract: REST over HTTP, Socket.IO over a websocket
//! (contract 3.1 lists the frames).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::DemoError;

/// Longest wait for any one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Events one client may have unread; a demo battle has a few hundred.
const EVENTS_MAX: usize = 4_096;

/// One request with a JSON body; the answer's `data`.
pub(super) async fn rest(method: &str, url: &str, body: &Json) -> Result<Json, DemoError> {
    let mut answer = exchange(method, url, body.to_string()).await?;
    if answer["success"] != true {
        return Err(DemoError::failed("ask over REST")(&answer));
    }
    Ok(answer["data"].take())
}

/// One question; its whole answer.
pub(super) async fn get(url: &str) -> Result<Json, DemoError> {
    exchange("GET", url, String::new()).await
}

async fn exchange(method: &str, url: &str, body: String) -> Result<Json, DemoError> {
    let failed = |reason: &dyn std::fmt::Display| {
        DemoError::failed("ask over REST")(&format!("{method} {url}: {reason}"))
    };
    let request = hyper::Request::builder()
        .method(method)
        .uri(url)
        .header("content-type", "application/json")
        .body(Full::new(bytes::Bytes::from(body)))
        .map_err(|e| failed(&e))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = async {
        let response = client.request(request).await.map_err(|e| failed(&e))?;
        let bytes = response.into_body().collect().await.map_err(|e| failed(&e))?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|e| failed(&e))
    };
    tokio::time::timeout(PATIENCE, answer).await.map_err(|e| failed(&e))?
}

type Acks = Arc<Mutex<HashMap<u64, oneshot::Sender<Json>>>>;

/// A connected socket.
pub(super) struct Socket {
    frames: mpsc::Sender<String>,
    acks: Acks,
    next_ack: u64,
    events: mpsc::Receiver<(String, Json)>,
    /// Set when the connection is gone, and all answers with it.
    lost: CancellationToken,
}

impl Socket {
    /// Connects by websocket; returns once the namespace is confirmed.
    pub(super) async fn connect(
        base: &str,
        player: &str,
        session: &str,
    ) -> Result<Self, DemoError> {
        let failed = DemoError::failed("connect by websocket");
        let host = base.strip_prefix("http://").ok_or_else(|| failed(&"no http address"))?;
        let query = format!("playerId={player}&sessionId={session}&EIO=4&transport=websocket");
        let url = format!("ws://{host}/socket.io/?{query}");
        let (stream, _) = tokio_tungstenite::connect_async(url).await.map_err(|e| failed(&e))?;
        let (mut sink, mut source) = stream.split();
        let (frames, mut outgoing) = mpsc::channel::<String>(64);
        let (deliver, events) = mpsc::channel(EVENTS_MAX);
        let (confirm, confirmed) = oneshot::channel::<Result<(), String>>();
        let acks = Acks::default();
        let lost = CancellationToken::new();
        tokio::spawn(async move {
            while let Some(frame) = outgoing.recv().await {
                if sink.send(Message::text(frame)).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn({
            let (frames, acks) = (frames.clone(), acks.clone());
            let mut confirm = Some(confirm);
            let losing = lost.clone().drop_guard();
            async move {
                let _losing = losing;
                while let Some(Ok(message)) = source.next().await {
                    let Message::Text(text) = message else { continue };
                    let reply = match text.as_str() {
                        "2" => Some("3".to_owned()),
                        "42[\"ping\"]" => Some("42[\"pong\"]".to_owned()),
                        frame if frame.starts_with('0') => Some("40".to_owned()),
                        frame => {
                            receive(frame, &acks, &deliver, &mut confirm);
                            None
                        }
                    };
                    if let Some(reply) = reply
                        && frames.send(reply).await.is_err()
                    {
                        break;
                    }
                }
            }
        });
        let answer = tokio::time::timeout(PATIENCE, confirmed).await.map_err(|e| failed(&e))?;
        answer
            .map_err(|_| failed(&"the connection was lost"))?
            .map_err(|refusal| failed(&refusal))?;
        Ok(Self { frames, acks, next_ack: 0, events, lost })
    }

    /// Sends an event and waits for its acknowledgement's `data`.
    pub(super) async fn ask(
        &mut self,
        event: &str,
        payload: Option<&Json>,
    ) -> Result<Json, DemoError> {
        let failed = |reason: &dyn std::fmt::Display| {
            DemoError::failed("ask over the websocket")(&format!("{event}: {reason}"))
        };
        let (answer, answered) = oneshot::channel();
        let ack = self.next_ack;
        self.next_ack += 1;
        self.acks.lock().insert(ack, answer);
        let arguments = payload.map_or_else(|| json!([event]), |payload| json!([event, payload]));
        self.frames.send(format!("42{ack}{arguments}")).await.map_err(|e| failed(&e))?;
        let answer = tokio::select! {
            biased;
            answer = tokio::time::timeout(PATIENCE, answered) => answer.map_err(|e| failed(&e))?.ok(),
            () = self.lost.cancelled() => None,
        };
        let mut answer = answer.ok_or_else(|| failed(&"the connection was lost"))?;
        if answer["status"] != "SUCCESS" {
            return Err(failed(&answer));
        }
        Ok(answer["data"].take())
    }

    /// The next event that is not a heartbeat; `None` once the connection is lost.
    pub(super) async fn event_or_loss(&mut self) -> Result<Option<(String, Json)>, DemoError> {
        let failed = DemoError::failed("wait for an event");
        tokio::time::timeout(PATIENCE, self.events.recv()).await.map_err(|e| failed(&e))
    }

    /// The next event that is not a heartbeat.
    pub(super) async fn event(&mut self) -> Result<(String, Json), DemoError> {
        let event = self.event_or_loss().await?;
        event.ok_or_else(|| DemoError::failed("wait for an event")(&"the connection was lost"))
    }
}

fn receive(
    frame: &str,
    acks: &Acks,
    deliver: &mpsc::Sender<(String, Json)>,
    confirm: &mut Option<oneshot::Sender<Result<(), String>>>,
) {
    if frame.starts_with("40") || frame.starts_with("44") {
        if let Some(confirm) = confirm.take() {
            let _ = confirm.send(if frame.starts_with("40") {
                Ok(())
            } else {
                Err(frame[2..].to_owned())
            });
        }
    } else if let Some(rest) = frame.strip_prefix("43") {
        let digits = rest.find('[').unwrap_or(rest.len());
        let (id, arguments) = rest.split_at(digits);
        let waiting = id.parse().ok().and_then(|id: u64| acks.lock().remove(&id));
        if let (Some(waiting), Ok(Json::Array(mut all))) =
            (waiting, serde_json::from_str(arguments))
        {
            let _ = waiting.send(all.first_mut().map(Json::take).unwrap_or_default());
        }
    } else if let Some(arguments) = frame.strip_prefix("42")
        && let Ok(Json::Array(mut all)) = serde_json::from_str(arguments)
        && let Some(name) = all.first().and_then(Json::as_str).map(str::to_owned)
    {
        // Nobody reads any more: the demo is over.
        let _ = deliver.try_send((name, all.get_mut(1).map(Json::take).unwrap_or_default()));
    }
}
