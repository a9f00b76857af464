//! Plays the battles written in `testscripts/`.
//!
//! | Command | Meaning |
//! |---|---|
//! | `battle A=<pets> B=<pets> [seed=] [turn_s=] [total_s=] [animation_max_ms=]` | sets up; a pet is `species[@hp][/skill+skill]`, `/-` has no skills |
//! | `start`, `tick`, `leave A` | as the host calls them |
//! | `A use <skill>`, `A switch <pet number>`, `A pass`, `A surrender` | a choice |
//! | `animate A <expected ms>`, `end-animation <number>` | an animation |
//! | `wait <ms>` | log time passes |
//! | `available`, `timers`, `view A`, `check A <choice>` | asks |
//! | `show A`, `show B`, `show observer`, `show none` | whose deltas are printed |

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use goldenscript::{Command, Context, Runner};
use serde_json::{Value, json};
use serverv2_machine::{Clocks, LeaveReason, LogTime, Seat, WallTime};

use super::client::{Care, Clients, VIEWERS};
use super::{CLOCKS, ENGINE, PACK, animation, call, player, setup};
use crate::battle::engine::{
    AnimationStart, Battle, BattleEngine, Call, Progress, Selection, Target, Viewer,
};

#[derive(Default)]
struct Script {
    fight: Option<Fight>,
}

struct Fight {
    battle: Box<dyn Battle>,
    clients: Clients,
    now_ms: u64,
    input: u32,
    /// Long ids and the short names that scripts use for them.
    names: BTreeMap<String, String>,
    animations: Vec<String>,
    shown: Option<usize>,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _context: &Context) -> Outcome<String> {
        if command.name == "battle" {
            let (fight, output) = Fight::new(command)?;
            self.fight = Some(fight);
            return Ok(output);
        }
        let fight = self.fight.as_mut().ok_or("no battle")?;
        let mut args = command.consume_args();
        let words: Vec<&str> = std::iter::from_fn(|| args.next_pos()).collect();
        args.reject_next()?;
        fight.run(&command.name, &words)
    }
}

impl Fight {
    fn new(command: &Command) -> Outcome<(Self, String)> {
        let mut args = command.consume_args();
        let mut clocks = CLOCKS;
        let mut number = |key: &str, default: u32| -> Outcome<u32> {
            Ok(args.take_key(key).map(str::parse).transpose()?.unwrap_or(default))
        };
        let seed = number("seed", 1)?;
        clocks = Clocks {
            turn_s: number("turn_s", clocks.turn_s)?,
            total_s: number("total_s", clocks.total_s)?,
            animation_max_ms: number("animation_max_ms", clocks.animation_max_ms)?,
        };
        let mut teams = Vec::new();
        for seat in Seat::BOTH {
            let pets = args.take_key(&seat.to_string()).ok_or("no team")?;
            teams.push(json!({"name": seat.to_string(), "id": player(seat),
                "team": pets.split(',').map(pet).collect::<Outcome<Vec<_>>>()?}));
        }
        args.reject_next()?;
        let [a, b] = <[Value; 2]>::try_from(teams).expect("two seats");
        let setup = setup(&ENGINE, &[a, b], seed.into(), clocks);
        let battle = ENGINE.init(&setup)?;
        let mut clients = Clients::new(Care::Patch);
        clients.look_before_start(&*battle);
        let mut fight = Self {
            battle,
            clients,
            now_ms: 0,
            input: 0,
            names: BTreeMap::new(),
            animations: Vec::new(),
            shown: None,
        };
        let output = fight.name_everything();
        Ok((fight, output))
    }

