//! One use of one skill (contract 5.7, step 6).
//!
//! Draws, in this order: accuracy, number of hits, then for each hit critical and spread. What is
//! certain is not drawn.

use serverv2_machine::Seat;

use super::super::engine::Target;
use super::super::message::{DamageType, Event, RageReason, SkillFailure};
use super::super::pack::Skill;
use super::super::view::{Category, Multihit, Number};
use super::BuiltinBattle;
use super::damage::{Hit, SPREAD_LEAST, SPREAD_MOST, damage};
use super::phases::Step;
use super::stats::{ACCURACY, CRIT_RATE, EVASION};

/// What having hit gives, once per use.
const RAGE_FOR_HITTING: u32 = 15;
/// What losing all life at once would give; a part of it for a part of the life.
const RAGE_FOR_LIFE: u64 = 49;

impl BuiltinBattle {
    pub(super) fn use_skill(&mut self, seat: Seat, place: usize, step: &mut Step<'_>) {
        let side = &self.sides[seat.index()];
        let (user, rage) = (side.active(), side.rage);
        let skill = &user.skills[place];
        let (user_id, skill_id, data) = (user.id, skill.id, skill.data.clone());
        let target_seat = match data.target {
            Target::Own => seat,
            Target::Opponent => seat.opponent(),
        };
        let target = self.sides[target_seat.index()].active();
        let target_id = target.id;
        let failure = if user.hp == 0 {
            Some(SkillFailure::Faint)
        } else if rage < data.rage {
            Some(SkillFailure::NoRage)
        } else if target.hp == 0 {
            Some(SkillFailure::InvalidTarget)
        } else {
            None
        };
        if let Some(reason) = failure {
            let event = Event::SkillUseFail { user: user_id, skill: skill_id, reason };
            return self.tell(event, step);
        }

        self.sides[seat.index()].reveal(place);
        let event = Event::SkillUse {
            user: user_id,
            target: data.target,
            skill: skill_id,
            base_skill: data.id.clone(),
            rage: data.rage,
        };
        self.tell(event, step);
        self.set_rage(seat, rage - data.rage, RageReason::Skill, step);
        if data.target == Target::Own || reaches(&data, step) {
            if data.category != Category::Status {
                self.hit(seat, target_seat, &data, step);
            }
        } else {
            let (user, target, skill) = (user_id, target_id, skill_id);
            self.tell(Event::SkillMiss { user, target, skill, reason: "accuracy" }, step);
        }
        self.tell(Event::SkillUseEnd { user: user_id }, step);
    }

    /// All hits of a damaging skill that reached its target.
    fn hit(&mut self, seat: Seat, target_seat: Seat, skill: &Skill, step: &mut Step<'_>) {
        let hits = match skill.multihit {
            Multihit::Fixed(hits) => hits,
            Multihit::Range([least, most]) => step.random.between(least, most),
        };
        let user = self.sides[seat.index()].active();
        let user_id = user.id;
        let target = self.sides[target_seat.index()].active();
        let (target_id, max_hp) = (target.id, target.stats.max_hp);
        let physical = match skill.category {
            Category::Physical => true,
            Category::Special | Category::Status => false,
            Category::Climax => user.stats.atk >= user.stats.spa,
        };
        let (attack, defence, damage_type) = match physical {
            true => (user.stats.atk, target.stats.def, DamageType::Physical),
            false => (user.stats.spa, target.stats.spd, DamageType::Special),
        };
        let element = self.pack.chart().factor(skill.element, target.element);
        let mut hit = Hit {
            target_level: target.level,
            power: skill.power,
            attack,
            defence,
            element,
            same_element: skill.element == user.element,
            critical: false,
            spread_percent: SPREAD_MOST,
        };
        for _ in 0..hits {
            hit.critical = step.random.happens(CRIT_RATE, 100);
            hit.spread_percent = step.random.between(SPREAD_LEAST, SPREAD_MOST);
            let damage = damage(&hit);
            let target_side = &mut self.sides[target_seat.index()];
            let target = &mut target_side.team[target_side.active];
            target.hp = target.hp.saturating_sub(damage);
            let current_hp = target.hp;
            let event = Event::Damage {
                current_hp,
                max_hp,
                source: user_id,
                target: target_id,
                damage,
                is_crit: hit.critical,
                effectiveness: Number(element),
                damage_type,
            };
            self.tell(event, step);
            let gained = u64::from(damage) * RAGE_FOR_LIFE / u64::from(max_hp);
            let gained = u32::try_from(gained).unwrap_or(u32::MAX);
            let rage = self.sides[target_seat.index()].rage.saturating_add(gained);
            self.set_rage(target_seat, rage, RageReason::Damage, step);
            if current_hp == 0 {
                break;
            }
        }
        let rage = self.sides[seat.index()].rage + RAGE_FOR_HITTING;
        self.set_rage(seat, rage, RageReason::SkillHit, step);
        if self.sides[target_seat.index()].active().hp == 0 {
            // A pet that knocks itself out earns no follow-up.
            self.sides[seat.index()].scored |= target_seat != seat;
            self.tell(Event::PetDefeated { pet: target_id, killer: Some(user_id) }, step);
        }
    }
}

/// Rolls accuracy, in parts of a million: three percentages multiplied.
fn reaches(skill: &Skill, step: &mut Step<'_>) -> bool {
    let evaded = 100_u32.saturating_sub(EVASION);
    skill.sure_hit || step.random.happens(skill.accuracy * ACCURACY * evaded, 1_000_000)
}
