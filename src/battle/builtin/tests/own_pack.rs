//! What needs skills that the starter pack doesn't have: ones that knock their own user out.

use std::sync::Arc;

use serde_json::json;
use serverv2_machine::{EndReason, Outcome, Seat};

use super::client::{Care, Clients};
use super::{CLOCKS, call, player, setup};
use crate::battle::engine::{BattleEngine, Progress, Selection};
use crate::battle::message::Event;
use crate::battle::{BuiltinEngine, Pack};

const MANIFEST: &str =
    r#"{"id": "p", "version": "1", "data": {"species": ["p.yaml"], "skills": ["s.yaml"]}}"#;

const SPECIES: &str = "
- {id: pet_x, element: Fire, baseStats: {hp: 9, atk: 90, def: 90, spa: 80, spd: 70, spe: 70}}
- {id: pet_y, element: Fire, baseStats: {hp: 9, atk: 70, def: 90, spa: 80, spd: 70, spe: 60}}
";

const SKILLS: &str = "
- {id: skill_burst, element: Fire, category: Climax, target: self, power: 100, rage: 0, accuracy: 0}
- {id: skill_aim, element: Fire, category: Climax, target: opponent, power: 9, rage: 0, accuracy: 100}
";

/// Plays one turn of two teams of `pet_x` and `pet_y` with 1 life each; gives what was told.
fn one_turn(pets: usize, skills: [&str; 2]) -> (Vec<Event>, Progress) {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in [("pack.json", MANIFEST), ("p.yaml", SPECIES), ("s.yaml", SKILLS)] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let engine = BuiltinEngine::new(Arc::new(Pack::from_folder(folder.path()).unwrap()));
    let points = json!({"hp": 0, "atk": 0, "def": 0, "spa": 0, "spd": 0, "spe": 0});
    let teams = Seat::BOTH.map(|seat| {
        let pets: Vec<_> = ["pet_x", "pet_y"][..pets]
            .iter()
            .map(|species| {
                json!({"name": "n", "species": species, "level": 100, "evs": points,
                    "ivs": points, "nature": "Hardy", "skills": [skills[seat.index()]], "maxHp": 1})
            })
            .collect();
        json!({"name": "n", "id": player(seat), "team": pets})
    });
    let mut battle = engine.init(&setup(&engine, &teams, 1, CLOCKS)).unwrap();
    let mut clients = Clients::new(Care::Patch);
    clients.look_before_start(&*battle);
    let mut progress = battle.start(call(0, 1), &mut clients);
    for (input, seat) in (2..).zip(Seat::BOTH) {
        let choice = battle.available(seat).swap_remove(0);
        assert!(matches!(choice, Selection::UseSkill { .. }));
        (_, progress) = battle.submit(seat, &choice, call(0, input), &mut clients);
    }
    (clients.take().into_iter().map(|(message, _)| message.event).collect(), progress)
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(Event::name).collect()
}

#[test]
fn if_the_last_pets_of_both_faint_nobody_wins() {
    let (events, progress) = one_turn(1, ["skill_burst"; 2]);
    let draw = Outcome { winner: None, reason: EndReason::AllPetFainted };
    assert_eq!(progress.result, Some(draw));
    let end = Event::BattleEnd { winner: None, reason: "all_pet_fainted" };
    assert_eq!(events.last(), Some(&end));
    // Sure to reach oneself at 0 % accuracy; the better attack decides the kind of damage.
    let hits = events.iter().filter(|event| matches!(event, Event::Damage { .. })).count();
    assert_eq!(hits, 2);
}

#[test]
fn if_both_must_replace_both_are_named_and_nobody_follows_up() {
    let (events, progress) = one_turn(2, ["skill_burst"; 2]);
    assert_eq!(progress.pending, Seat::BOTH);
    let forced = Event::ForcedSwitch { player: Seat::BOTH.map(player).to_vec() };
    assert_eq!(events.last(), Some(&forced));
}

#[test]
fn a_pet_that_knocks_itself_out_gives_nobody_a_follow_up() {
    let (events, progress) = one_turn(2, ["skill_burst", "skill_aim"]);
    assert_eq!(progress.pending, [Seat::A]);
    // B's target is gone when its turn comes: it fails and costs nothing.
    let expected = ["SKILL_USE_FAIL", "RAGE_CHANGE", "RAGE_CHANGE", "TURN_END", "FORCED_SWITCH"];
    assert_eq!(names(&events)[events.len() - 5..], expected);
}

#[test]
fn a_knock_out_of_ones_own_is_told_like_any_other() {
    let (events, _) = one_turn(1, ["skill_burst", "skill_aim"]);
    let expected = [
        "BATTLE_START",
        "TURN_ACTION",
        "TURN_START",
        "SKILL_USE",
        "RAGE_CHANGE",
        "DAMAGE",
        "RAGE_CHANGE",
        "RAGE_CHANGE",
        "PET_DEFEATED",
        "SKILL_USE_END",
        "SKILL_USE_FAIL",
        "RAGE_CHANGE",
        "RAGE_CHANGE",
        "TURN_END",
        "BATTLE_END",
    ];
    assert_eq!(names(&events), expected);
}
