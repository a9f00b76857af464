//! From handshake to goodbye: who may connect, and one task per socket that lives as long as it.
//!
//! All handlers are attached before the connection is confirmed, since clients send their first
//! question in the same instant. What comes before the session is committed waits in the inbox.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serverv2_machine::{CloseSession, OpenSession, Player, Rejection, SessionId, SessionKey};
use serverv2_raft::ProposeError;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, SocketRef, TryData};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Gateway;
use super::admission::Identity;
use super::counters::{Counters, Cut};
use super::inbox::{Admission, Inbound, Inlet, Raw};
use super::socket::{LocalSocket, Pulse, Responder, Visitor};
use super::transport::Cutter;
use super::wire::{Envelope, Event, HandshakeAuth, HandshakeError, PONG, Refusal};
use crate::client;
use crate::sessions::Arrival;

/// How long a proposal that decides about a session is tried again before the socket is cut.
const OPEN_PATIENCE: Duration = Duration::from_secs(15);
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// A socket between its admission and its confirmation.
struct Admitted {
    account: Player,
    visitor: Visitor,
    pulse: Arc<Pulse>,
    inbox: mpsc::Receiver<Inbound>,
    closed: CancellationToken,
    arrival: Arrival,
    place: OwnedSemaphorePermit,
}

/// Handed from the middleware to the connect handler through the socket's extensions.
#[derive(Clone)]
struct Handover(Arc<Mutex<Option<Admitted>>>);

/// Serves the default namespace.
pub(crate) fn serve(gateway: &Arc<Gateway>, io: &SocketIo) {
    let admit = {
        let gateway = gateway.clone();
        move |socket: SocketRef, TryData(auth): TryData<HandshakeAuth>| {
            let gateway = gateway.clone();
            // What is no object says nothing, like what is missing.
            async move {
                let admitted = gateway.admit(&socket, auth.unwrap_or_default()).await;
                admitted.inspect_err(|why| gateway.counters.turned_away(*why))
            }
        }
    };
    let connected = {
        let gateway = gateway.clone();
        move |socket: SocketRef| {
            let gateway = gateway.clone();
            async move { gateway.accompany(socket).await }
        }
    };
    use socketioxide::handler::ConnectHandler as _;
    io.ns("/", connected.with(admit));
}