    /// Gives short names and says what they stand for.
    fn name_everything(&mut self) -> String {
        let view = self.battle.view(Viewer::Observer);
        let mut output = String::new();
        for (seat, side) in Seat::BOTH.into_iter().zip(&view.players) {
            self.names.insert(side.id.to_string(), seat.to_string());
            for (place, pet) in side.team.iter().enumerate() {
                let name = format!("{seat}{}", place + 1);
                self.names.insert(pet.id.to_string(), name.clone());
                let mut skills = Vec::new();
                for skill in pet.skills.iter().flat_map(|skills| skills.iter()) {
                    let base = skill.base_id.trim_start_matches("skill_");
                    self.names.insert(skill.id.to_string(), format!("{name}.{base}"));
                    skills.push(format!("{base} ({})", skill.rage));
                }
                let skills = skills.join(", ");
                let spe = pet.stats.as_ref().map_or(0.0, |stats| stats.spe.0);
                let hp = pet.current_hp;
                _ = writeln!(output, "{name} {} hp={hp} spe={spe}: {skills}", pet.species_id);
            }
        }
        output
    }

    fn short(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id, name))
    }

    fn id(&self, name: &str) -> String {
        let known = self.names.iter().find(|(_, short)| *short == name);
        known.map_or_else(|| name.to_owned(), |(id, _)| id.clone())
    }

    fn selection(&self, seat: Seat, words: &[&str]) -> Outcome<Selection> {
        Ok(match words {
            ["use", skill] => {
                let view = self.battle.view(Viewer::Observer);
                let active = self.short(view.players[seat.index()].active_pet.as_str());
                let skill = if skill.contains('.') {
                    (*skill).to_owned()
                } else {
                    format!("{active}.{skill}")
                };
                Selection::UseSkill { skill: self.id(&skill), target: Target::Own }
            }
            ["switch", pet] => {
                let pet = if pet.len() == 1 { format!("{seat}{pet}") } else { (*pet).to_owned() };
                Selection::SwitchPet { pet: self.id(&pet) }
            }
            ["pass"] => Selection::DoNothing,
            ["surrender"] => Selection::Surrender,
            other => return Err(format!("no choice: {other:?}").into()),
        })
    }

    fn next_call(&mut self) -> Call {
        self.input += 1;
        call(self.now_ms, self.input)
    }

    fn run(&mut self, name: &str, words: &[&str]) -> Outcome<String> {
        let mut output = String::new();
        let progress = match (name, words) {
            ("start", []) => {
                let call = self.next_call();
                self.battle.start(call, &mut self.clients)
            }
            ("tick", []) => {
                let call = self.next_call();
                self.battle.tick(call, &mut self.clients)
            }
            ("leave", [who]) => {
                let call = self.next_call();
                let reason = LeaveReason::Disconnected;
                self.battle.leave(seat(who)?, reason, call, &mut self.clients)
            }
            ("A" | "B", choice) => {
                let seat = seat(name)?;
                let selection = self.selection(seat, choice)?;
                let expected = self.battle.check(seat, &selection);
                let call = self.next_call();
                let (verdict, progress) =
                    self.battle.submit(seat, &selection, call, &mut self.clients);
                assert_eq!(verdict, expected);
                _ = writeln!(output, "{verdict:?}");
                progress
            }
            ("animate", [by, expected_ms]) => {
                let call = self.next_call();
                let animation = animation(seat(by)?, seat(by)?, expected_ms.parse()?);
                let (start, progress) =
                    self.battle.start_animation(&animation, call, &mut self.clients);
                match start {
                    AnimationStart::Started { id } => {
                        self.animations.push(id);
                        _ = writeln!(output, "started animation {}", self.animations.len());
                    }
                    AnimationStart::Disabled => output.push_str("disabled\n"),
                }
                progress
            }
            ("end-animation", [number]) => {
                let id = match number.parse::<usize>() {
                    Ok(number) => self.animations.get(number - 1).ok_or("no such")?.clone(),
                    Err(_) => (*number).to_owned(),
                };
                let call = self.next_call();
                self.battle.end_animation(&id, call, &mut self.clients)
            }
            ("wait", [ms]) => {
                self.now_ms += ms.parse::<u64>()?;
                return Ok(String::new());
            }
            ("show", [whose]) => {
                self.shown = ["A", "B", "observer"].iter().position(|name| name == whose);
                return Ok(String::new());
            }
            ("available", []) => return Ok(self.available()),
            ("timers", []) => return self.timers(),
            ("view", [whose]) => {
                let viewer = VIEWERS[["A", "B"].iter().position(|name| name == whose).unwrap_or(2)];
                let view = serde_json::to_string_pretty(&self.battle.view(viewer))?;
                return Ok(self.short(&view));
            }
            other => return Err(format!("no command: {other:?}").into()),
        };
        self.print_messages(&mut output)?;
        self.print_progress(&mut output, &progress);
        assert_eq!(self.battle.progress(), progress);
        Ok(output)
    }

    fn print_messages(&mut self, output: &mut String) -> Outcome<()> {
        for (message, deltas) in self.clients.take() {
            let data = self.short(&serde_json::to_string(&message.event)?);
            _ = writeln!(output, "#{} {} {data}", message.sequence_id, message.event.name());
            if let Some(delta) = self.shown.and_then(|viewer| deltas[viewer].as_ref()) {
                _ = writeln!(output, "   delta {}", self.short(&delta.to_string()));
            }
        }
        Ok(())
    }

    fn print_progress(&self, output: &mut String, progress: &Progress) {
        if let Some(result) = progress.result {
            _ = writeln!(output, "=> {result}");
            return;
        }
        let pending: String = progress.pending.iter().map(Seat::to_string).collect();
        let wake = progress.wake_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        _ = writeln!(output, "=> waits for {pending:?} until {wake}");
    }

    fn available(&self) -> String {
        let list = |seat: Seat| {
            let choices: Vec<_> = self
                .battle
                .available(seat)
                .iter()
                .map(|choice| match choice {
                    Selection::UseSkill { skill, .. } => self.short(skill),
                    Selection::SwitchPet { pet } => format!("switch {}", self.short(pet)),
                    Selection::DoNothing => "pass".to_owned(),
                    Selection::Surrender => "surrender".to_owned(),
                })
                .collect();
            format!("{seat}: {}\n", choices.join(", "))
        };
        Seat::BOTH.map(list).concat()
    }

    fn timers(&self) -> Outcome<String> {
        let timers = self.battle.timers(LogTime(self.now_ms), WallTime(self.now_ms));
        let mut output = String::new();
        for timer in timers {
            let text = self.short(&serde_json::to_string(&timer)?);
            _ = writeln!(output, "{text}");
        }
        _ = writeln!(output, "animations: {}", self.battle.animations());
        Ok(output)
    }
}

