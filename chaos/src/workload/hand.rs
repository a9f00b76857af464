//! How an actor asks: every question is written down before it is sent, and so is what became of it.

use std::net::Ipv4Addr;
use std::time::Duration;

use rand::Rng as _;
use rand::distr::{Alphanumeric, SampleString as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::World;
use crate::client::{Answer, Dial, Http, NoAnswer, NotIn, Npm, Said, Socket};
use crate::history::{Actor, Call, Class, Line, OpId};

/// Longest wait for an answer over HTTP: what takes longer is not known to have happened.
pub(crate) const HTTP_PATIENCE: Duration = Duration::from_secs(7);
/// The same of a socket; the server answers within 5 s, whatever happens.
pub(crate) const ASK_PATIENCE: Duration = Duration::from_secs(7);
const CONNECT_PATIENCE: Duration = Duration::from_secs(4);
/// Pause before somebody who got no answer asks again.
const AGAIN_MS: std::ops::Range<u64> = 40..200;
/// Tries of one request.
const TRIES_MAX: usize = 60;
const REQUEST_CHARS: usize = 16;

/// What became of a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Done {
    pub(crate) class: Class,
    pub(crate) code: String,
    pub(crate) out: Value,
}

impl Done {
    fn new(class: Class, code: impl Into<String>, out: Value) -> Self {
        Self { class, code: code.into(), out }
    }

    pub(crate) fn ok(out: Value) -> Self {
        Self::new(Class::Ok, "", out)
    }

    pub(crate) fn fail(code: impl Into<String>) -> Self {
        Self::new(Class::Fail, code, Value::Null)
    }

    pub(crate) fn info(code: impl Into<String>) -> Self {
        Self::new(Class::Info, code, Value::Null)
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.class == Class::Ok
    }
}

/// A guest who was made.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) player: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// One actor's way to ask.
pub(crate) struct Hand {
    pub(crate) world: World,
    pub(crate) actor: Actor,
    pub(crate) rng: ChaCha8Rng,
    /// An address of this machine that only this actor uses.
    pub(crate) from: Ipv4Addr,
    /// The client of its sockets, if it is the official one.
    pub(crate) npm: Option<Npm>,
}

impl Hand {
    pub(crate) fn new(world: &World, actor: Actor) -> Self {
        let [_, _, high, low] = actor.to_be_bytes();
        let from = Ipv4Addr::new(127, 1, high, low);
        Self { world: world.clone(), actor, rng: world.rng(actor), from, npm: None }
    }

    /// Any node.
    pub(crate) fn any_node(&mut self) -> usize {
        self.rng.random_range(0..self.world.cluster.size())
    }

    /// Any node but this one, if there is another.
    pub(crate) fn other_node(&mut self, than: usize) -> usize {
        let size = self.world.cluster.size();
        if size < 2 { than } else { (than + self.rng.random_range(1..size)) % size }
    }

    /// A new id for a request.
    pub(crate) fn request(&mut self) -> String {
        Alphanumeric.sample_string(&mut self.rng, REQUEST_CHARS)
    }

    pub(crate) fn chance(&mut self, of: f64) -> bool {
        self.rng.random_bool(of)
    }

    /// Waits a little, as people do.
    pub(crate) async fn think(&mut self, ms: std::ops::Range<u64>) {
        let pause = Duration::from_millis(self.rng.random_range(ms));
        self.world.rest(pause).await;
    }

    pub(crate) fn invoke(&self, node: usize, call: Call) -> OpId {
        self.world.history.invoke(self.actor, node, call)
    }

    pub(crate) fn returns(&self, op: OpId, done: &Done) {
        let Done { class, code, out } = done.clone();
        self.world.history.write(|t| Line::Return { t, op, class, code, out });
    }

    /// Asks over HTTP. `read` sees what is neither 5xx nor 429.
    pub(crate) async fn http(
        &self,
        node: usize,
        call: Call,
        http: Http,
        read: impl Fn(&Answer) -> Done,
    ) -> Done {
        let op = self.invoke(node, call);
        let done = match http.from(self.from).send(HTTP_PATIENCE).await {
            Err(NoAnswer::Unsent(why)) => Done::fail(format!("unsent: {why}")),
            Err(NoAnswer::Lost(why)) => Done::info(format!("lost: {why}")),
            Ok(answer) if answer.status >= 500 => Done::info(code_of(&answer)),
            Ok(answer) if answer.status == 429 => Done::fail(code_of(&answer)),
            Ok(answer) => read(&answer),
        };
        self.returns(op, &done);
        done
    }

