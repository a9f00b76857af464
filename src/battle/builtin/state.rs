//! Players, pets and skills of one battle, and what each viewer sees of them (contract 5.4, 5.5).
//!
//! What clients see is kept ready in shared parts, so that a view is made by counting references.
//! Hidden information lives only here: [`Side::view`] is the one place that lets it out.

use std::sync::Arc;

use serverv2_machine::{NanoId, PlayerId};

use super::super::engine::Target;
use super::super::pack::{Pack, Skill};
use super::super::team::{Pet as TeamPet, Team};
use super::super::view::{
    Category, Element, MarkView, ModifierState, Multihit, Number, PetView, PlayerView, SkillView,
    StatsView,
};
use super::random::Stream;
use super::stats::{self, ACCURACY, CRIT_RATE, EVASION, RAGE_PER_TURN, Stats};

/// Rage at the start.
const RAGE_START: u32 = 20;
/// Most rage a player can have.
pub(super) const RAGE_MAX: u32 = 100;

/// One player with his team.
pub(super) struct Side {
    pub(super) player: PlayerId,
    name: Arc<str>,
    pub(super) rage: u32,
    pub(super) active: usize,
    pub(super) team: Vec<Pet>,
    /// Knocked out a pet of the other side this turn.
    pub(super) scored: bool,
    unmodified: Arc<ModifierState>,
}

/// One pet in battle or on the bench.
pub(super) struct Pet {
    pub(super) id: NanoId,
    name: Arc<str>,
    species_id: Arc<str>,
    pub(super) element: Element,
    pub(super) level: u32,
    pub(super) hp: u32,
    pub(super) stats: Stats,
    /// In the order in which they are listed.
    pub(super) skills: Vec<PetSkill>,
    /// Has been in battle, so the opponent may see it.
    appeared: bool,
    marks: Arc<[MarkView]>,
    stats_view: Arc<StatsView>,
    skills_own: Arc<[SkillView]>,
    skills_shown: Arc<[SkillView]>,
}

/// One skill of one pet.
pub(super) struct PetSkill {
    pub(super) id: NanoId,
    pub(super) data: Skill,
    used: bool,
}

impl Side {
    /// `None` if the pack lacks something the team names.
    pub(super) fn new(team: Team, pack: &Pack, random: &mut Stream) -> Option<Self> {
        let unmodified = Arc::<ModifierState>::default();
        let pets = team.team.into_iter().map(|pet| Pet::new(pet, pack, &unmodified, random));
        let mut pets = pets.collect::<Option<Vec<_>>>()?;
        pets.first_mut()?.appeared = true;
        Some(Self {
            player: team.id,
            name: team.name.into(),
            rage: RAGE_START,
            active: 0,
            team: pets,
            scored: false,
            unmodified,
        })
    }

    pub(super) fn active(&self) -> &Pet {
        &self.team[self.active]
    }

    pub(super) fn alive(&self) -> usize {
        self.team.iter().filter(|pet| pet.hp > 0).count()
    }

    /// Places of the pets that could come in.
    pub(super) fn bench(&self) -> impl Iterator<Item = usize> {
        let living = |place: &usize| *place != self.active && self.team[*place].hp > 0;
        (0..self.team.len()).filter(living)
    }

    /// Brings a pet in; gives the one that left.
    pub(super) fn switch_to(&mut self, place: usize) -> NanoId {
        let left = self.active().id;
        self.active = place;
        self.team[place].appeared = true;
        self.rage = self.rage * 8 / 10;
        left
    }

    /// Marks a skill of the active pet as used: from now on the opponent sees it.
    pub(super) fn reveal(&mut self, skill: usize) {
        let pet = &mut self.team[self.active];
        if !std::mem::replace(&mut pet.skills[skill].used, true) {
            pet.skills_shown = pet.skills.iter().map(PetSkill::shown).collect();
        }
    }

    pub(super) fn view(&self, own: bool) -> PlayerView {
        PlayerView {
            name: self.name.clone(),
            id: self.player,
            rage: self.rage,
            max_rage: RAGE_MAX,
            active_pet: self.active().id,
            team_alives: self.alive() as u32,
            team: self
                .team
                .iter()
                .map(|pet| match (own, pet.appeared) {
                    (true, _) => pet.own(&self.unmodified),
                    (false, true) => pet.shown(),
                    (false, false) => pet.hidden(),
                })
                .collect(),
            modifier_state: own.then(|| self.unmodified.clone()),
        }
    }
}

