//! Plays many battles by chance and checks what must hold in all of them.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};
use serverv2_machine::{Clocks, LeaveReason, LogTime, Outcome, Seat, WallTime};

use super::client::{Care, Clients};
use super::{CLOCKS, ENGINE, PACK, animation, call, player, setup};
use crate::battle::engine::{
    AnimationStart, Battle, BattleEngine, Progress, Selection, Target, TimerPhase, Verdict, Viewer,
};
use crate::battle::starter::sample_team_from;
use crate::battle::view::Status;

const BATTLES: u64 = 200;
/// No battle of this test may need more inputs; the clocks see to it.
const INPUTS_MAX: u32 = 4_000;

struct Chance(ChaCha8Rng);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0.next_u32() as usize % bound
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn seat(&mut self) -> Seat {
        *self.pick(&Seat::BOTH)
    }

    /// Any pets, any skills: the rules don't ask what belongs together.
    fn team(&mut self, seat: Seat) -> Value {
        let species: Vec<_> = PACK.all_species().collect();
        let skills: Vec<_> = PACK.all_skills().collect();
        let pets = 1 + self.below(6);
        let pets = (0..pets).map(|number| {
            let species = *self.pick(&species);
            let skill_count = self.below(6);
            let skills: Vec<_> = (0..skill_count).map(|_| &self.pick(&skills).id).collect();
            let mut points = || {
                json!({"hp": self.below(32), "atk": self.below(32),
                "def": self.below(32), "spa": self.below(32), "spd": self.below(32),
                "spe": self.below(32)})
            };
            let mut pet = json!({"name": format!("secret-{seat}-{number}"), "species": species.id,
                "evs": points(), "ivs": points(), "level": 1 + self.below(100),
                "nature": self.pick(&["Hardy", "Quiet", "Jolly", "Lax"]), "skills": skills});
            if self.one_in(4) {
                pet["maxHp"] = json!(1 + self.below(500));
            }
            if self.one_in(2) {
                pet["ability"] = json!(species.abilities[0]);
                pet["emblem"] = json!(species.emblems[0]);
            }
            pet
        });
        let pets: Vec<_> = pets.collect();
        json!({"name": format!("player {seat}"), "id": player(seat), "team": pets})
    }

    /// Mostly a legal choice, sometimes one that can't be.
    fn selection(&mut self, battle: &dyn Battle, seat: Seat) -> Selection {
        let available = battle.available(seat);
        if !available.is_empty() && !self.one_in(8) {
            // Giving up ends a battle before it gets interesting.
            let picked = self.pick(&available).clone();
            return match picked {
                Selection::Surrender if !self.one_in(20) => available[0].clone(),
                picked => picked,
            };
        }
        let view = battle.view(Viewer::Observer);
        let pets: Vec<_> = view.players.iter().flat_map(|side| &side.team).collect();
        let pet = self.below(pets.len());
        let skills = pets[pet].skills.as_deref().unwrap_or_default();
        let garbage = *self.pick(&["", "secret", "ä\0\u{1F600}", "aaaaaaaaaaaaaaaaaaaaa"]);
        match self.below(5) {
            0 if !skills.is_empty() => {
                let skill = self.pick(skills).id.to_string();
                Selection::UseSkill { skill, target: Target::Opponent }
            }
            1 => Selection::SwitchPet { pet: pets[pet].id.to_string() },
            2 => Selection::UseSkill { skill: garbage.to_owned(), target: Target::Own },
            3 => Selection::SwitchPet { pet: garbage.to_owned() },
            _ => Selection::DoNothing,
        }
    }
}

/// What a battle came to.
#[derive(Debug, PartialEq)]
struct Played {
    outcome: Outcome,
    digest: [u8; 32],
    inputs: u32,
    turns: u32,
    messages: u64,
}

