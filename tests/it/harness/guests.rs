//! Guests made as fast as a node answers, and which of them are known later on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::Method;
use tokio::task::JoinSet;

use super::{Http, Server, eventually};

/// Callers that make guests through some nodes, until they are stopped or their node is gone.
pub(crate) struct Callers {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    callers: JoinSet<Vec<String>>,
}

impl Callers {
    /// So many for each node.
    pub(crate) fn on(nodes: &[Server], each: usize) -> Self {
        let (stop, made) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut callers = JoinSet::new();
        for node in nodes {
            for _ in 0..each {
                callers.spawn(make_guests(node.address(), stop.clone(), made.clone()));
            }
        }
        Self { stop, made, callers }
    }

    /// Waits until so many more were acknowledged.
    pub(crate) async fn more(&self, count: usize) {
        let wanted = self.made.load(Ordering::Relaxed) + count;
        let made = || async { self.made.load(Ordering::Relaxed) };
        eventually("guests", made, |made| *made >= wanted).await;
    }

    /// Ends it and gives the guests that were acknowledged.
    pub(crate) async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await.concat()
    }
}

/// Makes guests until it is told to stop or its node is gone.
async fn make_guests(
    node: SocketAddr,
    stop: Arc<AtomicBool>,
    counter: Arc<AtomicUsize>,
) -> Vec<String> {
    let mut made = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let request = Http::to(node, Method::POST, "/api/v1/auth/create-guest");
        let Ok(answer) = request.exchange().await else { break };
        if answer.status.is_success() {
            let id = answer.json()["data"]["playerId"].as_str().expect("a guest's id").to_owned();
            made.push(id);
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
    made
}

/// Which of these guests some node does not know.
pub(crate) async fn missing(nodes: &[Server], told: &[String]) -> Vec<String> {
    let mut missing = Vec::new();
    for id in told {
        for node in nodes {
            let path = format!("/api/v1/auth/check-player/{id}");
            let known = || Http::get(node, &path).send();
            let answer = eventually("an answer", known, |answer| answer.status != 503).await;
            if answer.status != 200 {
                missing.push(id.clone());
                break;
            }
        }
    }
    missing
}