impl Pet {
    fn new(
        pet: TeamPet,
        pack: &Pack,
        unmodified: &Arc<ModifierState>,
        random: &mut Stream,
    ) -> Option<Self> {
        let species = pack.species(&pet.species)?;
        let stats = stats::stats(&pet, species.base_stats);
        let mut skills = Vec::with_capacity(pet.skills.len());
        for id in &pet.skills {
            skills.push(PetSkill { id: random.id(), data: pack.skill(id)?.clone(), used: false });
        }
        // Stable: otherwise they keep the team's order.
        skills.sort_by_key(|skill| skill.data.category == Category::Climax);
        let mut marks = Vec::new();
        for id in [&pet.ability, &pet.emblem].into_iter().flatten() {
            marks.push(permanent_mark(random.id(), pack.mark(id)?.clone()));
        }
        let stats_view = StatsView {
            max_hp: Number(stats.max_hp.into()),
            atk: Number(stats.atk),
            def: Number(stats.def),
            spa: Number(stats.spa),
            spd: Number(stats.spd),
            spe: Number(stats.spe),
            accuracy: Number(ACCURACY.into()),
            evasion: Number(EVASION.into()),
            crit_rate: Number(CRIT_RATE.into()),
            rage_per_turn: Number(RAGE_PER_TURN.into()),
            weight: pet.weight.unwrap_or(Number(species.weight_min)),
            height: pet.height.unwrap_or(Number(species.height_min)),
        };
        Some(Self {
            id: pet.id,
            name: pet.name.into(),
            species_id: species.id.clone(),
            element: species.element,
            level: pet.level,
            hp: stats.max_hp,
            stats,
            appeared: false,
            marks: marks.into(),
            stats_view: Arc::new(stats_view),
            skills_own: skills.iter().map(|skill| skill.own(unmodified)).collect(),
            skills_shown: skills.iter().map(PetSkill::shown).collect(),
            skills,
        })
    }

    fn shown(&self) -> PetView {
        PetView {
            is_unknown: false,
            name: self.name.clone(),
            id: self.id,
            species_id: self.species_id.clone(),
            element: self.element,
            level: self.level,
            current_hp: self.hp,
            max_hp: self.stats.max_hp,
            marks: self.marks.clone(),
            skills: Some(self.skills_shown.clone()),
            stats: None,
            modifier_state: None,
        }
    }

    fn own(&self, unmodified: &Arc<ModifierState>) -> PetView {
        PetView {
            skills: Some(self.skills_own.clone()),
            stats: Some(self.stats_view.clone()),
            modifier_state: Some(unmodified.clone()),
            ..self.shown()
        }
    }

    fn hidden(&self) -> PetView {
        PetView {
            is_unknown: true,
            name: Arc::default(),
            id: self.id,
            species_id: Arc::default(),
            element: Element::Normal,
            level: 0,
            current_hp: 0,
            max_hp: 0,
            marks: Arc::default(),
            skills: None,
            stats: None,
            modifier_state: None,
        }
    }
}

impl PetSkill {
    fn own(&self, unmodified: &Arc<ModifierState>) -> SkillView {
        SkillView { modifier_state: Some(unmodified.clone()), ..self.known() }
    }

    fn shown(&self) -> SkillView {
        if self.used { self.known() } else { self.hidden() }
    }

    fn known(&self) -> SkillView {
        let Skill { id, element, category, target, power, rage, accuracy, .. } = &self.data;
        SkillView {
            is_unknown: false,
            id: self.id,
            base_id: id.clone(),
            category: *category,
            element: *element,
            power: *power,
            rage: *rage,
            accuracy: *accuracy,
            priority: self.data.priority,
            target: *target,
            multihit: self.data.multihit,
            sure_hit: self.data.sure_hit,
            tag: self.data.tags.clone(),
            modifier_state: None,
        }
    }

    fn hidden(&self) -> SkillView {
        SkillView {
            is_unknown: true,
            id: self.id,
            base_id: Arc::default(),
            category: Category::Physical,
            element: Element::Normal,
            power: 0,
            rage: 0,
            accuracy: 0,
            priority: 0,
            target: Target::Opponent,
            multihit: Multihit::Fixed(1),
            sure_hit: false,
            tag: Arc::default(),
            modifier_state: None,
        }
    }
}

/// How an ability or emblem shows: it lies there, and the built-in rules leave it alone.
fn permanent_mark(id: NanoId, base_id: Arc<str>) -> MarkView {
    MarkView { id, base_id, stack: 1, duration: -1, is_active: true, config: Arc::default() }
}
