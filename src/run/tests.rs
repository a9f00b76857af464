//! The loop on real sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;
use crate::app::{State, testing};

/// Longest wait for anything here.
const DEADLINE: Duration = Duration::from_secs(20);

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Asks once and reads until the server closes.
async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_starting_node_says_so_and_then_serves_on_the_same_port() {
    let node = testing::Node::start(&[]).await;
    let (listener, address) = listener().await;
    let readiness = Arc::<LocalReadiness>::default();
    let (go, wait) = oneshot::channel::<()>();
    let asking = tokio::spawn(async move {
        let answers = [
            ask(address, "/ready").await,
            ask(address, "/health").await,
            ask(address, "/api/v1/auth/check-player/x").await,
            ask(address, "/metrics").await,
        ];
        go.send(()).unwrap();
        answers
    });
    let app = &node.app;
    let started = while_starting(&listener, &app.connections, &readiness, &app.settings, wait);
    timeout(DEADLINE, started).await.unwrap().unwrap();
    let [ready, health, other, metrics] = asking.await.unwrap();
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("retry-after: 3"), "{ready}");
    assert!(ready.contains("\"state\":\"starting\""), "{ready}");
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    assert!(health.contains("Cluster manager not available"), "{health}");
    assert!(other.starts_with("HTTP/1.1 503") && other.contains("CLUSTER_UNAVAILABLE"), "{other}");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(metrics.contains("serverv2_ready{instance_id=\"node-1\"} 0\n"), "{metrics}");

    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (app, stop) = (app.clone(), stop.clone());
        async move { run(listener, app, stop.cancelled()).await }
    });
    timeout(DEADLINE, app.readiness.reached(State::Ready)).await.unwrap();
    let ready = ask(address, "/ready").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    stop.cancel();
    timeout(DEADLINE, serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(app.readiness.now().0, State::Draining);
}

#[tokio::test]
async fn stopping_closes_connections_that_say_nothing() {
    let node = testing::Node::start(&[]).await;
    let (listener, address) = listener().await;
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (app, stop) = (node.app.clone(), stop.clone());
        async move { run(listener, app, stop.cancelled()).await }
    });
    let mut idle = TcpStream::connect(address).await.unwrap();
    // Its place is taken once another connection is answered.
    ask(address, "/health").await;
    stop.cancel();
    timeout(DEADLINE, serving).await.unwrap().unwrap();
    let closed = timeout(DEADLINE, idle.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    assert_eq!(node.app.connections.count(), 0);
}

#[tokio::test]
async fn a_connection_above_the_bound_is_closed_at_once() {
    let node = testing::Node::start(&[("CONNECTIONS_MAX", "1")]).await;
    let (listener, address) = listener().await;
    let app = node.app.clone();
    let serving = tokio::spawn(run(listener, app, std::future::pending()));
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut some = [0; 12];
    timeout(DEADLINE, first.read_exact(&mut some)).await.unwrap().unwrap();
    assert_eq!(&some, b"HTTP/1.1 200");
    let mut second = TcpStream::connect(address).await.unwrap();
    let closed = timeout(DEADLINE, second.read(&mut some)).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    serving.abort();
}
