//! The serving loop: accepts connections, answers requests, and stops when told to.
//!
//! The listener and the stop signal are arguments, so that tests bring their own. Nagle's algorithm
//! is off on every connection: a turn is a few hundred bytes that somebody waits for. A client that
//! is slow to send its headers is closed, and so is an idle one.
//!
//! The port answers from the first moment. While the log is being replayed it says so
//! ([`while_starting`]), so that nobody takes a starting node for a dead one.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, info, warn};

use crate::app::{App, LocalReadiness};
use crate::config::Settings;
use crate::net::LocalConnections;
use crate::rest;

/// Time to send the headers of a request, and to stay idle between two.
const HEADER_PATIENCE: Duration = Duration::from_secs(30);
/// Read buffer of a connection: a request line and headers that don't fit are answered with 431.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Time for requests in flight to be answered once the server stops.
const REQUEST_PATIENCE: Duration = Duration::from_secs(2);
/// Least time for the log to say that this node is about to go.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);
/// Time for another node to take the lead.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(2);
/// Time for the log to say that this node is gone.
const LEAVE_PATIENCE: Duration = Duration::from_secs(1);
/// Time for connections that were cut to notice it.
const CUT_PATIENCE: Duration = Duration::from_secs(2);
/// Pause after a failed accept: out of file descriptors, most often.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refused connections are reported at most this often.
const REPORT_PERIOD: Duration = Duration::from_secs(5);

/// All that answers on the port: the routes, then the layers around them, outermost last.
pub fn service(app: &Arc<App>) -> Router {
    let routes = app.gateway.serve_before(rest::router(app.clone()));
    rest::with_cors(rest::with_metrics(routes, app), &app.settings)
}

/// Serves until `stop` comes; then lets requests in flight finish and cuts what is left.
pub async fn run(listener: TcpListener, app: Arc<App>, stop: impl Future<Output = ()>) {
    let stop = async {
        stop.await;
        app.readiness.drain();
        if app.cluster.has_peers() && !app.cluster.is_removed() {
            make_way(&app).await;
        }
        app.gateway.stop();
        if let Some(registration) = &app.registration {
            registration.leave().await;
        }
    };
    let service = service(&app);
    let cutting = app.gateway.cut_through(service.clone());
    serve_until(&listener, &app.connections, &service, stop).await;
    if let Some(cutting) = cutting {
        cutting.abort();
    }
    drop(listener);
    app.connections.cut_all();
    if timeout(CUT_PATIENCE, app.connections.all_closed()).await.is_err() {
        warn!(open = app.connections.count(), "some connections are still open");
    }
}

/// Before a node of several stops: balancers are told, other nodes are the homes of its battles, another one leads, clients go elsewhere a few at a
/// time, and the others take over what this one did.
async fn make_way(app: &App) {
    let settings = &app.settings;
    // First of all: those who play on hear of their next choices by nodes that stay.
    let noticed = Instant::now() + settings.drain_notice;
    if !app.cluster.drain(settings.drain_notice.max(DRAIN_PATIENCE)).await {
        warn!("the homes of battles stay here until this node is gone");
    }
    sleep_until(noticed).await;
    // What is proposed meanwhile is answered by whoever leads then.
    if let Some(leader) = app.cluster.hand_over(HAND_OVER_PATIENCE).await {
        info!(leader = leader.0, "another node leads");
    }
    app.gateway.drain(settings.drain_period).await;
    if !app.cluster.leave(app.gateway.settings.grace_ms, LEAVE_PATIENCE).await {
        warn!("the others were not told that this node goes");
    }
}

/// Says on the port that the node is starting, until `start` is done.
pub async fn while_starting<T>(
    listener: &TcpListener,
    connections: &Arc<LocalConnections>,
    readiness: &Arc<LocalReadiness>,
    settings: &Settings,
    start: impl Future<Output = T>,
) -> T {
    let service = rest::with_cors(rest::starting_router(readiness.clone(), settings), settings);
    let started = CancellationToken::new();
    let start = async {
        let result = start.await;
        started.cancel();
        result
    };
    tokio::join!(start, serve_until(listener, connections, &service, started.cancelled())).0
}

/// Accepts and answers until `stop` comes, then waits a little for the answers that are due.
async fn serve_until(
    listener: &TcpListener,
    connections: &Arc<LocalConnections>,
    service: &Router,
    stop: impl Future<Output = ()>,
) {
    let draining = CancellationToken::new();
    let mut requests = JoinSet::new();
    let mut refused = Refused::default();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = requests.join_next(), if !requests.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match serve(stream, peer, connections, service, &draining) {
                    Some(task) => drop(requests.spawn(task)),
                    None => refused.count(connections),
                },
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    draining.cancel();
    let answered = async { while requests.join_next().await.is_some() {} };
    if timeout(REQUEST_PATIENCE, answered).await.is_err() {
        debug!("some requests are cut");
    }
}

/// One connection, until its last answer or its upgrade; `None` if there are too many.
fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    connections: &Arc<LocalConnections>,
    service: &Router,
    draining: &CancellationToken,
) -> Option<impl Future<Output = ()> + Send + 'static> {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a client left before it was served");
    }
    let stream = connections.admit(stream, peer)?;
    let handle = stream.connection().clone();
    let (service, draining) = (service.clone(), draining.clone());
    Some(async move {
        let answer = service_fn(move |request: hyper::Request<Incoming>| {
            let (service, handle) = (service.clone(), handle.clone());
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(handle);
                let Ok(response) = service.oneshot(request).await;
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), answer)
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%error, "a connection ended early");
        }
    })
}

/// Connections above the bound; reported in sums, so that a flood does not flood the log too.
#[derive(Default)]
struct Refused {
    since_report: u64,
    reported: Option<Instant>,
}

impl Refused {
    fn count(&mut self, connections: &LocalConnections) {
        self.since_report += 1;
        if self.reported.is_none_or(|at| at.elapsed() >= REPORT_PERIOD) {
            let open = connections.count();
            warn!(refused = self.since_report, open, "too many connections, new ones are closed");
            (self.since_report, self.reported) = (0, Some(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests;
