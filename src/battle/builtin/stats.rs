//! What a pet's values are (contract 5.9): from base stats, individual and effort values, level, nature.

use super::super::team::{Nature, Pet as TeamPet, StatPoints};

/// Current values of a pet. Without effects in the built-in rules they never change in a battle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stats {
    pub(super) max_hp: u32,
    pub(super) atk: f64,
    pub(super) def: f64,
    pub(super) spa: f64,
    pub(super) spd: f64,
    pub(super) spe: f64,
}

/// Percent of the opponent's skills' accuracy that every pet has.
pub(super) const ACCURACY: u32 = 100;
/// Percent by which every pet evades.
pub(super) const EVASION: u32 = 0;
/// Percent of hits that are critical.
pub(super) const CRIT_RATE: u32 = 7;
/// What a turn gives.
pub(super) const RAGE_PER_TURN: u32 = 15;

/// Reckons all six.
pub(super) fn stats(pet: &TeamPet, base: StatPoints) -> Stats {
    let TeamPet { level, evs, ivs, nature, .. } = pet;
    let other = |stat: Stat, base, iv, ev| {
        f64::from(grown(base, iv, ev, *level) + 5) * nature_factor(*nature, stat)
    };
    Stats {
        max_hp: pet.max_hp.unwrap_or_else(|| grown(base.hp, ivs.hp, evs.hp, *level) + level + 10),
        atk: other(Stat::Atk, base.atk, ivs.atk, evs.atk),
        def: other(Stat::Def, base.def, ivs.def, evs.def),
        spa: other(Stat::Spa, base.spa, ivs.spa, evs.spa),
        spd: other(Stat::Spd, base.spd, ivs.spd, evs.spd),
        spe: other(Stat::Spe, base.spe, ivs.spe, evs.spe),
    }
}

/// The part that all stats share; pack and team bound each argument, so it can't overflow.
fn grown(base: u32, iv: u32, ev: u32, level: u32) -> u32 {
    (2 * base + iv + ev / 4) * level / 100
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stat {
    Atk,
    Def,
    Spa,
    Spd,
    Spe,
}

fn nature_factor(nature: Nature, stat: Stat) -> f64 {
    match raised_and_lowered(nature) {
        Some((raised, _)) if raised == stat => 1.1,
        Some((_, lowered)) if lowered == stat => 0.9,
        _ => 1.0,
    }
}

fn raised_and_lowered(nature: Nature) -> Option<(Stat, Stat)> {
    use Stat::{Atk, Def, Spa, Spd, Spe};
    match nature {
        Nature::Hardy | Nature::Docile | Nature::Serious | Nature::Bashful | Nature::Quirky => None,
        Nature::Lonely => Some((Atk, Def)),
        Nature::Brave => Some((Atk, Spe)),
        Nature::Adamant => Some((Atk, Spa)),
        Nature::Naughty => Some((Atk, Spd)),
        Nature::Bold => Some((Def, Atk)),
        Nature::Relaxed => Some((Def, Spe)),
        Nature::Impish => Some((Def, Spa)),
        Nature::Lax => Some((Def, Spd)),
        Nature::Timid => Some((Spe, Atk)),
        Nature::Hasty => Some((Spe, Def)),
        Nature::Jolly => Some((Spe, Spa)),
        Nature::Naive => Some((Spe, Spd)),
        Nature::Modest => Some((Spa, Atk)),
        Nature::Mild => Some((Spa, Def)),
        Nature::Quiet => Some((Spa, Spe)),
        Nature::Rash => Some((Spa, Spd)),
        Nature::Calm => Some((Spd, Atk)),
        Nature::Gentle => Some((Spd, Def)),
        Nature::Sassy => Some((Spd, Spe)),
        Nature::Careful => Some((Spd, Spa)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serverv2_machine::NanoId;

    use super::*;
    use crate::battle::team;

    fn pet(level: u32, iv: u32, ev: u32, nature: &str) -> TeamPet {
        let mut points = json!({"hp": iv, "atk": iv, "def": iv, "spa": iv, "spd": iv, "spe": iv});
        let ivs = points.clone();
        for key in ["hp", "atk", "def", "spa", "spd", "spe"] {
            points[key] = json!(if key == "hp" || key == "atk" { ev } else { 0 });
        }
        let schema = json!({"name": "n", "id": "aaaaaaaaaaaaaaaaaaaaa", "team": [{
            "name": "p", "species": "pet_x", "level": level, "evs": points, "ivs": ivs,
            "nature": nature, "skills": [],
        }]});
        let mut fresh = || NanoId::from_entropy(&[1; 32]);
        team::read(Some(&schema), &mut fresh).unwrap().team.remove(0)
    }

    #[test]
    fn stats_follow_the_contracts_formulas() {
        let base = StatPoints { hp: 100, atk: 80, def: 80, spa: 80, spd: 80, spe: 80 };
        // (level, iv, ev) => max HP, atk (neutral)
        let table = [
            ((100, 31, 252), (404, 259.0)),
            ((100, 0, 0), (310, 165.0)),
            ((50, 31, 252), (207, 132.0)),
            ((50, 31, 3), (175, 100.0)),
            ((1, 0, 0), (13, 6.0)),
            ((99, 15, 255), (384, 240.0)),
        ];
        for ((level, iv, ev), (max_hp, atk)) in table {
            let stats = stats(&pet(level, iv, ev, "Hardy"), base);
            assert_eq!((stats.max_hp, stats.atk), (max_hp, atk), "{level} {iv} {ev}");
        }
    }

    #[test]
    fn a_nature_raises_one_stat_and_lowers_another_without_flooring() {
        let base = StatPoints { hp: 50, atk: 50, def: 50, spa: 50, spd: 50, spe: 50 };
        let stats = stats(&pet(100, 6, 0, "Adamant"), base);
        assert_eq!(stats.atk, 111.0 * 1.1);
        assert_eq!(stats.spa, 111.0 * 0.9);
        assert_eq!((stats.def, stats.spd, stats.spe), (111.0, 111.0, 111.0));
    }

    #[test]
    fn a_team_may_fix_the_life_of_a_pet() {
        let mut pet = pet(100, 31, 0, "Hardy");
        pet.max_hp = Some(7);
        assert_eq!(stats(&pet, StatPoints::default()).max_hp, 7);
    }
}
