//! Battles as two clients live them, from the pairing to `roomClosed` (rows 13 to 20 and 22).

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

use serde_json::{Value, json};

use crate::harness::battle::messages;
use crate::harness::knowledge::{assert_nothing_hidden_was_seen, assert_same_story, unknown_pet};
use crate::harness::socket::{Record, events};
use crate::harness::{Duel, Fighter, Server, team};

/// Each of these where whoever is cut off has lost, as in the existing server, and where he has a minute to come back:
/// who stays must not notice the difference.
macro_rules! whatever_the_grace {
    ($($test:ident)*) => {
        mod without_grace {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Server::with("DISCONNECT_GRACE_PERIOD_TTL", "0").start().await).await;
            })*
        }
        mod with_a_minute {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Server::with("DISCONNECT_GRACE_PERIOD_TTL", "60").start().await).await;
            })*
        }
    };
}

whatever_the_grace! {
    whole_battles_keep_every_promise_to_both_clients
    the_state_right_after_the_match_is_unstarted_with_a_hidden_bench
    pets_without_ids_get_different_ones
    nothing_happens_before_both_are_ready
    choices_are_on_offer_when_they_are_asked_for
    a_choice_may_be_replaced_until_the_turn_is_resolved
    choices_that_are_not_legal_are_refused
    a_surrender_counts_only_when_the_foe_has_chosen
    if_both_surrender_player_b_wins
    an_ended_battle_can_be_looked_at_for_a_while_and_then_is_gone
    the_same_two_clients_can_fight_again_at_once
    a_bystander_and_another_session_of_a_player_hear_nothing_of_a_battle
}

/// Waits for `roomClosed` and checks its place: behind the one and only `BATTLE_END` (row 22).
async fn assert_closed_properly(fighter: &Fighter, room: &str) {
    let closed = fighter.client.event("roomClosed").await;
    assert_eq!(*closed.arg(), json!({"roomId": room}));
    fighter.client.settle().await;
    let records = fighter.client.records();
    let places: Vec<(usize, &str)> = events(&records)
        .enumerate()
        .filter_map(|(at, event)| match (event.name.as_str(), event.arg()["type"].as_str()) {
            ("battleEvent", Some("BATTLE_END")) => Some((at, "end")),
            ("roomClosed", _) => Some((at, "closed")),
            _ => None,
        })
        .collect();
    let ends = places.iter().filter(|(_, what)| *what == "end").count();
    assert_eq!(ends, 1, "exactly one BATTLE_END");
    assert_eq!(places[0].1, "end", "BATTLE_END precedes roomClosed");
}

async fn whole_battles_keep_every_promise_to_both_clients(server: Server) {
    for seed in [1, 2] {
        let duel = Duel::started(&server).await;
        let (end_a, end_b) = duel.play(seed, -1, false).await;
        assert_eq!(end_a.data, end_b.data);
        assert_eq!(end_a.data["reason"], "all_pet_fainted");
        let (a, b) = (messages(&duel.a.client), messages(&duel.b.client));
        assert_same_story(&a, &b);
        assert_nothing_hidden_was_seen(&duel.a.id, &duel.b.id, &a);
        assert_nothing_hidden_was_seen(&duel.b.id, &duel.a.id, &b);
        for fighter in [&duel.a, &duel.b] {
            assert_closed_properly(fighter, &duel.room).await;
        }
        let state = &a.last().expect("there was an end").state;
        assert_eq!((&state["status"], &state["currentPhase"]), (&json!("Ended"), &json!("ENDED")));
        let alive =
            |player: usize| state["players"][player]["teamAlives"].as_u64().expect("a count");
        let winner = end_a.data["winner"].as_str();
        assert_eq!(
            winner == Some(duel.a.id.as_str()),
            alive(0) > 0 && alive(1) == 0,
            "{}",
            end_a.raw
        );
        assert_eq!(
            winner == Some(duel.b.id.as_str()),
            alive(1) > 0 && alive(0) == 0,
            "{}",
            end_a.raw
        );
    }
}

