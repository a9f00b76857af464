//! The serving loop: accepts connections, answers requests, and stops when told to.
//!
//! The listener and the stop signal are arguments, so that tests bring their own. Nagle's algorithm
//! is off on every connection: a turn is a few hundred bytes that somebody waits for. A client that
//! is slow to send its headers is closed, and so is an idle one.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::app::App;
use crate::rest;

/// Time to send the headers of a request, and to stay idle between two.
const HEADER_PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of one request's line and headers; more is answered with 431.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Time for requests in flight to be answered once the server stops.
const REQUEST_PATIENCE: Duration = Duration::from_secs(2);
/// Time for connections that were cut to notice it.
const CUT_PATIENCE: Duration = Duration::from_secs(2);
/// Pause after a failed accept: out of file descriptors, most often.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refused connections are reported at most this often.
const REPORT_PERIOD: Duration = Duration::from_secs(5);

/// All that answers on the port: REST, and the layers around it, outermost last.
pub fn service(app: &Arc<App>) -> Router {
    let routes = rest::router(app.clone());
    rest::with_cors(routes, app.clone())
}

/// Serves until `stop` comes, then lets requests in flight finish and cuts what is left.
pub async fn run(
    listener: TcpListener,
    app: Arc<App>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let service = service(&app);
    let draining = CancellationToken::new();
    let mut requests = JoinSet::new();
    let mut refused = Refused::default();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = requests.join_next(), if !requests.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match serve(stream, peer, &app, &service, &draining) {
                    Some(task) => drop(requests.spawn(task)),
                    None => refused.count(&app),
                },
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    app.readiness.drain();
    draining.cancel();
    let answered =
        timeout(REQUEST_PATIENCE, async { while requests.join_next().await.is_some() {} });
    if answered.await.is_err() {
        debug!(open = requests.len(), "some requests are cut");
    }
    app.connections.cut_all();
    if timeout(CUT_PATIENCE, app.connections.all_closed()).await.is_err() {
        warn!(open = app.connections.count(), "some connections are still open");
    }
    Ok(())
}

/// One connection, until its last answer or its upgrade; `None` if there are too many.
fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    app: &Arc<App>,
    service: &Router,
    draining: &CancellationToken,
) -> Option<impl Future<Output = ()> + Send + 'static> {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a client left before it was served");
    }
    let stream = app.connections.admit(stream, peer)?;
    let handle = stream.connection().clone();
    let (service, draining) = (service.clone(), draining.clone());
    Some(async move {
        let answer = service_fn(move |request: hyper::Request<Incoming>| {
            let (service, handle) = (service.clone(), handle.clone());
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(handle);
                Ok::<_, Infallible>(
                    service.oneshot(request).await.unwrap_or_else(|never| match never {}),
                )
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
    fn count(&mut self, app: &App) {
        self.since_report += 1;
        if self.reported.is_none_or(|at| at.elapsed() >= REPORT_PERIOD) {
            warn!(
                refused = self.since_report,
                max = app.settings.connections_max,
                "too many connections, new ones are closed"
            );
            (self.since_report, self.reported) = (0, Some(Instant::now()));
        }
    }
}
