//! How often one client may ask (contract 1.5): a fixed window per router and address, opened by the first
//! request. Unlike at the existing server each router counts for itself.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use super::answers::always_false;
use super::error::json;
use crate::app::App;
use crate::client;
use crate::config::AuthSettings;

const WINDOW: Duration = Duration::from_secs(60);
/// Clients that are counted at once; for one more the oldest window is forgotten.
const CLIENTS_MAX: usize = 100_000;

/// What this process has counted, by router.
pub struct RateLimits {
    auth: Windows,
    email: Windows,
    assign: Windows,
    refused: AtomicU64,
}

impl RateLimits {
    /// Nothing counted yet.
    pub fn new(settings: &AuthSettings) -> Self {
        Self {
            auth: Windows::new(settings.rate_auth),
            email: Windows::new(settings.rate_email),
            assign: Windows::new(settings.rate_assign),
            refused: AtomicU64::new(0),
        }
    }

    /// Requests refused so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn of(&self, path: &str) -> Option<&Windows> {
        let under = |root: &str| {
            let rest = path.strip_prefix(root);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if under("/api/v1/auth") {
            Some(&self.auth)
        } else if under("/api/v1/email") {
            Some(&self.email)
        } else if path == "/api/v1/cluster/assign" {
            Some(&self.assign)
        } else {
            None
        }
    }
}

/// Requests came too often.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TooMany {
    #[schema(schema_with = always_false)]
    success: bool,
    message: &'static str,
    code: &'static str,
    /// Whole seconds until the window ends.
    retry_after: u64,
}

/// Refuses what is too much, before anything else is done for it.
pub(super) async fn limit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(windows) = app.rates.of(request.uri().path()) else { return next.run(request).await };
    let (parts, body) = request.into_parts();
    let client = client::address(&parts, &app.settings.auth.trusted_proxies);
    if let Some(retry_after) = client.and_then(|client| windows.refuses(client, Instant::now())) {
        app.rates.refused.fetch_add(1, Ordering::Relaxed);
        let refusal = TooMany {
            success: false,
            message: "请求过于频繁，请稍后重试",
            code: "RATE_LIMIT_EXCEEDED",
            retry_after,
        };
        return json(StatusCode::TOO_MANY_REQUESTS, &refusal);
    }
    next.run(Request::from_parts(parts, body)).await
}

/// One router's windows.
struct Windows {
    limit: u32,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    counts: HashMap<IpAddr, (u32, Instant)>,
    /// In the order of their opening, which is that of their end.
    order: VecDeque<IpAddr>,
}

impl Windows {
    fn new(limit: u32) -> Self {
        Self { limit, open: Mutex::default() }
    }

    /// Counts a request. If it is one too many: the whole seconds until the window ends.
    fn refuses(&self, client: IpAddr, now: Instant) -> Option<u64> {
        if self.limit == 0 {
            return None;
        }
        let client = whose(client);
        let mut open = self.open.lock();
        open.forget_old(now);
        if let Some((count, since)) = open.counts.get_mut(&client) {
            *count = count.saturating_add(1);
            let left = WINDOW.saturating_sub(now.saturating_duration_since(*since));
            return (*count > self.limit).then(|| left.as_millis().div_ceil(1_000) as u64);
        }
        open.counts.insert(client, (1, now));
        open.order.push_back(client);
        None
    }
}

impl Open {
    fn forget_old(&mut self, now: Instant) {
        while let Some(oldest) = self.order.front() {
            let over = self
                .counts
                .get(oldest)
                .is_none_or(|(_, since)| now.saturating_duration_since(*since) >= WINDOW);
            if !over && self.counts.len() < CLIENTS_MAX {
                break;
            }
            self.counts.remove(oldest);
            self.order.pop_front();
        }
    }
}

/// One client has a whole network of the newer addresses to choose from.
fn whose(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            [a, b, c, d, 0, 0, 0, 0].into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_opens_with_the_first_request_and_ends_a_minute_later() {
        let windows = Windows::new(2);
        let start = Instant::now();
        let at = |ms, client| windows.refuses(ip(client), start + Duration::from_millis(ms));
        assert_eq!([at(0, "10.0.0.1"), at(100, "10.0.0.1")], [None, None]);
        assert_eq!(at(18_500, "10.0.0.1"), Some(42));
        assert_eq!(at(18_500, "10.0.0.2"), None, "others have their own");
        assert_eq!(at(59_999, "10.0.0.1"), Some(1), "what was refused does not prolong it");
        assert_eq!([at(60_000, "10.0.0.1"), at(60_000, "10.0.0.1")], [None, None]);
        assert_eq!(at(60_001, "10.0.0.1"), Some(60));
        assert_eq!([at(60_001, "fd00::1"), at(60_001, "fd00::2")], [None, None]);
        assert_eq!(at(60_001, "fd00::3"), Some(60), "one network");
        assert_eq!(at(60_001, "fd00:0:0:1::3"), None);
    }

    #[test]
    fn only_so_many_clients_are_counted() {
        let windows = Windows::new(1);
        let now = Instant::now();
        for number in 0..CLIENTS_MAX as u32 + 5 {
            assert_eq!(windows.refuses(IpAddr::from(number.to_be_bytes()), now), None);
        }
        assert_eq!(windows.open.lock().counts.len(), CLIENTS_MAX);
        assert_eq!(windows.open.lock().order.len(), CLIENTS_MAX);
        // The last is still counted, the first was forgotten.
        let last = CLIENTS_MAX as u32 + 4;
        assert!(windows.refuses(IpAddr::from(last.to_be_bytes()), now).is_some());
        assert!(windows.refuses(IpAddr::from(0_u32.to_be_bytes()), now).is_none());
    }

    #[test]
    fn no_limit_counts_nothing() {
        let windows = Windows::new(0);
        assert!((0..100).all(|_| windows.refuses(ip("10.0.0.1"), Instant::now()).is_none()));
        assert!(windows.open.lock().counts.is_empty());
    }

    #[test]
    fn each_router_is_known_by_its_root() {
        let settings =
            AuthSettings { rate_auth: 1, rate_email: 2, rate_assign: 3, ..AuthSettings::default() };
        let limits = RateLimits::new(&settings);
        let limit = |path| limits.of(path).map(|windows| windows.limit);
        assert_eq!(limit("/api/v1/auth/create-guest"), Some(1));
        assert_eq!(limit("/api/v1/auth"), Some(1));
        assert_eq!(limit("/api/v1/email/bind"), Some(2));
        assert_eq!(limit("/api/v1/cluster/assign"), Some(3));
        for path in [
            "/api/v1/authors",
            "/api/v1/cluster/announce",
            "/health",
            "/api/v1/sessions/sessions/x",
            "/",
        ] {
            assert_eq!(limit(path), None, "{path}");
        }
    }
}
