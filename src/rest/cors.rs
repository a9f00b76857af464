//! Which web pages may call the server (contract 1.1). A page of another origin is served too: it is
//! the browser that keeps the answer from it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

/// The allow list.
pub(super) type Origins = Arc<[String]>;

const METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE");

/// Answers preflights itself and marks every other answer.
pub(super) async fn cors(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    let allowed =
        |origin: &&HeaderValue| origins.iter().any(|one| one.as_bytes() == origin.as_bytes());
    let origin = request.headers().get(ORIGIN).filter(allowed).cloned();
    if request.method() == Method::OPTIONS {
        return preflight(request.headers(), origin);
    }
    let mut response = next.run(request).await;
    mark(response.headers_mut(), origin);
    response
}

/// A 204 has no body, and HTTP forbids it a `Content-Length`; the existing server sends one of 0.
fn preflight(asked: &HeaderMap, origin: Option<HeaderValue>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    mark(headers, origin);
    headers.append(VARY, HeaderValue::from_name(ACCESS_CONTROL_REQUEST_HEADERS));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    if let Some(wanted) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    response
}

fn mark(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.append(VARY, HeaderValue::from_name(ORIGIN));
}
