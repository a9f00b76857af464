//! HAProxy's agent check: a line for each connection that says how much this node takes.
//!
//! | The node | The line | What HAProxy does |
//! |---|---|---|
//! | serves | `ready up 75%` | sends it its share, 75 % of its `weight` |
//! | is full | `ready up 0%` | sends it nobody new |
//! | starts, or has no majority, for longer than an election | `down#unhealthy` | sends it nobody |
//! | stops, or was removed | `drain` | sends it nobody new; who is there stays |
//!
//! The words stay in force at HAProxy until others come, so all of them are said each time: `ready` ends a `drain`,
//! `up` ends a `down`. Nobody is read: what a client sends is thrown away. At most [`CHECKS_MAX`] are served at once,
//! each for at most [`PATIENCE`]; one more is closed.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::{Condition, Health};

/// Checks that are answered at once.
const CHECKS_MAX: usize = 64;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// What is thrown away of what a client sends, bytes: HAProxy's `agent-send` has at most a line.
const THROWN_AWAY_MAX: u64 = 1_024;
/// Pause after a failed accept: out of file descriptors, most often.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is said of a node in this condition; `None`: it is starting, and has none yet.
pub fn line(now: Option<Condition>) -> String {
    match now {
        Some(it) if it.health == Health::Healthy => format!("ready up {}%\n", it.left()),
        Some(it) if it.health == Health::Stopping => "drain\n".to_owned(),
        Some(_) | None => format!("down#{}\n", Health::Unhealthy.name()),
    }
}

/// Answers for as long as it is let.
pub async fn serve(listener: TcpListener, line: impl Fn() -> String) {
    let places = Arc::new(Semaphore::new(CHECKS_MAX));
    match listener.local_addr() {
        Ok(address) => info!(%address, "HAProxy's agent checks are answered"),
        Err(error) => debug!(%error, "the agent's listener has no address"),
    }
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "an agent check could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            debug!(%from, "too many agent checks at once, this one is closed");
            continue;
        };
        let line = line();
        tokio::spawn(async move {
            let _place = place;
            if !matches!(timeout(PATIENCE, answer(stream, &line)).await, Ok(Ok(()))) {
                debug!(%from, "an agent check was not answered");
            }
        });
    }
}

async fn answer(mut stream: TcpStream, line: &str) -> std::io::Result<()> {
    stream.write_all(line.as_bytes()).await?;
    stream.shutdown().await?;
    // A connection that is closed with something unread is reset, and the line may be lost with it.
    let mut rest = stream.take(THROWN_AWAY_MAX);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::super::condition::testing::with;
    use super::*;

    #[test]
    fn each_condition_has_its_line() {
        let is = |health| Condition { health, ..with(25, 0.0) };
        for (now, said) in [
            (Some(with(25, 0.0)), "ready up 75%\n"),
            (Some(with(25, 90.0)), "ready up 10%\n"),
            (Some(with(100, 0.0)), "ready up 0%\n"),
            (Some(is(Health::Unhealthy)), "down#unhealthy\n"),
            (Some(is(Health::Stopping)), "drain\n"),
            (None, "down#unhealthy\n"),
        ] {
            assert_eq!(line(now), said, "{now:?}");
        }
    }

    async fn said(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn who_holds_on_to_all_places_keeps_them_for_a_moment_only() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, || "drain\n".to_owned()));
        let mut held = Vec::new();
        for _ in 0..CHECKS_MAX {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert_eq!(said(&mut stream).await, "drain\n", "the line comes whatever is sent");
            held.push(stream);
        }
        let mut one_more = TcpStream::connect(address).await.unwrap();
        assert_eq!(said(&mut one_more).await, "", "there is no place for it");
        let served = async {
            loop {
                let mut stream = TcpStream::connect(address).await.unwrap();
                if said(&mut stream).await == "drain\n" {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(10 * PATIENCE, served).await.expect("places become free by themselves");
        serving.abort();
    }

    #[tokio::test]
    async fn what_is_sent_is_thrown_away_and_the_line_comes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, || line(None)));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"node-1\n").await.unwrap();
        assert_eq!(said(&mut stream).await, "down#unhealthy\n");
        serving.abort();
    }
}