fn seat(name: &str) -> Outcome<Seat> {
    let found = Seat::BOTH.into_iter().find(|seat| seat.to_string() == name);
    found.ok_or_else(|| format!("no seat: {name}").into())
}

/// A pet of a team payload, out of `species[@hp][/skill+skill]`.
fn pet(text: &str) -> Outcome<Value> {
    let (text, skills) =
        text.split_once('/').map_or((text, None), |(text, skills)| (text, Some(skills)));
    let (species, hp) = text.split_once('@').map_or((text, None), |(text, hp)| (text, Some(hp)));
    let species = PACK.species(&format!("pet_{species}")).ok_or("no such species")?;
    let skills: Vec<String> = match skills {
        None => species.learnable.iter().take(5).map(|skill| skill.to_string()).collect(),
        Some("-") => Vec::new(),
        Some(skills) => skills.split('+').map(|skill| format!("skill_{skill}")).collect(),
    };
    let points = json!({"hp": 0, "atk": 0, "def": 0, "spa": 0, "spd": 0, "spe": 0});
    let mut pet = json!({"name": species.id, "species": species.id, "level": 100, "evs": points,
        "ivs": points, "nature": "Hardy", "skills": skills, "ability": species.abilities[0],
        "emblem": species.emblems[0]});
    if let Some(hp) = hp {
        pet["maxHp"] = json!(hp.parse::<u32>()?);
    }
    Ok(pet)
}

#[test]
fn scripts_play_as_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/battle/builtin/testscripts");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 8, "{folder} holds the scripts");
    for path in paths {
        goldenscript::run(&mut Script::default(), &path).unwrap();
    }
}
