//! The Socket.IO side of the contract (sections 3-5): clients' events become commands or questions,
//! what the log decided becomes events again.
//!
//! A handler never answers a committed command itself: the answer is owed in [`Acks`] and given by the
//! dispatcher in log order. Names and shapes on the wire are known to `wire.rs` alone.

mod admission;
mod arguments;
pub(crate) mod asyncapi;
mod battle;
mod connect;
pub(crate) mod counters;
#[cfg(test)]
mod fuzz;
mod heartbeat;
mod inbox;
mod matchmaking;
mod revoked;
pub(crate) mod socket;
mod state;
mod transport;
pub(crate) mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use parking_lot::Mutex;
use serverv2_machine::{Clocks, Command, KeyScope, PackRef, Reply, ScopedKey};
use serverv2_raft::{Cluster, EffectFeed, ProposeError};
use socketioxide::{ParserConfig, SocketIo, TransportType};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, warn};

pub use inbox::EventRate;

use self::arguments::{Arguments, BadArguments, arguments};
use self::counters::{Counters, Cut};
use self::inbox::Inbound;
use self::socket::{LocalSocket, Responder};
use self::transport::{Cutter, ToClose};
use self::wire::{Event, Refusal};
use crate::auth::TokenKeys;
use crate::battle::engines::Engines;
use crate::battle::host::BattleHost;
use crate::config::Network;
use crate::dispatcher::{Acks, Dispatcher, Failure};
use crate::records::Records;
use crate::redis::blacklist::Blacklist;
use crate::redis::mirror::Marks;
use crate::reports::LocalReports;
use crate::sessions::LocalSessions;
use crate::timekeeper;

/// Pause between two steps of a drain.
const DRAIN_STEP: Duration = Duration::from_millis(50);
/// Packets one connection may have unsent; one more cuts it as a slow reader.
const UNSENT_PACKETS_MAX: usize = 1_024;
/// Engine.IO's own heartbeat (contract 3.1).
const ENGINE_PING: (Duration, Duration) = (Duration::from_secs(25), Duration::from_secs(60));
/// Time from the transport's opening to the CONNECT packet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request waits for its commit before its caller is told that it may have happened, which
/// the contract (3.3) wants within 5 s.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_millis(4_500);
/// Time from a commit to its answer by this node's own dispatcher and workers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the gateway can be told by settings.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Time a player has to come back to a battle, milliseconds; 0 loses it at once.
    pub grace_ms: u64,
    /// Clock limits of battles whose older ticket joins here.
    pub clocks: Clocks,
    /// Events a client may send.
    pub event_rate: EventRate,
    /// Largest message or polling body, bytes.
    pub payload_bytes_max: usize,
    /// Whether a guest, too, proves by token to be himself.
    pub guests_need_tokens: bool,
    /// Proxies whose word on the client's address counts.
    pub trusted_proxies: Vec<Network>,
    /// Sockets that are open or whose goodbye is not in the log yet, as it may stay for as long as
    /// there is no majority. Nobody else is let in then.
    pub sockets_max: usize,
}

/// What says who is let in.
pub(crate) struct Door {
    /// Reads tokens.
    pub(crate) tokens: Arc<TokenKeys>,
    /// Knows accounts.
    pub(crate) records: Arc<dyn Records>,
    /// Revocations of other services, where there is a Redis.
    pub(crate) blacklist: Option<Arc<Blacklist>>,
}

/// See the module's text.
pub struct Gateway {
    pub(crate) cluster: Cluster,
    pub(crate) host: Arc<BattleHost>,
    pub(crate) sessions: Arc<LocalSessions>,
    pub(crate) acks: Arc<Acks>,
    pub(crate) engines: Engines,
    tokens: Arc<TokenKeys>,
    records: Arc<dyn Records>,
    /// Revocations of other services, where there is a Redis.
    blacklist: Option<Arc<Blacklist>>,
    pub(crate) settings: GatewaySettings,
    pub(crate) delivered: watch::Receiver<u64>,
    /// Each socket holds one until its goodbye is in the log.
    places: Arc<Semaphore>,
    cutter: Cutter,
    /// What came in and who was cut.
    pub(crate) counters: Arc<Counters>,
    /// Taken by whoever serves.
    to_close: Mutex<Option<ToClose>>,
    /// Set once this node is being stopped.
    stopping: AtomicBool,
}

/// One event that is being served.
struct Asked {
    /// Who asks.
    socket: Arc<LocalSocket>,
    /// The event's payload, if it has one.
    payload: Option<serde_json::Value>,
    /// The client's own id of this request.
    key: Option<ScopedKey>,
    /// Until when it must be committed.
    deadline: Instant,
    /// Owes the answer.
    responder: Responder,
    /// Told when the answer has been given.
    answered: oneshot::Receiver<()>,
}

impl Asked {
    /// The payload; null also where there is none.
    fn payload(&self) -> &serde_json::Value {
        self.payload.as_ref().unwrap_or(&serde_json::Value::Null)
    }
}