fn play(seed: u64, care: Care) -> Played {
    let mut chance = Chance(ChaCha8Rng::seed_from_u64(seed));
    let teams = Seat::BOTH.map(|seat| chance.team(seat));
    let clocks = Clocks {
        turn_s: 1 + chance.below(30) as u32,
        total_s: 20 + chance.below(400) as u32,
        animation_max_ms: chance.below(20_000) as u32,
    };
    let mut battle = ENGINE.init(&setup(&ENGINE, &teams, seed, clocks)).unwrap();
    let mut clients = Clients::new(care);
    clients.look_before_start(&*battle);
    let mut animations = Vec::new();
    let mut now_ms = 0;
    let mut progress = Progress::default();
    let mut input = 0;
    while progress.result.is_none() {
        input += 1;
        assert!(input < INPUTS_MAX, "the battle doesn't end");
        now_ms += chance.below(700) as u64;
        if chance.one_in(30) {
            now_ms = progress.wake_at.map_or(now_ms, |at| at.0.max(now_ms));
        }
        let call = call(now_ms, input);
        let seat = chance.seat();
        progress = match chance.below(100) {
            0..75 => {
                let selection = chance.selection(&*battle, seat);
                let expected = battle.check(seat, &selection);
                let listed = lists(&*battle, seat, &selection);
                assert_eq!(expected == Verdict::Accepted, listed, "{selection:?}");
                let (verdict, progress) = battle.submit(seat, &selection, call, &mut clients);
                assert_eq!(verdict, expected);
                progress
            }
            75..82 => {
                let progress = battle.tick(call, &mut clients);
                let again = progress.wake_at.is_some_and(|at| at.0 <= now_ms);
                assert!(!again, "a tick settles what it was called for: {progress:?}");
                progress
            }
            82..90 => {
                let expected_ms = 1 + chance.below(30_000) as u32;
                let animation = animation(seat, chance.seat(), expected_ms);
                let (start, progress) = battle.start_animation(&animation, call, &mut clients);
                if let AnimationStart::Started { id } = start {
                    animations.push(id);
                }
                progress
            }
            90..96 if !animations.is_empty() => {
                let id = animations.swap_remove(chance.below(animations.len()));
                battle.end_animation(&id, call, &mut clients)
            }
            96 if chance.one_in(20) => {
                battle.leave(seat, LeaveReason::GraceExpired, call, &mut clients)
            }
            _ => battle.start(call, &mut clients),
        };
        check_between_calls(&*battle, &progress, now_ms);
    }
    check_after_the_end(&mut *battle, &mut clients, input, now_ms);
    Played {
        outcome: progress.result.expect("the loop ended"),
        inputs: input,
        turns: battle.view(Viewer::Observer).current_turn,
        messages: clients.messages,
        digest: clients.digest(),
    }
}

/// Whether `available` lists it; the target doesn't count.
fn lists(battle: &dyn Battle, seat: Seat, selection: &Selection) -> bool {
    battle.available(seat).iter().any(|listed| match (listed, selection) {
        (Selection::UseSkill { skill: a, .. }, Selection::UseSkill { skill: b, .. }) => a == b,
        (listed, selection) => listed == selection,
    })
}

fn check_between_calls(battle: &dyn Battle, progress: &Progress, now_ms: u64) {
    assert_eq!(battle.progress(), *progress);
    let status = battle.view(Viewer::Observer).status;
    assert_eq!(status == Status::On, !progress.pending.is_empty(), "somebody is waited for");
    assert_eq!(status == Status::On, progress.wake_at.is_some(), "and not for ever");
    assert_eq!(status == Status::Ended, progress.result.is_some());
    for seat in Seat::BOTH {
        let available = battle.available(seat);
        assert!(!available.is_empty() || !progress.pending.contains(&seat));
        for selection in available {
            assert_eq!(battle.check(seat, &selection), Verdict::Accepted, "{selection:?}");
        }
    }
    for timer in battle.timers(LogTime(now_ms), WallTime(0)) {
        assert!(timer.remaining_turn_time >= 0.0 && timer.remaining_total_time >= 0.0);
        let stopped = timer.state == TimerPhase::Stopped;
        assert_eq!(stopped, status != Status::On);
    }
}

