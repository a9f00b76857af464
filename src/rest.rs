//! The REST API: this file is its table of contents.
//!
//! Every route answers as contract section 1 says, envelope, code and Chinese text included. What
//! changes a game fact is proposed to the log and answered once it is applied here; everything else
//! reads this node's replica. An unknown path, or a known one with another method, is a 404 with
//! `Cannot <METHOD> <path>`.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;

use crate::app::App;

mod cors;

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new().fallback(unknown).method_not_allowed_fallback(unknown).with_state(app)
}

/// Puts the CORS rules around everything that is served, Socket.IO included.
pub fn with_cors(service: Router, app: Arc<App>) -> Router {
    service.layer(from_fn_with_state(app, cors::cors))
}

async fn unknown(method: Method, uri: Uri) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, format!("Cannot {method} {}", uri.path()))
}
