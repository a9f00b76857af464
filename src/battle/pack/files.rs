//! Reading and checking the files of a pack.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Component, Path};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::Spanned;
use serverv2_machine::Digest;
use sha2::{Digest as _, Sha256};

use super::{
    ElementChart, FILE_BYTES_MAX, FILES_MAX, ID_CHARS_MAX, Ignored, PACK_SKILLS_MAX, Pack,
    PackError, SPECIES_MAX, Skill, Species,
};
use crate::battle::engine::Target;
use crate::battle::team::StatPoints;
use crate::battle::view::{Category, Element, Multihit};

/// Largest base stat; keeps damage within range.
const BASE_STAT_MAX: u32 = 10_000;
/// Largest power; keeps damage within range.
const POWER_MAX: u32 = 10_000;
/// Largest cost and accuracy.
const PERCENT_MAX: u32 = 1_000;
/// Largest priority, up or down.
const PRIORITY_MAX: u32 = 1_000;
/// Most hits of one use: bounds what one turn can send.
const HITS_MAX: u32 = 20;
/// YAML nodes of one file.
const NODES_MAX: usize = 2_000_000;

/// Gives a file of the pack as text, or why it can't.
pub(super) type ReadFile<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// Reads a file from disk.
pub(super) fn read_file(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    // One byte more than allowed tells a full file from one that is too large.
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match read.map_err(|error| error.to_string())? {
        bytes if bytes as u64 > FILE_BYTES_MAX => {
            Err(format!("larger than {FILE_BYTES_MAX} bytes"))
        }
        _ => Ok(text),
    }
}

const STARTER_ELEMENTS: &str = include_str!("../packs/starter/elements.yaml");

/// Reads a file of the starter pack out of the binary.
pub(super) fn read_embedded(path: &str) -> Result<String, String> {
    match path {
        "pack.json" => Ok(include_str!("../packs/starter/pack.json").to_owned()),
        "species.yaml" => Ok(include_str!("../packs/starter/species.yaml").to_owned()),
        "skills.yaml" => Ok(include_str!("../packs/starter/skills.yaml").to_owned()),
        "elements.yaml" => Ok(STARTER_ELEMENTS.to_owned()),
        _ => Err("no such file in the starter pack".to_owned()),
    }
}

