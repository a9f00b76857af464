//! The application's own heartbeat (contract 3.4) and the periodic state (3.6).

use std::time::Duration;

use crate::harness::{Server, connected_guest, eventually};

/// A little more than the period.
const PERIOD: Duration = Duration::from_millis(5_000);

#[tokio::test]
async fn a_socket_that_answers_pings_stays_and_a_silent_one_is_cut() {
    let server = Server::start().await;
    let (_, lively) = connected_guest(&server).await;
    let (_, silent) = connected_guest(&server).await;
    silent.go_silent();
    let connected = tokio::time::Instant::now();
    let count = |pings: usize| {
        move |records: &[crate::harness::socket::Record]| {
            let times: Vec<_> = crate::harness::socket::events(records)
                .filter(|e| e.name == "ping")
                .map(|e| e.arrived)
                .collect();
            (times.len() >= pings).then_some(times)
        }
    };

    silent.closed_within(Duration::from_secs(17)).await;
    let lived = connected.elapsed();
    assert!(
        lived > Duration::from_millis(9_500),
        "cut after {lived:?}, before the contract's 10 s"
    );

    let pings = lively.wait("third ping", count(3)).await;
    for pair in pings.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(
            apart > PERIOD.mul_f64(0.5) && apart < PERIOD.mul_f64(2.0),
            "pings {apart:?} apart"
        );
    }
    assert!(!lively.is_closed());
    lively.settle().await;
    let online = || async { lively.ok("getServerState", &[]).await["onlinePlayers"].clone() };
    eventually("the silent one is gone", online, |online| *online == 1).await;
}

#[tokio::test]
async fn everybody_is_told_the_server_state_periodically() {
    let server = Server::start().await;
    let (_, client) = connected_guest(&server).await;
    let told = client.event("updateState").await;
    for key in ["onlinePlayers", "matchmakingQueue", "rooms", "playersInRooms"] {
        assert!(told.arg()[key].is_u64(), "{key} in {}", told.raw);
    }
    assert!(told.arg().get("status").is_none(), "it is not in an envelope: {}", told.raw);
}
