//! Answered requests: how many and how long, by method, template of the route, and status.
//!
//! A request for a path that is no route counts as [`NO_ROUTE`], so what clients make up makes no
//! series. Preflights are answered before they get here, as in the existing server. A polling request of
//! Socket.IO takes as long as there is nothing to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tracing::Instrument;

use crate::app::App;

/// The route of what has none.
const NO_ROUTE: &str = "none";
/// Where Socket.IO answers, in front of all routes.
const SOCKET_IO: &str = "/socket.io/";
/// Bounds of the durations, seconds (contract 8.6).
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    route: String,
    status_code: u16,
}

/// See the module's text.
pub(super) struct LocalRequests {
    count: Family<Labels, Counter>,
    duration: Family<Labels, Histogram, fn() -> Histogram>,
    failed: AtomicU64,
}

impl Default for LocalRequests {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let duration = Family::new_with_constructor(histogram);
        Self { count: Family::default(), duration, failed: AtomicU64::new(0) }
    }
}

impl LocalRequests {
    /// Puts them onto a page, under the existing server's names and ours.
    pub(super) fn register(&self, registry: &mut Registry) {
        let (count, duration) = ("http_requests", "http_request_duration_seconds");
        registry.register(count, "As serverv2_http_requests", self.count.clone());
        let help = "As serverv2_http_request_duration_seconds";
        registry.register(duration, help, self.duration.clone());
        let ours = registry.sub_registry_with_prefix("serverv2");
        ours.register(count, "Answered requests", self.count.clone());
        ours.register(duration, "From a request's head to its answer's", self.duration.clone());
    }

    /// How many were answered with a 5xx.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Counts what passes.
pub(crate) async fn measure(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method(request.method());
    let route = match request.extensions().get::<MatchedPath>() {
        _ if request.uri().path().starts_with(SOCKET_IO) => SOCKET_IO,
        Some(route) => route.as_str(),
        None => NO_ROUTE,
    };
    let route = route.to_owned();
    // Lines in there tell which proposals a request came to.
    let span = tracing::debug_span!("http", http.method = method, http.route = route);
    let response = next.run(request).instrument(span).await;
    let status = response.status();
    let labels = Labels { method, route, status_code: status.as_u16() };
    let requests = &app.metrics.requests;
    requests.duration.get_or_create(&labels).observe(began.elapsed().as_secs_f64());
    requests.count.get_or_create(&labels).inc();
    if status.is_server_error() {
        requests.failed.fetch_add(1, Ordering::Relaxed);
    }
    response
}

/// Clients may make up methods, too.
fn method(method: &Method) -> &'static str {
    const KNOWN: [(&Method, &str); 7] = [
        (&Method::GET, "GET"),
        (&Method::HEAD, "HEAD"),
        (&Method::POST, "POST"),
        (&Method::PUT, "PUT"),
        (&Method::PATCH, "PATCH"),
        (&Method::DELETE, "DELETE"),
        (&Method::OPTIONS, "OPTIONS"),
    ];
    KNOWN.iter().find(|(known, _)| *known == method).map_or("other", |(_, name)| name)
}
