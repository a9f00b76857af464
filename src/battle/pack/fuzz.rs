//! Packs that somebody spoilt: loaded, or refused with the file's name, in bounded time and memory.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::files::{load, read_embedded};
use super::*;
use crate::fuzz::{Slip, slipped, slips};

/// Files of a pack by their names.
type Files = BTreeMap<&'static str, String>;

const NAMES: &[&str] = &["pack.json", "species.yaml", "skills.yaml", "elements.yaml"];

/// What is put into files: the characters and words that mean something to YAML and JSON.
const BITS: &[&str] = &[
    "- ",
    ": ",
    "\n",
    "\n  ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: *a",
    "<<: ",
    "!!binary ",
    "!x ",
    "|",
    ">",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "\t",
    "'",
    "\"",
    "#",
    "? ",
    "~",
    "null",
    ".inf",
    ".nan",
    "-1",
    "1e400",
    "0x7fffffffffffffff",
    "99999999999999999999",
    "\u{0}",
    "\u{feff}",
    "\u{2028}",
    "true",
    "Fire",
    "pet_dilan",
    "multihit: [0, 99]",
    "id: ",
    "[[[[[[[[[[[[[[[[",
];

fn starter() -> Files {
    NAMES.iter().map(|name| (*name, read_embedded(name).unwrap())).collect()
}

/// A small pack with everything a pack can say.
fn generated(species: usize, skills: usize) -> Files {
    let pack = "{\"id\": \"g\", \"version\": \"1\",\n \"data\": {\"species\": [\"species.yaml\"],\n \
                \"skills\": [\"skills.yaml\"], \"elements\": [\"elements.yaml\"]}}";
    let species = (0..species).map(|number| {
        format!(
            "- id: pet_{number}\n  element: Fire\n  baseStats: &s{number} {{hp: 1, atk: 2, def: 3, \
             spa: 4, spd: 5, spe: {number}}}\n  heightRange: [0.5, 1]\n  learnable_skills: \
             [{{skill_id: skill_0}}]\n  ability: [mark_{number}]\n"
        )
    });
    let skills = (0..skills).map(|number| {
        format!(
            "- &k{number}\n  id: skill_{number}\n  element: Water\n  category: Physical\n  target: \
             opponent\n  power: 40\n  rage: 10\n  accuracy: 100\n  multihit: [2, 5]\n"
        )
    });
    BTreeMap::from([
        ("pack.json", pack.to_owned()),
        ("species.yaml", species.collect()),
        ("skills.yaml", skills.collect()),
        ("elements.yaml", "Fire: {Water: 0.5}\nWater:\n  Fire: 2\n".to_owned()),
    ])
}

fn loaded(files: &Files) -> Result<Pack, PackError> {
    load(&|name| files.get(name).cloned().ok_or_else(|| "no such file".to_owned()))
}

/// A refusal names a file of the pack and, if it is one line's fault, a line that is there.
fn is_refused_by_name_or_loaded(files: &Files, spoilt: &str) -> Result<(), TestCaseError> {
    match loaded(files) {
        Ok(pack) => prop_assert!(pack.all_species().count() > 0 && pack.all_skills().count() > 0),
        Err(error) => {
            let from_manifest = spoilt == "pack.json";
            prop_assert!(
                from_manifest || error.file == spoilt || error.file == "pack.json",
                "{error}"
            );
            prop_assert!(!error.reason.is_empty() && !error.reason.contains('\n'), "{error}");
            if let (Some(line), Some(text)) = (error.line, files.get(error.file.as_str())) {
                // Some parsers count an end of the file as a line, and other breaks as breaks.
                let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
                prop_assert!(line <= lines as u64 + 1, "{error}: of {lines} lines");
            }
        }
    }
    Ok(())
}

fn spoilt(mut files: Files, name: &'static str, slips: &[Slip]) -> Files {
    let text = files.get_mut(name).unwrap();
    *text = slipped(text, slips);
    files
}

proptest! {
    #[test]
    fn a_slip_in_the_starter_pack_is_refused_by_name_or_harmless(
        name in prop::sample::select(NAMES),
        slips in slips(BITS),
    ) {
        is_refused_by_name_or_loaded(&spoilt(starter(), name, &slips), name)?;
    }

    #[test]
    fn a_slip_in_any_pack_is_refused_by_name_or_harmless(
        species in 1..5usize,
        skills in 1..5usize,
        name in prop::sample::select(NAMES),
        slips in slips(BITS),
    ) {
        is_refused_by_name_or_loaded(&spoilt(generated(species, skills), name, &slips), name)?;
    }

    #[test]
    fn noise_is_refused_by_name(name in prop::sample::select(NAMES), text in "(?s).{0,300}") {
        let mut files = generated(2, 2);
        files.insert(name, text);
        is_refused_by_name_or_loaded(&files, name)?;
    }
}

/// Refused for what one file holds, by that file's name.
fn refused(name: &'static str, text: String) -> PackError {
    let mut files = generated(2, 2);
    files.insert(name, text);
    let error = loaded(&files).expect_err("refused");
    assert_eq!(error.file, name, "{error}");
    error
}

#[test]
fn aliases_of_aliases_are_refused() {
    for nodes in ["lol", "[lol]", "{lol: lol}"] {
        let mut text = format!("- &a0 {nodes}\n");
        for level in 1..40 {
            let below = format!("*a{}", level - 1);
            text += &format!("- &a{level} [{}]\n", vec![below; 10].join(", "));
        }
        refused("species.yaml", text.clone());
        // In a place that nobody reads.
        let hidden = text.replace('\n', "\n    ");
        refused("skills.yaml", format!("- id: skill_0\n  unread:\n    {hidden}\n"));
    }
}

#[test]
fn a_merge_of_merges_is_refused() {
    let mut text = "- &a0 {k0: 1}\n".to_owned();
    for level in 1..60 {
        let below = format!("*a{}", level - 1);
        text += &format!("- &a{level} {{<<: [{below}, {below}, {below}], k{level}: 1}}\n");
    }
    refused("skills.yaml", text);
}

#[test]
fn a_long_text_that_is_repeated_by_reference_is_refused() {
    let tags = vec!["*long"; 100_000].join(", ");
    let long = "x".repeat(1024 * 1024);
    let skill = &generated(1, 1)["skills.yaml"];
    let text = format!("{skill}  more: &long {long}\n  tags: [{tags}]\n");
    refused("skills.yaml", text);
}

#[test]
fn a_reference_to_itself_is_refused() {
    refused("species.yaml", "&a [*a]".to_owned());
    refused("species.yaml", "- &a {id: pet_a, more: *a}".to_owned());
    refused("skills.yaml", "- &a\n  <<: *a\n  id: skill_a".to_owned());
}

#[test]
fn deep_nesting_is_refused_and_costs_no_stack() {
    for depth in [1_000, 100_000, 1_000_000] {
        for open in ["[", "{a: ", "- ", "? ", "&a [", "!x ["] {
            refused("species.yaml", open.repeat(depth));
            let skill = format!("- id: skill_0\n  unread: {}\n", open.repeat(depth));
            refused("skills.yaml", skill);
        }
        refused("pack.json", "[".repeat(depth));
        refused("pack.json", "{\"data\":".repeat(depth));
        refused("pack.json", format!("{{\"unread\":{}", "[".repeat(depth)));
    }
}
