//! What a player may choose now (contract 5.3).
//!
//! Everything that may be chosen is listed, and nothing that is not listed is taken: the existing
//! server's looser checks are not copied. `surrender` is listed last whenever something is asked.

use serverv2_machine::{NanoId, Seat};

use super::super::engine::{Selection, Verdict};
use super::BuiltinBattle;

/// What a player is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// The turn's action.
    Action,
    /// A living pet in place of a fainted one.
    Replacement,
    /// Another pet, if he likes: he knocked one out.
    FollowUp,
}

/// A choice that was legal when it was made, by place instead of by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Use this skill of the active pet.
    Skill(usize),
    /// Bring this pet of the team in.
    Switch(usize),
    /// Pass.
    Nothing,
    /// Give up.
    Surrender,
}

impl BuiltinBattle {
    /// Everything this player may choose now, in the contract's order; empty if nothing is asked.
    pub(super) fn choices(&self, seat: Seat) -> Vec<Choice> {
        let Some(ask) = self.asked[seat.index()] else { return Vec::new() };
        let side = &self.sides[seat.index()];
        let switches = side.bench().map(Choice::Switch);
        let mut choices = Vec::new();
        match ask {
            Ask::Action => {
                let skills = side.active().skills.iter().enumerate();
                let affordable = skills.filter(|(_, skill)| skill.data.rage <= side.rage);
                choices.extend(affordable.map(|(place, _)| Choice::Skill(place)));
                let can_act = !choices.is_empty();
                choices.extend(switches);
                if !can_act {
                    choices.push(Choice::Nothing);
                }
            }
            Ask::Replacement => choices.extend(switches),
            Ask::FollowUp => {
                choices.push(Choice::Nothing);
                choices.extend(switches);
            }
        }
        choices.push(Choice::Surrender);
        choices
    }

    /// The choice as clients name it.
    pub(super) fn selection(&self, seat: Seat, choice: Choice) -> Selection {
        let side = &self.sides[seat.index()];
        match choice {
            Choice::Skill(place) => {
                let skill = &side.active().skills[place];
                Selection::UseSkill { skill: skill.id.to_string(), target: skill.data.target }
            }
            Choice::Switch(place) => Selection::SwitchPet { pet: side.team[place].id.to_string() },
            Choice::Nothing => Selection::DoNothing,
            Choice::Surrender => Selection::Surrender,
        }
    }

    /// Finds a client's choice among what may be chosen. The target is not compared: the skill's counts.
    pub(super) fn find_choice(&self, seat: Seat, selection: &Selection) -> Result<Choice, Verdict> {
        let side = &self.sides[seat.index()];
        let wanted = match selection {
            Selection::UseSkill { skill, .. } => {
                let id: NanoId = skill.parse().map_err(|_| Verdict::UnknownSkill)?;
                let mut pets = self.sides.iter().flat_map(|side| &side.team);
                if !pets.any(|pet| pet.skills.iter().any(|skill| skill.id == id)) {
                    return Err(Verdict::UnknownSkill);
                }
                side.active().skills.iter().position(|skill| skill.id == id).map(Choice::Skill)
            }
            Selection::SwitchPet { pet } => {
                let id: NanoId = pet.parse().map_err(|_| Verdict::UnknownPet)?;
                if !self.sides.iter().flat_map(|side| &side.team).any(|pet| pet.id == id) {
                    return Err(Verdict::UnknownPet);
                }
                side.team.iter().position(|pet| pet.id == id).map(Choice::Switch)
            }
            Selection::DoNothing => Some(Choice::Nothing),
            Selection::Surrender => Some(Choice::Surrender),
        };
        wanted.filter(|choice| self.choices(seat).contains(choice)).ok_or(Verdict::NotLegal)
    }
}
