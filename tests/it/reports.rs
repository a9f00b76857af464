//! Battle reports (checklist row 26): every battle has one, once, whoever dies, with all that an observer
//! would have seen, wherever it is kept.

mod database;
mod deaths;
mod lists;

use serde_json::{Value, json};

use crate::harness::battle::messages;
use crate::harness::patch;
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Http, Server, eventually};
use crate::kept::{Kept, wherever_players_are_kept};

wherever_players_are_kept! {
    a_battle_is_reported_from_its_pairing_to_its_end
    a_battle_without_messages_is_reported_too
    reports_can_be_switched_off
}

/// A route's answer.
async fn get(server: &Server, path: &str) -> Value {
    let answer = Http::get(server, &format!("/api/v1{path}")).send().await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

/// A player's reports, the newest first.
async fn reports_of(server: &Server, player: &str) -> Vec<Value> {
    get(server, &format!("/players/{player}/battles")).await["data"]
        .as_array()
        .expect("a list")
        .clone()
}

/// A player's only report; a database has it a moment after the pairing.
async fn only_report(server: &Server, player: &str) -> Value {
    let look = || async { reports_of(server, player).await };
    let mut reports = eventually("a report", look, |reports| !reports.is_empty()).await;
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports.remove(0)
}

/// The whole report of a player's last battle, once a node knows its messages.
async fn last_report(server: &Server, player: &str) -> Value {
    let look = || async {
        let last = reports_of(server, player).await.first()?.clone();
        let id = last["id"].as_str().expect("a report has an id").to_owned();
        Some(get(server, &format!("/battles/{id}")).await)
    };
    let has_messages = |report: &Option<Value>| {
        let messages = report.as_ref().and_then(|report| report["battle_messages"].as_array());
        messages.is_some_and(|messages| !messages.is_empty())
    };
    eventually("a report with messages", look, has_messages).await.expect("waited for")
}

/// What a player's battles came to; null before the first.
async fn stats(server: &Server, player: &str) -> Value {
    let answer = Http::get(server, &format!("/api/v1/players/{player}/stats")).send().await;
    if answer.status == 404 { Value::Null } else { answer.json() }
}

/// This player gives up, and the other one chooses: the end is recorded when this returns.
pub(crate) async fn surrender(loser: &Fighter, winner: &Fighter) {
    loser.submit(&loser.surrender()).await;
    winner.attack().await;
    winner.message("BATTLE_END").await;
    winner.client.event("roomClosed").await;
}

fn counts(stats: &Value) -> [Option<u64>; 4] {
    ["total_battles", "wins", "losses", "draws"].map(|key| stats[key].as_u64())
}

/// The report of a battle tells its whole story: dense numbers, the end, and deltas that lead to the
/// final state.
fn assert_whole_story(report: &Value) {
    let messages = report["battle_messages"].as_array().expect("a list");
    let mut state = json!({});
    for (number, message) in messages.iter().enumerate() {
        assert_eq!(message["sequenceId"], number, "{message}");
        if let Some(delta) = message.get("stateDelta") {
            patch::apply(&mut state, delta).expect("a delta fits");
        }
    }
    assert_eq!(messages.last().expect("some")["type"], "BATTLE_END");
    let mut last = report["final_state"].clone();
    last.as_object_mut().expect("a state").remove("sequenceId");
    assert_eq!(state, last, "the deltas lead to the final state");
    assert!(!report.to_string().contains(r#""isUnknown":true"#), "nothing is hidden");
}

async fn a_battle_is_reported_from_its_pairing_to_its_end(kept: Kept) {
    let server = kept.start().await;
    let duel = Duel::paired(&server).await;
    let (a, b) = (&duel.a.id, &duel.b.id);
    let open = only_report(&server, a).await;
    assert_eq!((&open["opponent_id"], &open["is_winner"]), (&json!(b), &Value::Null));
    assert_eq!((&open["ended_at"], &open["battle_result"]), (&Value::Null, &json!("abandoned")));
    let id = open["id"].as_str().expect("an id").to_owned();
    let row = get(&server, &format!("/battles/{id}")).await;
    assert_eq!((&row["battle_messages"], &row["final_state"]), (&json!([]), &json!({})));
    assert_eq!((&row["end_reason"], &row["winner_id"]), (&json!("disconnect"), &Value::Null));
    assert_eq!(row["metadata"], json!({"battleId": duel.room}));
    assert_eq!(stats(&server, a).await, Value::Null);
    assert_eq!(get(&server, "/statistics").await["total_battles"], 0, "it isn't over");

    duel.ready().await;
    duel.attack_once(-1).await;
    surrender(&duel.a, &duel.b).await;
    let report = get(&server, &format!("/battles/{id}")).await;
    let story = messages(&duel.b.client);
    let told: Vec<_> = report["battle_messages"].as_array().expect("a list").clone();
    assert_eq!(told.len(), story.len(), "as many messages as the players got");
    for (told, heard) in told.iter().zip(&story) {
        assert_eq!((&told["type"], &told["data"]), (&json!(heard.kind), &heard.data));
    }
    assert_whole_story(&report);
    let right = json!({
        "id": id, "player_a_id": a, "player_b_id": b, "winner_id": b,
        "battle_result": "player_b_wins", "end_reason": "surrender",
    });
    for (key, value) in right.as_object().expect("an object") {
        assert_eq!(&report[key], value, "{key}");
    }
    assert!(report["duration_seconds"].as_u64().is_some_and(|seconds| seconds >= 1));
    assert!(report["ended_at"].as_str() >= report["started_at"].as_str());

    assert_eq!(counts(&stats(&server, a).await), [1, 0, 1, 0].map(Some));
    assert_eq!(counts(&stats(&server, b).await), [1, 1, 0, 0].map(Some));
    let list = get(&server, "/battles").await;
    assert_eq!((&list["total"], &list["has_more"]), (&json!(1), &json!(false)));
    assert_eq!(list["data"], json!([report]), "the list has whole records");
    let seen = reports_of(&server, a).await.remove(0);
    assert_eq!(
        (&seen["is_winner"], &seen["battle_result"]),
        (&json!(false), &report["battle_result"])
    );
    let name = report["player_b_name"].as_str().expect("a name");
    let term = name.trim_start_matches("游客-");
    let found = get(&server, &format!("/players?search={term}")).await;
    assert_eq!(found["data"][0]["id"], json!(b));
    assert_eq!(
        (&found["data"][0]["wins"], &found["data"][0]["win_rate"]),
        (&json!(1), &json!(100.0))
    );
}

async fn a_battle_without_messages_is_reported_too(kept: Kept) {
    let server = kept.by(Server::with("DISCONNECT_GRACE_PERIOD_TTL", "0")).start().await;
    // Nobody is ready, and one goes.
    let duel = Duel::paired(&server).await;
    let (a, b) = (duel.a.id.clone(), duel.b.id.clone());
    drop(duel.a);
    duel.b.client.event("roomClosed").await;
    let ended = || async { only_report(&server, &b).await };
    let seen = eventually("a closed report", ended, |seen| !seen["ended_at"].is_null()).await;
    assert_eq!(seen["opponent_id"], json!(a));
    let [one, other] = [stats(&server, &a).await, stats(&server, &b).await];
    assert_eq!(counts(&one)[0], counts(&other)[0], "it counts for both or for nobody");
}

async fn reports_can_be_switched_off(kept: Kept) {
    let options = Options::default().arg("--enable-battle-reports=false");
    let server = kept.by(options).start().await;
    let duel = Duel::started(&server).await;
    surrender(&duel.a, &duel.b).await;
    for path in ["/api/v1/battles", "/api/v1/statistics"] {
        let answer = Http::get(&server, path).send().await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.body, format!("Cannot GET {path}"));
    }
    if let Kept::InPostgres(database) = &kept {
        let rows = "select count(*) from battle_records";
        assert_eq!(database.sql(rows), "0");
    }
}
