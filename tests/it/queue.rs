//! The queue: who is let in, who is paired with whom, and in which order (rows 9, 11, 12).

use serde_json::{Value, json};

use crate::harness::socket::Record;
use crate::harness::{
    Client, Dial, Duel, Fighter, Server, connected_guest, eventually, guest, team,
};

async fn queued(client: &Client) -> u64 {
    client.ok("getServerState", &[]).await["matchmakingQueue"].as_u64().expect("a count")
}

#[tokio::test]
async fn the_joiner_hears_queued_before_the_match() {
    let server = Server::start().await;
    let duel = Duel::paired(&server).await;
    for fighter in [&duel.a, &duel.b] {
        let records = fighter.client.records();
        let ack = records
            .iter()
            .position(|r| matches!(r, Record::Ack { id: 0, .. }))
            .expect("the join was the first question");
        let found =
            records.iter().position(|r| matches!(r, Record::Event(e) if e.name == "matchSuccess"));
        assert!(ack < found.expect("both were matched"), "QUEUED comes first");
    }
}

#[tokio::test]
async fn both_are_told_the_same_room_and_each_others_name_once() {
    let server = Server::start().await;
    let duel = Duel::paired(&server).await;
    assert_eq!(duel.room.len(), 21);
    for (own, other) in [(&duel.a, &duel.b), (&duel.b, &duel.a)] {
        own.client.settle().await;
        let found = own.client.events("matchSuccess");
        assert_eq!(found.len(), 1);
        let path = format!("/api/v1/auth/check-player/{}", other.id);
        let name =
            crate::harness::Http::get(&server, &path).send().await.json()["data"]["playerName"]
                .clone();
        let wanted = json!({"status": "SUCCESS", "data": {"roomId": duel.room, "opponent": {"id": other.id, "name": name}}});
        assert_eq!(*found[0].arg(), wanted);
    }
    let state = duel.a.client.ok("getServerState", &[]).await;
    assert_eq!((&state["matchmakingQueue"], &state["rooms"]), (&json!(0), &json!(1)), "{state}");
}

#[tokio::test]
async fn the_older_entry_is_player_a() {
    let server = Server::start().await;
    let duel = Duel::paired(&server).await;
    for fighter in [&duel.a, &duel.b] {
        let players = fighter.state().await["players"].clone();
        assert_eq!((&players[0]["id"], &players[1]["id"]), (&json!(duel.a.id), &json!(duel.b.id)));
    }
}

#[tokio::test]
async fn two_sessions_of_one_player_are_never_paired_with_each_other() {
    let server = Server::start().await;
    let id = guest(&server).await;
    let one = Dial::player(&server, &id).session("one").open().await;
    let two = Dial::player(&server, &id).session("two").open().await;
    let team = team::schema(0, &id);
    for tab in [&one, &two] {
        assert_eq!(
            tab.ok("joinMatchmaking", std::slice::from_ref(&team)).await,
            json!({"status": "QUEUED"})
        );
    }
    assert_eq!(queued(&one).await, 2, "both wait");

    // Another player takes the older of the two; a fourth one takes the other.
    let other = Fighter::new(&server, 1).await;
    other.join().await;
    let room = other.matched().await;
    let found = one.event("matchSuccess").await;
    assert_eq!(found.arg()["data"]["roomId"], json!(room));
    assert_eq!(found.arg()["data"]["opponent"]["id"], json!(other.id));
    assert_eq!(queued(&two).await, 1);
    assert!(two.events("matchSuccess").is_empty());
    let fourth = Fighter::new(&server, 2).await;
    fourth.join().await;
    let second = fourth.matched().await;
    assert_eq!(two.event("matchSuccess").await.arg()["data"]["roomId"], json!(second));
    assert_ne!(room, second);
}