impl Gateway {
    /// Lets a client in, or not; attaches all handlers.
    async fn admit(&self, socket: &SocketRef, auth: HandshakeAuth) -> Result<(), HandshakeError> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| HandshakeError::AuthenticationError)?;
        let Identity { account, session: chosen, token } = self.identify(socket, auth).await?;
        let session = match &chosen {
            Some(id) => id.parse().map_err(|_| HandshakeError::AuthenticationError)?,
            None => invented_session_id(),
        };
        let address = client::address(socket.req_parts(), &self.settings.trusted_proxies)
            .map_or_else(|| Arc::from("unknown"), |address| address.to_string().into());
        let pulse = Arc::new(Pulse::new());
        let (inlet, inbox) = Inlet::new(pulse.clone(), self.settings.event_rate);
        let session = SessionKey { player: account.id, session };
        let admitted = Admitted {
            account,
            arrival: self.sessions.arriving(&session),
            visitor: Visitor { session, address, chosen: chosen.is_some(), token },
            pulse,
            inbox,
            closed: inlet.closed.clone(),
            place,
        };
        subscribe(socket, &Arc::new(inlet), &self.cutter, &self.counters);
        socket.extensions.insert(Handover(Arc::new(Mutex::new(Some(admitted)))));
        Ok(())
    }

    /// The life of one socket.
    async fn accompany(self: Arc<Self>, io: SocketRef) {
        let handover = io.extensions.remove::<Handover>();
        let Some(admitted) = handover.and_then(|handover| handover.0.lock().take()) else { return };
        let Admitted { account, visitor, pulse, mut inbox, closed, arrival, place } = admitted;
        let cutter = self.cutter.clone();
        let socket = Arc::new(LocalSocket::new(io, visitor, pulse, cutter, closed.clone()));
        self.sessions.connected(&socket);
        let beat = super::heartbeat::beat(self.cluster.clone(), socket.clone(), closed.clone());
        let heartbeat = tokio::spawn(beat);
        let mut first = None;
        let open = async { self.may_stay(&socket) && self.open_session(&socket, &account).await };
        let opened = tokio::select! {
            opened = open => opened,
            never = refuse_late(&socket, &mut inbox, &mut first) => match never {},
        };
        drop(arrival);
        if opened {
            if let Some(inbound) = first {
                self.handle(&socket, inbound).await;
            }
            loop {
                tokio::select! {
                    biased;
                    inbound = inbox.recv() => match inbound {
                        Some(inbound) => self.handle(&socket, inbound).await,
                        None => break,
                    },
                    () = closed.cancelled() => break,
                }
            }
        } else {
            socket.cut(Cut::NoSession);
        }
        closed.cancelled().await;
        heartbeat.abort();
        self.sessions.disconnected(&socket);
        // No longer than a newcomer may take to be decided.
        let _ =
            tokio::time::timeout(OPEN_PATIENCE, self.sessions.newcomer_decided(&socket.session))
                .await;
        if !self.is_stopping() {
            self.close_session(&socket).await;
        }
        drop(place);
    }

    /// Commits the session; an unknown outcome is tried again, which is harmless.
    async fn open_session(&self, socket: &LocalSocket, account: &Player) -> bool {
        let open = OpenSession {
            session: socket.session.clone(),
            socket: socket.id.clone(),
            address: socket.address.clone(),
            chosen: socket.chosen,
            authenticated: socket.token.is_some(),
        };
        let command = self.records.session(open, account);
        let tries = tokio::time::timeout(OPEN_PATIENCE, async {
            loop {
                match self.commit_seen(command.clone()).await {
                    // It may be over again, unseen where the effect feed had a gap.
                    Ok(()) => return self.has_session(socket),
                    // This process was counted out and is coming back under its next incarnation.
                    Err(ProposeError::Rejected(Rejection::StaleIncarnation)) => {
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                    Err(ProposeError::Rejected(rejection)) => {
                        debug!(session = %socket.session, %rejection, "a session was refused");
                        return false;
                    }
                    Err(ProposeError::Stopped) => return false,
                    Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
                }
            }
        });
        tries.await.unwrap_or(false)
    }

    fn has_session(&self, socket: &LocalSocket) -> bool {
        self.cluster.read(|machine, _| machine.session(&socket.session).is_some()).value
    }

    /// Commits the goodbye; without it the session would stay open for as long as this process lives.
    async fn close_session(&self, socket: &LocalSocket) {
        let command = CloseSession {
            session: socket.session.clone(),
            socket: socket.id.clone(),
            grace_ms: self.settings.grace_ms,
        };
        loop {
            match self.cluster.propose(command.clone(), None).await {
                Ok(_)
                | Err(ProposeError::Stopped)
                // Lost with the former life of this process: the log has closed it.
                | Err(ProposeError::Rejected(Rejection::StaleIncarnation)) => return,
                // Too many of this node's answers are open: it is no less gone for that.
                Err(ProposeError::Rejected(rejection)) => {
                    warn!(session = %socket.session, %rejection, "a session's goodbye is tried again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }
}

/// Answers, until the session is open, what has waited too long for that. `first` is the event that
/// waits in front of the inbox.
async fn refuse_late(
    socket: &Arc<LocalSocket>,
    inbox: &mut mpsc::Receiver<Inbound>,
    first: &mut Option<Inbound>,
) -> Infallible {
    loop {
        let Some(inbound) = first else {
            match inbox.recv().await {
                Some(inbound) => *first = Some(inbound),
                None => std::future::pending().await,
            }
            continue;
        };
        tokio::time::sleep_until(inbound.deadline()).await;
        if let Some(Inbound { event, ack, .. }) = first.take() {
            Responder::new(socket.clone(), event, ack).0.refuse(event.unavailable());
        }
    }
}

/// Attaches a handler for each event. Their bodies run in order of arrival; the tasks that the
/// library makes of them have nothing left to do.
fn subscribe(socket: &SocketRef, inlet: &Arc<Inlet>, cutter: &Cutter, counters: &Arc<Counters>) {
    for event in Event::ALL {
        let (inlet, cutter, counters) = (inlet.clone(), cutter.clone(), counters.clone());
        socket.on(event.name(), move |io: SocketRef, raw: Raw, ack: AckSender| {
            counters.received(event);
            let inbound = Inbound { event, raw, ack, received: Instant::now() };
            receive(&inlet, &cutter, &counters, &io, inbound);
            std::future::ready(())
        });
    }
    let (pulse, inlet) = (inlet.clone(), inlet.clone());
    socket.on(PONG, move || {
        pulse.pong();
        std::future::ready(())
    });
    socket.on_disconnect(move || {
        inlet.closed.cancel();
        std::future::ready(())
    });
}

fn receive(inlet: &Inlet, cutter: &Cutter, counters: &Counters, io: &SocketRef, inbound: Inbound) {
    match inlet.admit(inbound) {
        Admission::Queued => {}
        Admission::Refused(Inbound { event, ack, .. }) => {
            counters.refused();
            let refusal = Refusal::new(event.error_code(), "RATE_LIMIT_EXCEEDED");
            // A full outbound queue here means a flood; the next event will cut the socket.
            let _ = ack.send(&Envelope::<()>::Error(refusal));
        }
        // What had been sent before the cut took effect is no second flood.
        Admission::Flood if inlet.closed.is_cancelled() => {}
        Admission::Flood => {
            inlet.closed.cancel();
            cutter.cut(io, Cut::Flood);
        }
    }
}

/// The form of the existing server: base-36 milliseconds, `_`, 8 characters.
fn invented_session_id() -> SessionId {
    let id = crate::random::nano_id();
    let millis = crate::random::base36(crate::random::wall_ms());
    format!("{millis}_{}", &id.as_str()[..8]).parse().expect("short and printable")
}