    /// Asks over a socket. `read` makes of the data what is written down.
    pub(crate) async fn ask(
        &self,
        socket: &Socket,
        node: usize,
        call: Call,
        (event, payload): (&str, Option<&Value>),
        read: impl Fn(&Value) -> Value,
    ) -> Done {
        let options = call.request().map(|request| json!({ "requestId": request }));
        let args: Vec<&Value> = payload.into_iter().chain(options.as_ref()).collect();
        let op = self.invoke(node, call);
        let done = match socket.ask(event, &args, ASK_PATIENCE).await {
            Said::Success(data) => Done::ok(read(&data)),
            Said::Nothing(why) => Done::info(format!("lost: {why}")),
            Said::Error { code, details } if is_unsure(&details) => {
                Done::info(format!("{code}: {details}"))
            }
            Said::Error { code, details } => Done::fail(format!("{code}: {details}")),
        };
        self.returns(op, &done);
        done
    }

    /// Connects, and writes down how that went.
    pub(crate) async fn connect(
        &self,
        node: usize,
        call: Call,
        dial: &Dial,
        refused: impl Fn(&str) -> Done,
    ) -> (Done, Option<Socket>) {
        let op = self.invoke(node, call);
        let (done, socket) = match Socket::connect(dial, CONNECT_PATIENCE).await {
            Ok(socket) => (Done::ok(json!({ "socket": socket.id() })), Some(socket)),
            Err(NotIn::Refused(text)) => (refused(&text), None),
            Err(NotIn::Lost(why)) => (Done::info(format!("lost: {why}")), None),
        };
        self.returns(op, &done);
        (done, socket)
    }

    /// Makes a guest, through one node after the other under one id, until it is made.
    pub(crate) async fn guest(&mut self) -> Option<Guest> {
        let (request, mut node) = (self.request(), self.any_node());
        for _ in 0..TRIES_MAX {
            let made = self.make_guest(node, Some(request.clone())).await;
            if let Some(guest) = made {
                // Whoever asks again gets the same guest.
                if self.chance(0.2) {
                    let other = self.other_node(node);
                    self.make_guest(other, Some(request)).await;
                }
                return Some(guest);
            }
            if self.world.is_stopping() {
                return None;
            }
            self.think(AGAIN_MS).await;
            node = self.other_node(node);
        }
        None
    }

    /// One try to make a guest.
    pub(crate) async fn make_guest(&self, node: usize, request: Option<String>) -> Option<Guest> {
        let address = self.world.cluster.address(node);
        let http = Http::post(address, "/api/v1/auth/create-guest").request(request.as_deref());
        let made = parking_lot::Mutex::new(None);
        let read = |answer: &Answer| {
            let data = &answer.body["data"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            if answer.status != 200 {
                return Done::fail(code_of(answer));
            }
            let guest = Guest {
                player: text(&data["playerId"]),
                access: text(&data["auth"]["accessToken"]),
                refresh: text(&data["auth"]["refreshToken"]),
            };
            let out = json!({ "player": guest.player });
            *made.lock() = Some(guest);
            Done::ok(out)
        };
        self.http(node, Call::Guest { request }, http, read).await;
        made.into_inner()
    }

    /// Waits before the next try.
    pub(crate) async fn again(&mut self) {
        self.think(AGAIN_MS).await;
    }
}

/// The code in an answer's body, or its status.
pub(crate) fn code_of(answer: &Answer) -> String {
    let code = answer.body["code"].as_str();
    code.map_or_else(|| answer.status.to_string(), |code| format!("{} {code}", answer.status))
}

/// Whether the server says that it may have happened, and that a retry is safe.
fn is_unsure(details: &str) -> bool {
    const UNSURE: [&str; 3] = [
        "BATTLE_OWNER_TEMP_UNAVAILABLE",
        "CLUSTER_UNAVAILABLE",
        "Failed to add to matchmaking queue",
    ];
    UNSURE.contains(&details)
}