async fn the_state_right_after_the_match_is_unstarted_with_a_hidden_bench(server: Server) {
    let duel = Duel::paired(&server).await;
    for (own, foe) in [(&duel.a, &duel.b), (&duel.b, &duel.a)] {
        let state = own.state().await;
        let head = (&state["status"], &state["currentPhase"], &state["currentTurn"]);
        assert_eq!(head, (&json!("Unstarted"), &json!("SELECTION_PHASE"), &json!(0)));
        assert!(state.get("sequenceId").is_none(), "left out before the start");
        let player = |id: &str| {
            state["players"].as_array().unwrap().iter().find(|p| p["id"] == id).unwrap().clone()
        };
        let theirs = player(&foe.id);
        let team = theirs["team"].as_array().unwrap();
        assert_eq!(
            (&team[0]["isUnknown"], &theirs["rage"], &theirs["maxRage"]),
            (&json!(false), &json!(20), &json!(100))
        );
        assert_eq!(theirs["activePet"], team[0]["id"], "the starter shows");
        for pet in &team[1..] {
            assert_eq!(*pet, unknown_pet(pet["id"].as_str().unwrap()));
        }
        let ours = player(&own.id);
        for (slot, pet) in ours["team"].as_array().unwrap().iter().enumerate() {
            assert_eq!(pet["name"], json!(team::secret_name(slot, &own.id)));
            assert_eq!(pet["currentHp"], pet["maxHp"]);
        }
        assert_eq!(own.available().await, Vec::<Value>::new());
    }
}

