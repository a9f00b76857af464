//! Tokens where there are several nodes: what one is told holds at all of them, also at one that is alone.

use hyper::Method;
use serde_json::Value;

use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::{Client, Dial, eventually};
use crate::tokens::{Holder, by, is_cut, is_dismissed, refresh, refusal, verify, wanting_tokens};

async fn trio() -> Trio {
    Trio::start_with(|_, options| wanting_tokens(options)).await
}

#[tokio::test]
async fn a_logout_through_one_node_holds_at_all_of_them() {
    let mut trio = trio().await;
    let ann = Holder::of(&trio.nodes[0]).await;
    let mut clients = Vec::new();
    for node in &trio.nodes {
        let client = ann.dial(node).open().await;
        client.settle().await;
        clients.push(client);
    }
    let logout = by(&ann.access, &trio.nodes[0], Method::POST, "/api/v1/auth/logout").send().await;
    assert_eq!(logout.status, 200, "{logout:?}");
    // No waiting: whoever was told that he is logged out is.
    for node in &trio.nodes {
        assert_eq!(verify(&ann.access, node).await, 401);
        assert_eq!(refusal(ann.dial(node)).await, "TOKEN_BLACKLISTED");
        assert_eq!(refresh(&ann.refresh, node).await.0, 401);
    }
    for client in &clients {
        is_dismissed(client).await;
    }

    // Nor is it forgotten when all of them die.
    let bob = Holder::of(&trio.nodes[0]).await;
    trio.nodes.iter_mut().for_each(|node| node.kill9());
    trio.nodes.iter_mut().for_each(|node| node.start_again());
    for node in &mut trio.nodes {
        node.until_ready().await;
    }
    for node in &trio.nodes {
        let good = || verify(&bob.access, node);
        eventually("a good token", good, |status| *status == 200).await;
        assert_eq!(verify(&ann.access, node).await, 401);
        assert_eq!(refresh(&ann.refresh, node).await.0, 401);
    }
}

#[tokio::test]
async fn a_refresh_through_two_nodes_at_once_gives_one_pair() {
    let trio = trio().await;
    let ann = Holder::of(&trio.nodes[0]).await;
    let (one, other) =
        tokio::join!(refresh(&ann.refresh, &trio.nodes[1]), refresh(&ann.refresh, &trio.nodes[2]));
    assert_eq!((one.0, other.0), (200, 200));
    assert_eq!(one.1, other.1);
    let text = |pair: &Value, name: &str| pair[name].as_str().expect("a token").to_owned();
    let (access, next) = (text(&one.1, "accessToken"), text(&one.1, "refreshToken"));
    let client = Dial::player(&trio.nodes[0], &ann.id).token(&access).open().await;
    client.settle().await;

    // The next step is made; whoever comes with the old token now has a copy of it.
    assert_eq!(refresh(&next, &trio.nodes[1]).await.0, 200);
    assert_eq!(refresh(&ann.refresh, &trio.nodes[2]).await.0, 401);
    is_dismissed(&client).await;
    let refused = || verify(&access, &trio.nodes[1]);
    eventually("the revocation", refused, |status| *status == 401).await;
}

#[tokio::test]
async fn a_session_is_ended_through_another_node_than_its_own() {
    let trio = trio().await;
    let ann = Holder::of(&trio.nodes[0]).await;
    let client = ann.dial(&trio.nodes[1]).session("tab").open().await;
    client.settle().await;
    let path = format!("/api/v1/sessions/sessions/{}", ann.id);
    let ended = by(&ann.access, &trio.nodes[2], Method::DELETE, &path).send().await;
    assert_eq!(ended.json()["data"]["removedSessionCount"], 1, "{ended:?}");
    is_dismissed(&client).await;
}

#[tokio::test]
async fn a_node_that_is_alone_can_not_say_whether_a_token_counts() {
    let patient = |_, options: Options| wanting_tokens(options).env("NODE_GONE_AFTER_MS", "600000");
    let (trio, links) = Trio::start_apart(patient).await;
    let alone = (trio.leader(0).await + 1) % 3;
    let other = (alone + 1) % 3;
    let ann = Holder::of(&trio.nodes[other]).await;
    let client: Client = ann.dial(&trio.nodes[alone]).open().await;
    client.settle().await;

    links.isolate(alone);
    let node = &trio.nodes[alone];
    let unsure = || verify(&ann.access, node);
    eventually("doubt", unsure, |status| *status == 503).await;
    let told = by(&ann.access, node, Method::GET, "/api/v1/auth/verify").send().await;
    told.assert_error(503, "CLUSTER_UNAVAILABLE", None);
    assert_eq!(refusal(ann.dial(node)).await, "AUTHENTICATION_ERROR");
    // The others know what they know, and wait no longer for the one than they must.
    assert_eq!(verify(&ann.access, &trio.nodes[other]).await, 200);
    let logout =
        by(&ann.access, &trio.nodes[other], Method::POST, "/api/v1/auth/logout").send().await;
    assert_eq!(logout.status, 200);
    assert_eq!(verify(&ann.access, node).await, 503, "it can't know of it, and does not say yes");
    // Who is here by token must look for another node.
    is_cut(&client).await;

    links.heal();
    let refused = || verify(&ann.access, node);
    eventually("the revocation", refused, |status| *status == 401).await;
    assert_eq!(refusal(ann.dial(node)).await, "TOKEN_BLACKLISTED");
}