#[derive(Deserialize)]
struct Manifest {
    id: String,
    version: String,
    #[serde(default)]
    paths: ManifestPaths,
    data: ManifestData,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestPaths {
    #[serde(default)]
    data_dir: String,
}

#[derive(Deserialize)]
struct ManifestData {
    species: Vec<String>,
    skills: Vec<String>,
    #[serde(default)]
    elements: Vec<String>,
}

#[derive(Deserialize)]
struct SpeciesEntry {
    id: Spanned<String>,
    element: Element,
    #[serde(rename = "baseStats")]
    base_stats: StatPoints,
    #[serde(default, rename = "heightRange")]
    height_range: Option<[f64; 2]>,
    #[serde(default, rename = "weightRange")]
    weight_range: Option<[f64; 2]>,
    #[serde(default)]
    learnable_skills: Vec<Learnable>,
    #[serde(default)]
    ability: Vec<String>,
    #[serde(default)]
    emblem: Vec<String>,
}

#[derive(Deserialize)]
struct Learnable {
    skill_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SkillEntry {
    id: Spanned<String>,
    element: Element,
    category: Category,
    target: Target,
    power: u32,
    rage: u32,
    accuracy: u32,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    multihit: Option<Multihit>,
    #[serde(default)]
    sure_hit: bool,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    effect: Vec<String>,
}

type ChartEntries = BTreeMap<Element, BTreeMap<Element, Spanned<f64>>>;

/// Reads `pack.json` and everything it names.
pub(super) fn load(read: ReadFile<'_>) -> Result<Pack, PackError> {
    let manifest_file = "pack.json";
    let text = read(manifest_file).map_err(|reason| refuse(manifest_file, None, reason))?;
    let manifest: Manifest = serde_json::from_str(&text)
        .map_err(|error| refuse(manifest_file, Some(error.line() as u64), error.to_string()))?;
    let data = &manifest.data;
    if data.species.len() + data.skills.len() + data.elements.len() > FILES_MAX {
        return Err(refuse(manifest_file, None, format!("names more than {FILES_MAX} data files")));
    }
    let mut hash = Sha256::new();
    let mut read_data = |kind: &str, name: &str| {
        let path = data_path(&manifest.paths.data_dir, name)?;
        let text = read(&path).map_err(|reason| refuse(&path, None, reason))?;
        add_to_digest(&mut hash, kind, &text);
        Ok((path, text))
    };

    let mut pack = Pack {
        id: manifest.id.clone(),
        version: manifest.version.clone(),
        digest: Digest([0; 32]),
        species: BTreeMap::new(),
        skills: BTreeMap::new(),
        marks: BTreeSet::new(),
        chart: ElementChart::default(),
        ignored: Ignored::default(),
    };
    for name in &data.species {
        let (path, text) = read_data("species", name)?;
        add_species(&mut pack, &path, parse(&path, &text)?)?;
    }
    let mut effects = BTreeSet::new();
    for name in &data.skills {
        let (path, text) = read_data("skills", name)?;
        add_skills(&mut pack, &mut effects, &path, parse(&path, &text)?)?;
    }
    for name in &data.elements {
        let (path, text) = read_data("elements", name)?;
        add_chart(&mut pack.chart, &path, parse(&path, &text)?)?;
    }
    if data.elements.is_empty() {
        let path = "elements.yaml of the starter pack";
        add_to_digest(&mut hash, "elements", STARTER_ELEMENTS);
        add_chart(&mut pack.chart, path, parse(path, STARTER_ELEMENTS)?)?;
    }
    if pack.species.is_empty() || pack.skills.is_empty() {
        return Err(refuse(manifest_file, None, "there must be a species and a skill"));
    }
    pack.ignored = Ignored { effects: effects.len(), marks: pack.marks.len() };
    pack.digest = Digest(hash.finalize().into());
    Ok(pack)
}

/// Each part with its length before it, so that no two packs give the same bytes.
fn add_to_digest(hash: &mut Sha256, kind: &str, text: &str) {
    for part in [kind, text] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
}

fn refuse(file: &str, line: Option<u64>, reason: impl Into<String>) -> PackError {
    PackError { file: file.to_owned(), line, reason: reason.into() }
}

/// Where a data file lies in the pack; nothing outside of the pack is ever read.
fn data_path(data_dir: &str, name: &str) -> Result<String, PackError> {
    let path = Path::new(data_dir).join(name);
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !path.components().all(inside) {
        let reason = format!("`{}` is not inside the pack", path.display());
        return Err(refuse("pack.json", None, reason));
    }
    let parts: Vec<_> = path
        .components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    Ok(parts.join("/"))
}

fn parse<T: DeserializeOwned>(path: &str, text: &str) -> Result<T, PackError> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_events: 2 * NODES_MAX,
            // Hundreds of skills may share one anchor; file size and nodes bound what that can cost.
            enforce_alias_anchor_ratio: false,
        },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map(|location| location.line());
        refuse(path, line, error.without_snippet().to_string())
    })
}

/// An id with the right beginning that nothing else has.
fn checked_id(id: &Spanned<String>, prefix: &str, taken: bool) -> Result<Arc<str>, String> {
    let text = id.value.as_str();
    if !text.starts_with(prefix) {
        return Err(format!("`{text}` must begin with `{prefix}`"));
    }
    if text.chars().count() > ID_CHARS_MAX {
        return Err(format!("an id has at most {ID_CHARS_MAX} characters"));
    }
    if taken {
        return Err(format!("`{text}` is there twice"));
    }
    Ok(text.into())
}