#[tokio::test]
async fn a_session_that_joins_again_goes_to_the_end_and_is_in_the_queue_once() {
    let server = Server::start().await;
    let id = guest(&server).await;
    let one = Dial::player(&server, &id).session("one").open().await;
    let two = Dial::player(&server, &id).session("two").open().await;
    let team = team::schema(0, &id);
    for tab in [&one, &two, &one] {
        tab.ok("joinMatchmaking", std::slice::from_ref(&team)).await;
    }
    assert_eq!(queued(&one).await, 2);
    let other = Fighter::new(&server, 1).await;
    other.join().await;
    let room = other.matched().await;
    assert_eq!(
        two.event("matchSuccess").await.arg()["data"]["roomId"],
        json!(room),
        "the second one is older now"
    );
    one.settle().await;
    assert!(one.events("matchSuccess").is_empty());
}

#[tokio::test]
async fn cancelling_is_idempotent_and_a_cancelled_session_is_not_paired() {
    let server = Server::start().await;
    let a = Fighter::new(&server, 0).await;
    let cancelled = json!({"status": "CANCELED"});
    assert_eq!(a.client.ok("cancelMatchmaking", &[]).await, cancelled, "also when not queued");
    a.join().await;
    assert_eq!(queued(&a.client).await, 1);
    for _ in 0..2 {
        assert_eq!(a.client.ok("cancelMatchmaking", &[]).await, cancelled);
    }
    assert_eq!(queued(&a.client).await, 0);

    let duel = Duel::paired(&server).await;
    a.client.settle().await;
    assert!(
        a.client.events("matchSuccess").is_empty(),
        "the two others were paired: room {}",
        duel.room
    );
    assert_eq!(
        duel.a.client.ok("cancelMatchmaking", &[]).await,
        cancelled,
        "too late, and no error"
    );
    assert_eq!(duel.a.state().await["status"], "Unstarted", "the room is still there");
}

#[tokio::test]
async fn a_disconnect_leaves_the_queue() {
    let server = Server::start().await;
    let gone = Fighter::new(&server, 0).await;
    gone.join().await;
    let (_, watcher) = connected_guest(&server).await;
    assert_eq!(queued(&watcher).await, 1);
    gone.client.leave().await;
    eventually("empty queue", || queued(&watcher), |count| *count == 0).await;
    let duel = Duel::paired(&server).await;
    assert_eq!(duel.a.state().await["players"][0]["id"], json!(duel.a.id));
}

#[tokio::test]
async fn twenty_players_who_join_at_once_make_ten_different_pairs() {
    let server = Server::start().await;
    let fighters =
        futures::future::join_all((0..20).map(|number| Fighter::new(&server, number))).await;
    futures::future::join_all(fighters.iter().map(Fighter::join)).await;
    let rooms = futures::future::join_all(fighters.iter().map(Fighter::matched)).await;
    let mut seats: std::collections::BTreeMap<&String, Vec<&String>> =
        std::collections::BTreeMap::new();
    for (room, fighter) in rooms.iter().zip(&fighters) {
        seats.entry(room).or_default().push(&fighter.id);
    }
    assert_eq!(seats.len(), 10, "{seats:?}");
    assert!(
        seats.values().all(|players| players.len() == 2 && players[0] != players[1]),
        "{seats:?}"
    );
    assert_eq!(queued(&fighters[0].client).await, 0);
    for fighter in &fighters {
        assert_eq!(fighter.client.events("matchSuccess").len(), 1);
    }
}

#[tokio::test]
async fn every_team_of_the_tests_is_known_to_the_game_data() {
    let server = Server::start().await;
    assert!(team::count() >= 3);
    for number in 0..team::count() {
        let fighter = Fighter::new(&server, number).await;
        fighter.join().await;
        fighter.client.ok("cancelMatchmaking", &[]).await;
    }
}

#[tokio::test]
async fn a_later_clients_wrapped_team_is_accepted() {
    let server = Server::start().await;
    let (a, b) = (Fighter::new(&server, 0).await, Fighter::new(&server, 1).await);
    let wrapped = json!({"playerSchema": a.team, "ruleSetId": "standard"});
    assert_eq!(a.client.ok("joinMatchmaking", &[wrapped]).await, json!({"status": "QUEUED"}));
    let wrapped = json!({"playerSchema": b.team});
    b.client.ok("joinMatchmaking", &[wrapped]).await;
    assert_eq!(a.matched().await, b.matched().await);
}