async fn pets_without_ids_get_different_ones(server: Server) {
    let duel = Duel::paired(&server).await;
    let state = duel.a.state().await;
    let pets = state["players"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|player| player["team"].as_array().unwrap());
    let ids: std::collections::BTreeSet<&str> =
        pets.map(|pet| pet["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 6, "{ids:?}");
    assert!(ids.iter().all(|id| id.len() == 21));
}

async fn nothing_happens_before_both_are_ready(server: Server) {
    let duel = Duel::paired(&server).await;
    for _ in 0..2 {
        assert_eq!(
            duel.a.client.ok("ready", &[]).await,
            json!({"status": "READY"}),
            "repeating it has no effect"
        );
    }
    let (code, details) =
        duel.a.client.refused("submitPlayerSelection", &[duel.a.surrender()]).await;
    assert_eq!((code.as_str(), details.as_str()), ("BATTLE_ACTION_ERROR", "INVALID_SELECTION"));
    assert_eq!(duel.a.state().await["status"], "Unstarted");
    for fighter in [&duel.a, &duel.b] {
        fighter.client.settle().await;
        assert!(fighter.client.events("battleEvent").is_empty());
    }
    // A seed client gives no callback.
    duel.b.client.emit("ready", &[]).await;
    for fighter in [&duel.a, &duel.b] {
        assert_eq!(fighter.message("BATTLE_START").await.sequence, 0, "numbers start at 0");
        fighter.message("TURN_ACTION").await;
        fighter.assert_in_step().await;
    }
}

async fn choices_are_on_offer_when_they_are_asked_for(server: Server) {
    let duel = Duel::started(&server).await;
    for fighter in [&duel.a, &duel.b] {
        assert_eq!(
            fighter.message("TURN_ACTION").await.data["player"],
            json!([duel.a.id, duel.b.id])
        );
        let offered = fighter.available().await;
        let kinds: Vec<&str> =
            offered.iter().map(|choice| choice["type"].as_str().unwrap()).collect();
        assert_eq!(kinds.last(), Some(&"surrender"), "{kinds:?}");
        assert_eq!(
            kinds.iter().filter(|kind| **kind == "switch-pet").count(),
            2,
            "two on the bench: {kinds:?}"
        );
        assert_eq!(kinds.contains(&"do-nothing"), !kinds.contains(&"use-skill"), "{kinds:?}");
        let mut ordered = kinds.clone();
        ordered.sort_by_key(|kind| {
            ["use-skill", "switch-pet", "do-nothing", "surrender"].iter().position(|k| k == kind)
        });
        assert_eq!(kinds, ordered, "in the contract's order");
        for choice in &offered {
            assert_eq!(choice["player"], json!(fighter.id), "{choice}");
        }
    }
}

async fn a_choice_may_be_replaced_until_the_turn_is_resolved(server: Server) {
    let duel = Duel::started(&server).await;
    duel.a.attack().await;
    let switch = duel.a.available_of("switch-pet").await;
    duel.a.submit(&switch).await;
    duel.b.attack().await;
    let switched = duel.b.message("PET_SWITCH").await;
    assert_eq!(
        (&switched.data["player"], &switched.data["toPet"]),
        (&json!(duel.a.id), &switch["pet"])
    );
    duel.b.message("TURN_END").await;
    let used = messages(&duel.b.client).into_iter().filter(|m| m.kind == "SKILL_USE").count();
    assert!(used <= 1, "only B used a skill");
}

async fn choices_that_are_not_legal_are_refused(server: Server) {
    let duel = Duel::started(&server).await;
    let a = &duel.a;
    let state = a.state().await;
    let own = &state["players"][0];
    let legal = a.available_of("use-skill").await;
    let foes_skill = duel.b.available_of("use-skill").await["skill"].clone();
    let refused = async |choice: Value| {
        let (code, details) =
            a.client.refused("submitPlayerSelection", std::slice::from_ref(&choice)).await;
        assert_eq!(code, "BATTLE_ACTION_ERROR", "{choice}");
        details
    };
    let skill = |skill: &Value| json!({"type": "use-skill", "player": a.id, "skill": skill, "target": "opponent"});
    let switch = |pet: &Value| json!({"type": "switch-pet", "player": a.id, "pet": pet});
    assert_eq!(refused(skill(&foes_skill)).await, "INVALID_SELECTION", "the foe's skill");
    assert_eq!(
        refused(skill(&own["team"][1]["skills"][0]["id"])).await,
        "INVALID_SELECTION",
        "a skill from the bench"
    );
    assert_eq!(refused(switch(&own["activePet"])).await, "INVALID_SELECTION", "the active pet");
    assert_eq!(
        refused(switch(&state["players"][1]["activePet"])).await,
        "INVALID_SELECTION",
        "the foe's pet"
    );
    assert_eq!(
        refused(json!({"type": "do-nothing", "player": a.id})).await,
        "INVALID_SELECTION",
        "there is a skill to use"
    );
    assert_eq!(refused(skill(&json!("AAAAAAAAAAAAAAAAAAAAA"))).await, "Unknown skill");
    assert_eq!(refused(switch(&json!("AAAAAAAAAAAAAAAAAAAAA"))).await, "Unknown pet");

    let mut foreign = legal.clone();
    foreign["player"] = json!(duel.b.id);
    assert_eq!(refused(foreign).await, "INVALID_SELECTION_DATA", "a choice for the foe");
    let mut extra = legal.clone();
    extra["extra"] = json!(1);
    assert_eq!(refused(extra).await, "INVALID_SELECTION_DATA", "objects are strict");
    // Nothing of this counted as a choice.
    assert_eq!(duel.b.client.events("battleEvent").len(), a.client.events("battleEvent").len());
    let mut other_target = legal;
    other_target["target"] = json!("self");
    a.submit(&other_target).await;
}

async fn a_surrender_counts_only_when_the_foe_has_chosen(server: Server) {
    let duel = Duel::started(&server).await;
    duel.a.submit(&duel.a.surrender()).await;
    for fighter in [&duel.a, &duel.b] {
        fighter.client.settle().await;
        assert_eq!(fighter.state().await["status"], "On", "B has not chosen yet");
        assert!(
            fighter.client.events("battleEvent").iter().all(|e| e.arg()["type"] != "TURN_START")
        );
    }
    duel.b.attack().await;
    for fighter in [&duel.a, &duel.b] {
        let end = fighter.message("BATTLE_END").await;
        assert_eq!(end.data, json!({"winner": duel.b.id, "reason": "surrender"}));
        let kinds: Vec<String> = messages(&fighter.client).into_iter().map(|m| m.kind).collect();
        assert_eq!(
            kinds[kinds.len() - 2..],
            ["TURN_START", "BATTLE_END"],
            "no TURN_END, no action"
        );
        assert_closed_properly(fighter, &duel.room).await;
    }
}

async fn if_both_surrender_player_b_wins(server: Server) {
    let duel = Duel::started(&server).await;
    duel.b.submit(&duel.b.surrender()).await;
    duel.a.submit(&duel.a.surrender()).await;
    let end = duel.a.message("BATTLE_END").await;
    assert_eq!(end.data, json!({"winner": duel.b.id, "reason": "surrender"}));
}

async fn an_ended_battle_can_be_looked_at_for_a_while_and_then_is_gone(server: Server) {
    let duel = Duel::started(&server).await;
    duel.a.submit(&duel.a.surrender()).await;
    duel.b.attack().await;
    duel.a.client.event("roomClosed").await;
    let state = duel.a.state().await;
    assert_eq!(state["status"], "Ended", "readable after a normal end");
    let (code, _) = duel.a.client.refused("submitPlayerSelection", &[duel.a.surrender()]).await;
    assert_eq!(code, "BATTLE_ACTION_ERROR");
    let gone = crate::harness::eventually(
        "removal of the room",
        || duel.a.client.ask("getState", &[]),
        |answer| answer["status"] == "ERROR",
    );
    let gone = gone.await;
    assert_eq!(
        (&gone["code"], &gone["details"]),
        (&json!("GET_STATE_ERROR"), &json!("BATTLE_NOT_FOUND"))
    );
    assert_eq!(duel.a.client.ok("getServerState", &[]).await["rooms"], 0);
}

async fn the_same_two_clients_can_fight_again_at_once(server: Server) {
    let duel = Duel::started(&server).await;
    duel.a.submit(&duel.a.surrender()).await;
    duel.b.attack().await;
    for fighter in [&duel.a, &duel.b] {
        fighter.message("BATTLE_END").await;
        fighter.client.event("roomClosed").await;
    }
    duel.a.join().await;
    duel.b.join().await;
    let second = duel
        .a
        .client
        .event_where("matchSuccess", |found| found.arg()["data"]["roomId"] != json!(duel.room))
        .await;
    // The new battle is preferred although the old one can still be looked at.
    for fighter in [&duel.a, &duel.b] {
        fighter
            .client
            .event_where("matchSuccess", |found| {
                found.arg() != &Value::Null
                    && found.arg()["data"]["roomId"] == second.arg()["data"]["roomId"]
            })
            .await;
        assert_eq!(fighter.state().await["status"], "Unstarted");
    }
    // No `roomClosed` comes between the second match and the second end: it would end the new battle.
    duel.a.client.settle().await;
    let records = duel.a.client.records();
    let last_match =
        records.iter().rposition(|r| matches!(r, Record::Event(e) if e.name == "matchSuccess"));
    let last_closed =
        records.iter().rposition(|r| matches!(r, Record::Event(e) if e.name == "roomClosed"));
    assert!(last_closed < last_match, "a late roomClosed kills a client's next battle");
}

async fn a_bystander_and_another_session_of_a_player_hear_nothing_of_a_battle(server: Server) {
    let bystander = Fighter::new(&server, 2).await;
    let duel = Duel::started(&server).await;
    let tab = crate::harness::Dial::player(&server, &duel.a.id).session("second-tab").open().await;
    duel.attack_once(-1).await;
    for client in [&bystander.client, &tab] {
        client.settle().await;
        assert!(
            client.events("battleEvent").is_empty() && client.events("matchSuccess").is_empty()
        );
        assert_eq!(client.refused("getState", &[]).await.1, "BATTLE_NOT_FOUND");
        assert_eq!(client.refused("getAvailableSelection", &[]).await.1, "NOT_IN_BATTLE");
        assert_eq!(client.ok("isTimerEnabled", &[]).await, json!(false));
    }
}
