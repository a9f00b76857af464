//! How a client is cut, whatever carries its session: its transport ends without a goodbye, so that it
//! reconnects by itself.
//!
//! A websocket is cut where it is now: it may have begun as polling, on another connection. A polling
//! session has no connection of its own. It is closed by what its client would send to close it,
//! which works however full its queue is; the client's next request is told that there is no such
//! session.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use socketioxide::TransportType;
use socketioxide::extract::SocketRef;
use tokio::sync::mpsc;
use tower::ServiceExt;
use tracing::debug;

use super::Gateway;
use super::counters::{Counters, Cut};
use crate::net::Connection;

/// Polling sessions that may wait for being closed. One more is told to leave instead, and stays away.
const WAITING_MAX: usize = 1_024;
/// An Engine.IO packet of the type *close*.
const CLOSE: &str = "1";

/// Cuts clients, and counts why.
#[derive(Clone)]
pub(crate) struct Cutter {
    to_close: mpsc::Sender<String>,
    counters: Arc<Counters>,
}

/// Ids of the polling sessions that are to be closed.
pub(crate) type ToClose = mpsc::Receiver<String>;

impl Cutter {
    /// A cutter, and what [`close_polling`] has to do for it.
    pub(crate) fn new(counters: Arc<Counters>) -> (Self, ToClose) {
        let (to_close, receiver) = mpsc::channel(WAITING_MAX);
        (Self { to_close, counters }, receiver)
    }

    /// Cuts this client. Doing it twice, or after it left, does nothing more than count.
    pub(crate) fn cut(&self, io: &SocketRef, why: Cut) {
        self.counters.cut(why);
        self.close(io);
    }

    /// Tells this client to leave: it hears that the server wants it gone, and stays away. One that
    /// can't be told is cut.
    pub(crate) fn dismiss(&self, io: &SocketRef, why: Cut) {
        self.counters.cut(why);
        if io.clone().disconnect().is_err() {
            self.close(io);
        }
    }

    fn close(&self, io: &SocketRef) {
        let session = io.id.to_string();
        match (io.transport_type(), Connection::of(io.req_parts())) {
            (TransportType::Websocket, Some(began_on)) => {
                began_on.close_carriers(&session);
                began_on.close();
            }
            _ => {
                if self.to_close.try_send(session).is_err() {
                    // Its queue may be full, too; then the library's own heartbeat ends it.
                    let _ = io.clone().disconnect();
                }
            }
        }
    }
}

/// Closes polling sessions by way of the service that serves them.
pub(crate) async fn close_polling(mut waiting: ToClose, service: Router) {
    while let Some(session) = waiting.recv().await {
        let uri = format!("/socket.io/?EIO=4&transport=polling&sid={session}");
        let request = Request::post(uri).body(Body::from(CLOSE));
        let request = request.expect("ids of the library are letters and digits, _ and -");
        let Ok(answer) = service.clone().oneshot(request).await;
        debug!(socket.id = session, status = %answer.status(), "closed a polling session");
    }
}

/// While the node stops, nobody new is let in: clients try again, and get to another one.
pub(super) async fn refuse_newcomers(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    let wants_in = gateway.is_stopping()
        && request.uri().path().starts_with("/socket.io")
        && Query::<Upgrade>::try_from_uri(request.uri()).is_err();
    if wants_in {
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")]).into_response();
    }
    next.run(request).await
}

#[derive(Deserialize)]
struct Upgrade {
    sid: String,
}

/// Notes which connection carries a session from now on when it changes from polling to websocket.
pub(crate) async fn note_upgrade(request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<Connection>().cloned();
    let upgrade = Query::<Upgrade>::try_from_uri(request.uri());
    let response = next.run(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let (Some(connection), Ok(Query(Upgrade { sid }))) = (connection, upgrade)
    {
        connection.carry(&sid);
    }
    response
}
