//! Game data: species, skills and the element chart, read from a folder or from the binary.
//!
//! A pack is a `pack.json` and the YAML lists it names. It is read once at start, checked as a whole
//! and never changes; nodes compare packs by the digest of what was read. A broken pack is refused
//! with file, line and reason, so that it can't come up half right.
//!
//! What effects and marks *do* is a scripting language of the studio's own engine. The built-in rules
//! keep their ids, because teams name abilities and emblems and clients show them, and ignore the
//! rest: [`Pack::ignored`] says how much, to be logged at start.
//!
//! Unknown keys are ignored, as are references from `learnable_skills`: which pet may have which
//! skill is not checked anywhere (contract 5.1), and a reference into nothing harms nobody.

mod files;
#[cfg(test)]
mod fuzz;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serverv2_machine::{Digest, PackRef};

use super::engine::Target;
use super::team::{StatPoints, Team};
use super::view::{Category, Element, Multihit};

/// Name and version of the built-in rules; a change that alters an outcome needs another number.
pub const ENGINE: &str = "builtin/1";

/// Bytes of one file of a pack; a larger one is refused.
pub const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Data files of a pack.
pub const FILES_MAX: usize = 64;
/// Species of a pack.
pub const SPECIES_MAX: usize = 5_000;
/// Skills of a pack.
pub const PACK_SKILLS_MAX: usize = 20_000;
/// Characters of an id in a pack.
pub const ID_CHARS_MAX: usize = 64;

/// Why a pack is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackError {
    /// Which file, as the pack names it.
    pub file: String,
    /// Which line, if it is one line's fault.
    pub line: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

impl std::fmt::Display for PackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.reason),
            None => write!(f, "{}: {}", self.file, self.reason),
        }
    }
}

impl std::error::Error for PackError {}

/// Checked game data.
#[derive(Clone, Debug)]
pub struct Pack {
    /// The pack's own name, for people.
    pub id: String,
    /// The pack's own version, for people.
    pub version: String,
    digest: Digest,
    species: BTreeMap<Arc<str>, Species>,
    skills: BTreeMap<Arc<str>, Skill>,
    marks: BTreeSet<Arc<str>>,
    chart: ElementChart,
    ignored: Ignored,
}

/// What the built-in rules know of and leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Different effects that skills name.
    pub effects: usize,
    /// Different marks that species name as ability or emblem.
    pub marks: usize,
}

/// A kind of pet.
#[derive(Clone, Debug)]
pub struct Species {
    /// Data id, `pet_…`.
    pub id: Arc<str>,
    /// Its element.
    pub element: Element,
    /// What stats are reckoned from.
    pub base_stats: StatPoints,
    /// Lower bound of the height range, 0 without one.
    pub height_min: f64,
    /// Lower bound of the weight range, 0 without one.
    pub weight_min: f64,
    /// Skills it learns, in the pack's order.
    pub learnable: Vec<Arc<str>>,
    /// Marks it may have as ability.
    pub abilities: Vec<Arc<str>>,
    /// Marks it may have as emblem.
    pub emblems: Vec<Arc<str>>,
}

/// A kind of skill.
#[derive(Clone, Debug)]
pub struct Skill {
    /// Data id, `skill_…`.
    pub id: Arc<str>,
    /// Its element.
    pub element: Element,
    /// What kind.
    pub category: Category,
    /// Whom it aims at.
    pub target: Target,
    /// What the damage grows with.
    pub power: u32,
    /// Cost.
    pub rage: u32,
    /// Percent.
    pub accuracy: u32,
    /// Higher goes first.
    pub priority: i32,
    /// Hits per use, at least 1.
    pub multihit: Multihit,
    /// Never misses.
    pub sure_hit: bool,
    /// Free words.
    pub tags: Arc<[Arc<str>]>,
}

/// How well elements do against each other: 0.5, 1 or 2.
#[derive(Clone, Debug)]
pub struct ElementChart([[f64; Element::ALL.len()]; Element::ALL.len()]);

impl Default for ElementChart {
    fn default() -> Self {
        Self([[1.0; Element::ALL.len()]; Element::ALL.len()])
    }
}

impl ElementChart {
    /// Factor of a hit with a skill of this element on a pet of that element.
    pub fn factor(&self, attacker: Element, defender: Element) -> f64 {
        self.0[attacker as usize][defender as usize]
    }
}

impl Pack {
    /// Reads the pack in this folder.
    pub fn from_folder(folder: &Path) -> Result<Self, PackError> {
        files::load(&|path| files::read_file(&folder.join(path)))
    }

    /// Our own small pack, which is part of the binary.
    pub fn starter() -> Self {
        files::load(&files::read_embedded).expect("a test reads the embedded pack")
    }

    /// What battles with this pack and the built-in rules are pinned to.
    pub fn reference(&self) -> PackRef {
        PackRef { engine: ENGINE.into(), digest: self.digest }
    }

    /// What is left out; say so at start.
    pub fn ignored(&self) -> Ignored {
        self.ignored
    }

    /// A species by its data id.
    pub fn species(&self, id: &str) -> Option<&Species> {
        self.species.get(id)
    }

    /// A skill by its data id.
    pub fn skill(&self, id: &str) -> Option<&Skill> {
        self.skills.get(id)
    }

    /// All species, ordered by data id.
    pub fn all_species(&self) -> impl Iterator<Item = &Species> {
        self.species.values()
    }

    /// All skills, ordered by data id.
    pub fn all_skills(&self) -> impl Iterator<Item = &Skill> {
        self.skills.values()
    }

    /// The element chart.
    pub fn chart(&self) -> &ElementChart {
        &self.chart
    }

    /// A mark's id as the pack spells it, if any species may have it as ability or emblem.
    pub fn mark(&self, id: &str) -> Option<&Arc<str>> {
        self.marks.get(id)
    }

    /// Whether everything a team names exists.
    pub fn knows(&self, team: &Team) -> bool {
        team.team.iter().all(|pet| {
            let marks = [&pet.ability, &pet.emblem];
            self.species.contains_key(pet.species.as_str())
                && pet.skills.iter().all(|skill| self.skills.contains_key(skill.as_str()))
                && marks.into_iter().flatten().all(|mark| self.marks.contains(mark.as_str()))
        })
    }
}

#[cfg(test)]
mod tests;
