//! Clocks and animations (contract 5.8, 3.5.9; row 21). Limits are made small, so no test waits long.

mod outage;

use serde_json::{Value, json};

use crate::harness::battle::messages;
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Server, eventually};

async fn timer(fighter: &Fighter) -> Value {
    fighter.client.ok("getPlayerTimerState", &[json!({"playerId": fighter.id})]).await
}

fn turn_left(timer: &Value) -> f64 {
    timer["remainingTurnTime"].as_f64().expect("seconds")
}

#[tokio::test]
async fn who_does_not_choose_in_time_gets_the_first_choice_on_offer() {
    let server = Server::with("TURN_TIME_LIMIT", "1").start().await;
    let duel = Duel::paired(&server).await;
    duel.a.client.emit("ready", &[]).await;
    duel.b.client.emit("ready", &[]).await;
    let first = duel.a.message("TURN_ACTION").await;
    let (for_a, for_b) = (duel.a.available().await, duel.b.available().await);
    let turn_end = duel.a.message_after(first.sequence, "TURN_END").await;
    let mut used: Vec<String> = messages(&duel.a.client)
        .into_iter()
        .filter(|m| {
            m.sequence < turn_end.sequence
                && m.kind.starts_with("SKILL_USE")
                && m.data["skill"].is_string()
        })
        .map(|m| m.data["skill"].as_str().unwrap().to_owned())
        .collect();
    let mut wanted: Vec<&str> =
        [&for_a[0], &for_b[0]].map(|choice| choice["skill"].as_str().unwrap()).to_vec();
    used.sort_unstable();
    used.dedup();
    wanted.sort_unstable();
    assert_eq!(used, wanted, "both used the skill that was listed first");
}

#[tokio::test]
async fn who_has_used_up_all_his_time_loses_at_once() {
    let server =
        Options::default().env("TURN_TIME_LIMIT", "2").env("TOTAL_TIME_LIMIT", "2").start().await;
    let duel = Duel::started(&server).await;
    duel.a.attack().await;
    for fighter in [&duel.a, &duel.b] {
        let end = fighter.message("BATTLE_END").await;
        assert_eq!(end.data, json!({"winner": duel.a.id, "reason": "total_time_timeout"}));
        fighter.client.event("roomClosed").await;
    }
}

#[tokio::test]
async fn timers_tell_who_is_thinking() {
    let server = Server::start().await;
    let duel = Duel::paired(&server).await;
    let config = json!({
        "enabled": true, "turnTimeLimit": 30, "totalTimeLimit": 1500,
        "animationPauseEnabled": true, "maxAnimationDuration": 20000,
    });
    assert_eq!(duel.a.client.ok("getTimerConfig", &[]).await, config);
    assert_eq!(duel.a.client.ok("isTimerEnabled", &[]).await, json!(true));
    let before = timer(&duel.a).await;
    assert_eq!((&before["state"], &before["playerId"]), (&json!("stopped"), &json!(duel.a.id)));
    assert_eq!((turn_left(&before), before["remainingTotalTime"].as_f64()), (0.0, Some(1500.0)));

    duel.ready().await;
    duel.a.attack().await;
    let both = duel.b.client.ok("getAllPlayerTimerStates", &[]).await;
    assert_eq!((&both[0]["playerId"], &both[0]["state"]), (&json!(duel.a.id), &json!("paused")));
    assert_eq!((&both[1]["playerId"], &both[1]["state"]), (&json!(duel.b.id), &json!("running")));
    assert_eq!(
        duel.a.client.ok("getPlayerTimerState", &[json!({"playerId": duel.b.id})]).await["playerId"],
        json!(duel.b.id)
    );
    assert_eq!(
        duel.a.client.ok("getPlayerTimerState", &[json!({})]).await["playerId"],
        json!(duel.a.id),
        "else the caller"
    );
    let nobody = json!({"playerId": "AAAAAAAAAAAAAAAAAAAAA"});
    assert_eq!(duel.a.client.ok("getPlayerTimerState", &[nobody]).await, Value::Null);

    let began = turn_left(&timer(&duel.b).await);
    assert!(began > 0.0 && began <= 30.0);
    let thinking =
        eventually("passing time", || timer(&duel.b), |now| turn_left(now) < began - 0.3).await;
    let (turn, total) = (turn_left(&thinking), thinking["remainingTotalTime"].as_f64().unwrap());
    assert!((30.0 - turn - (1500.0 - total)).abs() < 0.05, "both clocks run together: {thinking}");
    let waiting = timer(&duel.a).await;
    assert!(turn_left(&waiting) > turn, "A's clock stands still: {waiting}");
}

#[tokio::test]
async fn no_clock_advances_while_an_animation_is_played() {
    let server = Server::start().await;
    let duel = Duel::started(&server).await;
    let pet = duel.a.state().await["players"][0]["activePet"].clone();
    let animation = json!({"source": pet, "expectedDuration": 15_000, "ownerId": duel.a.id});
    let id = duel.a.client.ok("startAnimation", &[animation]).await;
    assert!(id.as_str().is_some_and(|id| id.len() == 21), "{id}");

    let stood = timer(&duel.b).await;
    let passed = |now: &Value| {
        now["lastUpdateTime"].as_u64().unwrap() - stood["lastUpdateTime"].as_u64().unwrap()
    };
    let later =
        eventually("a second on the wall", || timer(&duel.b), |now| passed(now) > 1_000).await;
    assert!((turn_left(&later) - turn_left(&stood)).abs() < 0.001, "{stood} {later}");

    duel.b.client.emit("endAnimation", &[json!({"animationId": "AAAAAAAAAAAAAAAAAAAAA"})]).await;
    duel.a
        .client
        .emit("reportAnimationEnd", &[json!({"animationId": id, "actualDuration": 900})])
        .await;
    eventually("running clocks", || timer(&duel.b), |now| turn_left(now) < turn_left(&stood) - 0.2)
        .await;
}

#[tokio::test]
async fn an_animation_that_is_never_ended_ends_by_force() {
    let server = Server::start().await;
    let duel = Duel::started(&server).await;
    let animation = json!({"source": "skill_x", "expectedDuration": 100, "ownerId": duel.b.id});
    duel.b.client.ok("startAnimation", &[animation]).await;
    let stood = turn_left(&timer(&duel.a).await);
    eventually("running clocks", || timer(&duel.a), |now| turn_left(now) < stood - 0.2).await;
}

#[tokio::test]
async fn a_turn_does_not_time_out_while_an_animation_is_played() {
    let server = Server::with("TURN_TIME_LIMIT", "1").start().await;
    let duel = Duel::paired(&server).await;
    duel.a.client.emit("ready", &[]).await;
    duel.b.client.emit("ready", &[]).await;
    duel.a.message("TURN_ACTION").await;
    let animation = json!({"source": "skill_x", "expectedDuration": 10_000, "ownerId": duel.a.id});
    let id = duel.a.client.ok("startAnimation", &[animation]).await;
    let before = timer(&duel.a).await["lastUpdateTime"].as_u64().unwrap();
    eventually(
        "twice the turn's time",
        || timer(&duel.a),
        |now| now["lastUpdateTime"].as_u64().unwrap() > before + 2_000,
    )
    .await;
    assert!(
        messages(&duel.a.client).iter().all(|m| m.kind != "TURN_START"),
        "the turn ran out during an animation"
    );
    duel.a.client.emit("endAnimation", &[json!({"animationId": id})]).await;
    duel.a.message("TURN_START").await;
}