/// The valid team with one thing changed, and what the refusal's details must contain.
fn broken(valid: &Value) -> Vec<(Value, &'static str)> {
    let with = |path: &str, value: Value| {
        let mut team = valid.clone();
        *team.pointer_mut(path).unwrap_or_else(|| panic!("{path} is in the team")) = value;
        team
    };
    let without = |path: &str, key: &str| {
        let mut team = valid.clone();
        team.pointer_mut(path)
            .and_then(Value::as_object_mut)
            .expect("an object")
            .remove(key)
            .expect("it is there");
        team
    };
    let pet = valid["team"][0].clone();
    let no_stats = json!({"hp": 255, "atk": 255, "def": 1, "spa": 0, "spd": 0, "spe": 0});
    vec![
        (without("", "name"), "Required"),
        (without("", "team"), "Required"),
        (without("/team/0", "species"), "Required"),
        (without("/team/0", "nature"), "Required"),
        (without("/team/0/ivs", "spe"), "Required"),
        (with("/name", json!("")), "String must contain at least 1 character(s)"),
        (with("/team", json!([])), "Array must contain at least 1 element(s)"),
        (with("/team", json!(vec![pet; 7])), "Array must contain at most 6 element(s)"),
        (
            with(
                "/team/0/skills",
                json!(["skill_a", "skill_b", "skill_c", "skill_d", "skill_e", "skill_f"]),
            ),
            "at most 5",
        ),
        (with("/team/0/evs/hp", json!(256)), "Number must be less than or equal to 255"),
        (with("/team/0/evs/hp", json!(-1)), "Number must be greater than or equal to 0"),
        (with("/team/0/ivs/hp", json!(1.5)), "Expected integer, received float"),
        (with("/team/0/evs", no_stats), "学习力总和不能超过510"),
        (with("/team/0/species", json!("dilan")), "Invalid"),
        (with("/id", json!("short")), "Invalid"),
        (with("/team/0/level", json!(0)), "Number must be"),
        (with("/team/0/level", json!(101)), "Number must be"),
        (with("/team/0/nature", json!("Angry")), ""),
    ]
}

#[tokio::test]
async fn a_broken_team_is_refused_with_the_text_of_its_fault() {
    let server = Server::start().await;
    let fighter = Fighter::new(&server, 0).await;
    for (team, text) in broken(&fighter.team) {
        let (code, details) =
            fighter.client.refused("joinMatchmaking", std::slice::from_ref(&team)).await;
        assert_eq!(code, "VALIDATION_ERROR", "{team}");
        assert!(
            details.starts_with("Invalid player data: ") && details.contains(text),
            "{details:?} for {team}"
        );
    }
    fighter.join().await;
}

#[tokio::test]
async fn a_team_for_another_player_or_of_unknown_things_is_refused() {
    let server = Server::start().await;
    let fighter = Fighter::new(&server, 0).await;
    let refusal = async |team: Value| fighter.client.refused("joinMatchmaking", &[team]).await;
    let mut foreign = fighter.team.clone();
    foreign["id"] = json!("AAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(refusal(foreign).await, ("VALIDATION_ERROR".into(), "PLAYER_ID_MISMATCH".into()));
    for (path, value) in [
        ("/team/0/species", json!("pet_that_nobody_has_seen")),
        ("/team/0/skills", json!(["skill_that_nobody_knows"])),
        ("/team/0/ability", json!("mark_that_nobody_bears")),
        ("/team/0/emblem", json!("mark_that_nobody_bears")),
    ] {
        let mut team = fighter.team.clone();
        match team.pointer_mut(path) {
            Some(place) => *place = value,
            None => {
                team["team"][0][path.rsplit('/').next().expect("a path has a last part")] = value;
            }
        }
        assert_eq!(
            refusal(team).await,
            ("VALIDATION_ERROR".into(), "Failed to validate player data".into()),
            "{path}"
        );
    }
    assert_eq!(queued(&fighter.client).await, 0);
}
