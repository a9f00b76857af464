//! Several sessions of a player, and several sockets of a session (contract 3.8, row 25).

use serde_json::json;

use crate::harness::{Dial, Duel, Fighter, Server, guest, team};

#[tokio::test]
async fn a_second_login_does_not_disturb_the_first() {
    let server = Server::start().await;
    let duel = Duel::started(&server).await;
    let second = Dial::player(&server, &duel.a.id).open().await;
    second.settle().await;
    let next = duel.attack_once(-1).await;
    second.leave().await;
    duel.attack_once(next).await;
    assert!(!duel.a.client.is_closed());
    assert_eq!(duel.a.state().await["status"], "On");
}

#[tokio::test]
async fn one_player_can_fight_two_battles_in_two_sessions() {
    let server = Server::start().await;
    let id = guest(&server).await;
    let tab = async |session: &str, number: usize| Fighter {
        team: team::schema(number, &id),
        client: Dial::player(&server, &id).session(session).open().await,
        id: id.clone(),
        session: session.to_owned(),
    };
    let first = Duel::pair(tab("one", 0).await, Fighter::new(&server, 1).await).await;
    let second = Duel::pair(tab("two", 2).await, Fighter::new(&server, 1).await).await;
    first.ready().await;
    second.ready().await;
    first.attack_once(-1).await;
    assert_eq!(second.a.state().await["currentTurn"], 0, "the other battle stands still");
    second.attack_once(-1).await;
    first.a.submit(&first.a.surrender()).await;
    first.b.attack().await;
    let end = first.a.message("BATTLE_END").await;
    assert_eq!(end.data["winner"], json!(first.b.id));
    first.a.client.event("roomClosed").await;
    assert_eq!(second.a.state().await["status"], "On");
    assert!(second.a.client.events("roomClosed").is_empty());
}

#[tokio::test]
async fn a_newer_socket_of_a_session_takes_over_and_the_older_ones_close_harms_nothing() {
    let server = Server::start().await;
    let mut duel = Duel::started(&server).await;
    let newer = Dial::player(&server, &duel.a.id).session(&duel.a.session).open().await;
    let state = newer.resume().await;
    assert_eq!(state["status"], "On", "the newer socket is in the battle");
    let older = std::mem::replace(&mut duel.a.client, newer);
    assert!(!older.is_closed(), "the older socket is not closed by this");
    older.settle().await;
    let told = older.events("battleEvent").len();

    let next = duel.attack_once(-1).await;
    older.settle().await;
    assert_eq!(older.events("battleEvent").len(), told, "messages go to the newer socket");
    older.leave().await;
    let after = duel.attack_once(next).await;
    duel.a.assert_in_step().await;
    duel.b.assert_in_step().await;
    assert!(after > next && duel.b.client.events("roomClosed").is_empty());
}

#[tokio::test]
async fn an_older_sockets_close_does_not_take_the_session_out_of_the_queue() {
    let server = Server::start().await;
    let mut fighter = Fighter::new(&server, 0).await;
    fighter.join().await;
    let newer = Dial::player(&server, &fighter.id).session(&fighter.session).open().await;
    std::mem::replace(&mut fighter.client, newer).leave().await;
    let other = Fighter::new(&server, 1).await;
    other.join().await;
    let room = other.matched().await;
    assert_eq!(fighter.matched().await, room);
}

#[tokio::test]
async fn an_older_socket_may_still_queue_for_its_session_and_the_newer_one_hears_of_the_match() {
    let server = Server::start().await;
    let mut fighter = Fighter::new(&server, 0).await;
    let newer = Dial::player(&server, &fighter.id).session(&fighter.session).open().await;
    newer.settle().await;
    fighter.join().await;
    let other = Fighter::new(&server, 1).await;
    other.join().await;
    let older = std::mem::replace(&mut fighter.client, newer);
    assert_eq!(fighter.matched().await, other.matched().await);
    assert!(older.events("matchSuccess").is_empty());
}