fn add_species(pack: &mut Pack, path: &str, entries: Vec<SpeciesEntry>) -> Result<(), PackError> {
    for entry in entries {
        let line = Some(entry.id.defined.line());
        let refuse = |reason: String| refuse(path, line, reason);
        let taken = pack.species.contains_key(entry.id.value.as_str());
        let id = checked_id(&entry.id, "pet_", taken).map_err(refuse)?;
        if pack.species.len() >= SPECIES_MAX {
            return Err(refuse(format!("more than {SPECIES_MAX} species")));
        }
        let StatPoints { hp, atk, def, spa, spd, spe } = entry.base_stats;
        if [hp, atk, def, spa, spd, spe].iter().any(|stat| *stat > BASE_STAT_MAX) {
            return Err(refuse(format!("a base stat of `{id}` is above {BASE_STAT_MAX}")));
        }
        let lower_bound = |range: Option<[f64; 2]>| match range {
            None => Ok(0.0),
            Some([min, max]) if min.is_finite() && max.is_finite() && min <= max => Ok(min),
            Some(_) => Err(refuse(format!("`{id}` has a range that is none"))),
        };
        let height_min = lower_bound(entry.height_range)?;
        let weight_min = lower_bound(entry.weight_range)?;
        let mut marks = |ids: Vec<String>| -> Vec<Arc<str>> {
            let ids: Vec<Arc<str>> = ids.into_iter().map(Arc::from).collect();
            pack.marks.extend(ids.iter().cloned());
            ids
        };
        let (abilities, emblems) = (marks(entry.ability), marks(entry.emblem));
        let learnable =
            entry.learnable_skills.into_iter().map(|skill| skill.skill_id.into()).collect();
        let species = Species {
            id: id.clone(),
            element: entry.element,
            base_stats: entry.base_stats,
            height_min,
            weight_min,
            learnable,
            abilities,
            emblems,
        };
        pack.species.insert(id, species);
    }
    Ok(())
}

fn add_skills(
    pack: &mut Pack,
    effects: &mut BTreeSet<String>,
    path: &str,
    entries: Vec<SkillEntry>,
) -> Result<(), PackError> {
    for entry in entries {
        let line = Some(entry.id.defined.line());
        let refuse = |reason: String| refuse(path, line, reason);
        let taken = pack.skills.contains_key(entry.id.value.as_str());
        let id = checked_id(&entry.id, "skill_", taken).map_err(refuse)?;
        if pack.skills.len() >= PACK_SKILLS_MAX {
            return Err(refuse(format!("more than {PACK_SKILLS_MAX} skills")));
        }
        let limits = [
            ("power", entry.power, POWER_MAX),
            ("rage", entry.rage, PERCENT_MAX),
            ("accuracy", entry.accuracy, PERCENT_MAX),
            ("priority", entry.priority.unsigned_abs(), PRIORITY_MAX),
        ];
        if let Some((what, _, max)) = limits.iter().find(|(_, value, max)| value > max) {
            return Err(refuse(format!("{what} of `{id}` is beyond {max}")));
        }
        let multihit = entry.multihit.unwrap_or(Multihit::Fixed(1));
        let (least, most) = match multihit {
            Multihit::Fixed(hits) => (hits, hits),
            Multihit::Range([least, most]) => (least, most),
        };
        if least == 0 || least > most || most > HITS_MAX {
            return Err(refuse(format!("`{id}` must hit 1 to {HITS_MAX} times")));
        }
        effects.extend(entry.effect);
        let skill = Skill {
            id: id.clone(),
            element: entry.element,
            category: entry.category,
            target: entry.target,
            power: entry.power,
            rage: entry.rage,
            accuracy: entry.accuracy,
            priority: entry.priority,
            multihit,
            sure_hit: entry.sure_hit,
            tags: entry.tags.into_iter().map(Arc::from).collect(),
        };
        pack.skills.insert(id, skill);
    }
    Ok(())
}

fn add_chart(chart: &mut ElementChart, path: &str, entries: ChartEntries) -> Result<(), PackError> {
    for (attacker, row) in entries {
        for (defender, factor) in row {
            if ![0.5, 1.0, 2.0].contains(&factor.value) {
                let line = Some(factor.defined.line());
                return Err(refuse(path, line, "a factor is 0.5, 1 or 2"));
            }
            chart.0[attacker as usize][defender as usize] = factor.value;
        }
    }
    Ok(())
}