fn check_after_the_end(battle: &mut dyn Battle, clients: &mut Clients, input: u32, now_ms: u64) {
    let end = battle.progress();
    let messages = clients.messages;
    let call = call(now_ms + 100_000, input + 1);
    for seat in Seat::BOTH {
        assert_eq!(battle.available(seat), []);
        let (verdict, _) = battle.submit(seat, &Selection::Surrender, call, clients);
        assert_eq!(verdict, Verdict::NotLegal);
        battle.leave(seat, LeaveReason::QueuedAgain, call, clients);
    }
    battle.start(call, clients);
    battle.tick(call, clients);
    let (start, _) = battle.start_animation(&animation(Seat::A, Seat::A, 1), call, clients);
    assert_eq!((start, battle.animations()), (AnimationStart::Disabled, 0));
    assert_eq!((battle.progress(), clients.messages), (end, messages));
}

/// Names the battle that failed, so that it can be played alone.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the battle with seed {}", self.0);
        }
    }
}

#[test]
fn what_must_hold_holds_in_hundreds_of_battles() {
    let mut reasons = BTreeMap::<String, u32>::new();
    // Patching JSON for every message is slow: each thread plays its part.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts = std::thread::scope(|scope| {
        let part = |first| move || (first..BATTLES).step_by(threads).map(play_twice).collect();
        let players: Vec<_> = (0..threads as u64).map(|first| scope.spawn(part(first))).collect();
        players.into_iter().map(|player| player.join().unwrap()).collect::<Vec<Vec<Outcome>>>()
    });
    for outcome in parts.into_iter().flatten() {
        *reasons.entry(outcome.to_string()).or_default() += 1;
    }
    println!("{reasons:?}");
    // A draw needs a skill that knocks its own user out, which the starter pack doesn't have.
    assert_eq!(reasons.len(), 6, "every other end was met: {reasons:?}");
}

fn play_twice(seed: u64) -> Outcome {
    let _named = Named(seed);
    let played = play(seed, Care::Patch);
    assert_eq!(play(seed, Care::Write), played, "equal inputs give equal messages");
    played.outcome
}

#[test]
fn sample_teams_fight_neither_too_short_nor_too_long() {
    let mut turns: Vec<u32> = (0..200).map(sensible_battle).collect();
    turns.sort_unstable();
    println!("turns: median {}, {turns:?}", turns[100]);
    let fitting = turns.iter().filter(|turns| (5..=40).contains(*turns)).count();
    assert!(fitting > 190, "{turns:?}");
}

/// Players who use the costliest skill they can, and sometimes switch.
fn sensible_battle(seed: u64) -> u32 {
    let mut chance = Chance(ChaCha8Rng::seed_from_u64(seed));
    let teams =
        Seat::BOTH.map(|seat| sample_team_from(&PACK, player(seat), "sample", chance.below(16), 3));
    let mut battle = ENGINE.init(&setup(&ENGINE, &teams, seed, CLOCKS)).unwrap();
    let mut clients = Clients::new(Care::Look);
    clients.look_before_start(&*battle);
    let mut input = 1;
    let mut progress = battle.start(call(0, input), &mut clients);
    while progress.result.is_none() {
        let seat = progress.pending[0];
        let available = battle.available(seat);
        let choice = match chance.below(10) {
            0 => available.len() - 1 - usize::from(available.len() > 1),
            _ => {
                let skills = available.iter();
                let is_skill = |choice: &&Selection| matches!(choice, Selection::UseSkill { .. });
                let skills = skills.take_while(is_skill).count();
                if skills == 0 { 0 } else { chance.below(skills) }
            }
        };
        input += 1;
        (_, progress) = battle.submit(seat, &available[choice], call(0, input), &mut clients);
    }
    battle.view(Viewer::Observer).current_turn
}
