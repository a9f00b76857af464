//! Two who want the same at once: a constraint decides.

use hyper::StatusCode;
use serde_json::json;

use super::{BIND, code, post, with_code};
use crate::harness::cluster::Trio;
use crate::harness::postgres::Database;
use crate::harness::{Dial, Http, guest};

#[tokio::test]
async fn two_nodes_bind_one_address_at_once_and_one_player_gets_it() {
    let database = Database::fresh().await;
    let trio = Trio::start_with(|_, options| database.used_by(options)).await;
    for round in 0..10 {
        let email = format!("race{round}@game.example");
        let mut ids = Vec::new();
        for node in &trio.nodes {
            ids.push(guest(node).await);
        }
        let code = code(&trio.nodes[2], &database, &email, &ids[2]).await;
        let bodies: Vec<_> = ids.iter().map(|id| with_code(&email, &code, id)).collect();
        let answers = tokio::join!(
            post(&trio.nodes[0], BIND, &bodies[0]),
            post(&trio.nodes[1], BIND, &bodies[1]),
            post(&trio.nodes[2], BIND, &bodies[2]),
        );
        let answers = [answers.0, answers.1, answers.2];
        let won: Vec<_> = (0..3).filter(|at| answers[*at].status == StatusCode::OK).collect();
        let &[winner] = &won[..] else { panic!("round {round}: {answers:?}") };
        for loser in (0..3).filter(|at| *at != winner) {
            assert_eq!(answers[loser].status, 400, "{answers:?}");
        }
        let owner = database.sql(&format!("select id from players where email = '{email}'"));
        assert_eq!(owner, ids[winner]);
    }
}

#[tokio::test]
async fn an_address_that_somebody_else_took_behind_our_back_is_taken() {
    let database = Database::fresh().await;
    let trio = Trio::start_with(|_, options| database.used_by(options)).await;
    let (ann, bob) = (guest(&trio.nodes[0]).await, guest(&trio.nodes[1]).await);
    let code = code(&trio.nodes[0], &database, "ann@game.example", &ann).await;
    database.sql(&format!(
        "update players set email = 'ann@game.example', email_verified = true, \
         email_bound_at = now(), is_registered = true where id = '{bob}'"
    ));
    let answer = post(&trio.nodes[1], BIND, &with_code("ann@game.example", &code, &ann)).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(answer.json()["message"], "该邮箱已被其他玩家绑定");
    let used = "select count(*) from email_verification_codes where used_at is not null";
    assert_eq!(database.sql(used), "0", "the code was not used up");
}

#[tokio::test]
async fn a_guest_who_registers_at_one_node_is_no_guest_at_the_door_of_another() {
    let database = Database::fresh().await;
    let trio = Trio::start_with(|_, options| database.used_by(options)).await;
    let id = guest(&trio.nodes[0]).await;
    // The others have seen the guest.
    for node in &trio.nodes {
        Dial::player(node, &id).open().await.settle().await;
    }
    let code = code(&trio.nodes[0], &database, "ann@game.example", &id).await;
    let bound = post(&trio.nodes[0], BIND, &with_code("ann@game.example", &code, &id)).await;
    assert_eq!(bound.status, StatusCode::OK, "{bound:?}");
    let token = bound.json()["auth"]["accessToken"].as_str().expect("a token").to_owned();
    for node in &trio.nodes {
        // The node may be an entry behind whoever answered; not half a minute.
        let refused = || async { Dial::player(node, &id).try_open().await.err() };
        let refused = crate::harness::eventually("a refusal", refused, Option::is_some).await;
        assert_eq!(refused.as_deref(), Some("TOKEN_REQUIRED_FOR_REGISTERED_USER"));
        Dial::player(node, &id).token(&token).open().await.settle().await;
    }
    let unbind = Http::post(&trio.nodes[1], "/api/v1/email/unbind")
        .header("authorization", &format!("Bearer {token}"))
        .json(&json!({"playerId": id}));
    assert_eq!(unbind.send().await.status, StatusCode::OK);
    assert_eq!(database.sql("select is_registered, email is null from players"), "f|t");
}