/// What the dispatcher does with a command's answer.
type OnAnswer = Box<dyn FnOnce(Responder, Result<Reply, Failure>) + Send>;

impl Gateway {
    /// Starts everything that stands between the log and the sockets. It ends with the feed.
    pub(crate) fn start(
        cluster: &Cluster,
        feed: EffectFeed,
        engines: Engines,
        door: Door,
        reports: Arc<LocalReports>,
        marks: Option<Arc<Marks>>,
        settings: GatewaySettings,
    ) -> std::io::Result<Arc<Self>> {
        let Door { tokens, records, blacklist } = door;
        let host = Arc::new(BattleHost::start(cluster, &engines)?);
        let (sessions, acks) = (Arc::<LocalSessions>::default(), Arc::<Acks>::default());
        let (delivered_sender, delivered) = watch::channel(0);
        let dispatcher = Dispatcher {
            cluster: cluster.clone(),
            sessions: sessions.clone(),
            host: host.clone(),
            acks: acks.clone(),
            records: records.clone(),
            reports,
            marks,
            delivered: delivered_sender,
        };
        tokio::spawn(dispatcher.run(feed));
        tokio::spawn(timekeeper::keep_time(cluster.clone(), delivered.clone()));
        tokio::spawn(admission::watch_isolation(
            cluster.clone(),
            sessions.clone(),
            delivered.clone(),
        ));
        if let Some(blacklist) = blacklist.clone() {
            let watched = (sessions.clone(), blacklist);
            tokio::spawn(revoked::watch(cluster.clone(), watched, delivered.clone()));
        }
        let counters = Arc::<Counters>::default();
        let (cutter, to_close) = Cutter::new(counters.clone());
        let places = Arc::new(Semaphore::new(settings.sockets_max));
        Ok(Arc::new(Self {
            cluster: cluster.clone(),
            host,
            sessions,
            acks,
            engines,
            tokens,
            records,
            blacklist,
            settings,
            delivered,
            places,
            cutter,
            counters,
            to_close: Mutex::new(Some(to_close)),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Puts `/socket.io/` in front of these routes, with this gateway behind it.
    pub fn serve_before(self: &Arc<Self>, routes: Router) -> Router {
        let parser = ParserConfig::common()
            .max_incoming_binaries(0)
            .max_incoming_binary_buf_size(0)
            .packet_completion_timeout(Duration::from_secs(1));
        let (layer, io) = SocketIo::builder()
            .with_parser(parser)
            .transports([TransportType::Polling, TransportType::Websocket])
            .ping_interval(ENGINE_PING.0)
            .ping_timeout(ENGINE_PING.1)
            .connect_timeout(CONNECT_TIMEOUT)
            .max_payload(self.settings.payload_bytes_max as u64)
            .ws_max_message_size(self.settings.payload_bytes_max)
            .ws_max_frame_size(self.settings.payload_bytes_max)
            .max_buffer_size(UNSENT_PACKETS_MAX)
            .build_layer();
        connect::serve(self, &io);
        let closing = from_fn_with_state(self.clone(), transport::refuse_newcomers);
        routes.layer(layer).layer(from_fn(transport::note_upgrade)).layer(closing)
    }

    /// Cuts polling sessions by way of the service that serves them, until the task is aborted.
    pub fn cut_through(&self, service: Router) -> Option<JoinHandle<()>> {
        let to_close = self.to_close.lock().take()?;
        Some(tokio::spawn(transport::close_polling(to_close, service)))
    }

    /// The node is being stopped: connections that end from here on are lost by the node, not closed by
    /// their players. Whoever follows (this node's next process, or the leader) says so in the log,
    /// with the grace that the loss of a node gives.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Lets nobody in any more, and cuts who is here in even steps over this time. Their sessions stay: they
    /// are taken over at another node, or lost with this one, which is not the players' doing.
    pub async fn drain(&self, period: Duration) {
        self.stop();
        let sockets = self.sessions.all();
        let steps = period.as_millis().div_ceil(DRAIN_STEP.as_millis()).max(1);
        let of_step = sockets.len().div_ceil(usize::try_from(steps).unwrap_or(usize::MAX)).max(1);
        for step in sockets.chunks(of_step) {
            step.iter().for_each(|(socket, _)| socket.cut(Cut::Draining));
            tokio::time::sleep(DRAIN_STEP.min(period)).await;
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// How many sockets this node holds.
    pub fn socket_count(&self) -> usize {
        self.sessions.count()
    }

    /// One event from its inbox to its answer. The next one of this socket waits for it.
    async fn handle(&self, socket: &Arc<LocalSocket>, inbound: Inbound) {
        let event = inbound.event;
        debug!(event = event.name(), player.id = %socket.session.player, socket.id = %socket.id, "received");
        let (arguments, deadline) = (arguments(event, inbound.text()), inbound.deadline());
        let (responder, answered) = Responder::new(socket.clone(), event, inbound.ack);
        match arguments {
            Ok(Arguments { payload, key }) => {
                let scope = KeyScope::Player(socket.session.player);
                let key = key.map(|key| ScopedKey { scope, key });
                let socket = socket.clone();
                self.serve(Asked { socket, payload, key, deadline, responder, answered }).await;
            }
            Err(bad) => responder.refuse(bad_arguments(event, bad)),
        }
    }

    async fn serve(&self, asked: Asked) {
        // A retry is answered as the first time, whatever has changed since.
        let Some(asked) = self.not_answered_before(asked).await else { return };
        match asked.responder.event() {
            Event::GetServerState => asked.responder.success(state::server_state(&self.cluster)),
            Event::JoinMatchmaking => self.join_matchmaking(asked).await,
            Event::CancelMatchmaking => self.cancel_matchmaking(asked).await,
            Event::Ready => self.ready(asked).await,
            Event::SubmitPlayerSelection => self.submit_selection(asked).await,
            Event::StartAnimation => self.start_animation(asked).await,
            Event::EndAnimation | Event::ReportAnimationEnd => self.end_animation(asked).await,
            Event::GetState
            | Event::GetAvailableSelection
            | Event::IsTimerEnabled
            | Event::GetPlayerTimerState
            | Event::GetAllPlayerTimerStates
            | Event::GetTimerConfig => self.ask_battle(asked).await,
        }
    }

    /// Answers what was answered before under the same request id; gives anything else back.
    async fn not_answered_before(&self, asked: Asked) -> Option<Asked> {
        let Some(reply) = asked.key.as_ref().and_then(|key| self.first_answer(key)) else {
            return Some(asked);
        };
        battle::answer_retry(&self.host, asked.responder, &reply);
        // The answer may come from the battle's worker; one way or another it comes.
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, asked.answered).await;
        None
    }

    /// Refuses what is not possible in the state as it is now. That may be the very doing of a first
    /// try that was on its way when this one came: then it gets that one's answer.
    async fn refuse(&self, asked: Asked, refusal: Refusal) {
        if let Some(asked) = self.not_answered_before(asked).await {
            asked.responder.refuse(refusal);
        }
    }

    /// Proposes a command whose answer the dispatcher gives, and waits until it has been given.
    async fn commit(&self, command: Command, asked: Asked, answer: OnAnswer) {
        let Asked { socket, key, deadline, responder, answered, .. } = asked;
        let request = self.cluster.next_request();
        debug!(
            request.id = %request,
            player.id = %socket.session.player,
            socket.id = %socket.id,
            event = responder.event().name(),
            "an event becomes a proposal"
        );
        let hold = self.cluster.hold(request);
        self.acks.owe(request, hold, Box::new(move |outcome| answer(responder, outcome)));
        match self.cluster.submit_by(deadline, request, command, key).await {
            Ok(committed) => {
                if tokio::time::timeout(ANSWER_TIMEOUT, answered).await.is_err() {
                    // Skipped by the feed (a gap): the remembered answer is the same one.
                    if let Some(owed) = self.acks.take(request) {
                        owed(committed.outcome.map_err(Failure::Rejected));
                    }
                }
            }
            Err(error) => {
                debug!(%request, %error, "a command has no answer in time");
                if let Some(owed) = self.acks.take(request) {
                    owed(Err(Failure::Unavailable));
                }
            }
        }
    }

    /// Proposes a command and waits until this node has delivered what follows from it.
    async fn commit_seen(&self, command: Command) -> Result<(), ProposeError> {
        let request = self.cluster.next_request();
        let committed = self.cluster.submit(request, command, None).await?;
        committed.outcome.map_err(ProposeError::Rejected)?;
        let mut delivered = self.delivered.clone();
        let seen = delivered.wait_for(|index| *index >= committed.index);
        match tokio::time::timeout(ANSWER_TIMEOUT, seen).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ProposeError::Stopped),
            Err(_) => {
                warn!(raft.index = committed.index, "the dispatcher is behind");
                Err(ProposeError::Unknown)
            }
        }
    }

    /// What this node knows to have been answered under a client's own request id.
    fn first_answer(&self, key: &ScopedKey) -> Option<Reply> {
        self.cluster.read(|machine, _| machine.answered_key(key).cloned()).value
    }

    /// The engine with which new battles are played.
    fn active_engine(&self) -> Option<Arc<dyn crate::battle::engine::BattleEngine>> {
        let pack: Option<PackRef> =
            self.cluster.read(|machine, _| machine.active_pack().cloned()).value;
        pack.and_then(|pack| self.engines.get(&pack).cloned())
    }
}

fn bad_arguments(event: Event, bad: BadArguments) -> Refusal {
    let details = match (bad, event) {
        (BadArguments::BadRequestId, _) => "INVALID_REQUEST_ID",
        (_, Event::JoinMatchmaking) => "Invalid player data: not readable",
        (_, Event::SubmitPlayerSelection) => "INVALID_SELECTION_DATA",
        _ => "INVALID_PAYLOAD",
    };
    Refusal::new(event.error_code(), details)
}
