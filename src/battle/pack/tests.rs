//! What packs may be, and what broken ones are told.

use std::collections::BTreeSet;

use super::*;

const PACK: &str = r#"{"id": "p", "version": "2", "more": 1, "paths": {"dataDir": "d"},
    "data": {"species": ["species.yaml"], "skills": ["skill.yaml"], "marks": ["unread.yaml"]}}"#;

const SPECIES: &str = "
- id: pet_a
  num: 1
  element: Fire
  baseStats: &stats {hp: 1, atk: 2, def: 3, spa: 4, spd: 5, spe: 6}
  genderRatio: [50, 50]
  heightRange: [0.5, 1]
  weightRange: [2, 3.5]
  learnable_skills: [{skill_id: skill_nowhere, level: 1, hidden: true}]
  ability: [mark_one]
  emblem: [mark_two, mark_one]
- id: pet_b
  element: ElfKing
  baseStats: {<<: *stats, spe: 60}
";

const SKILLS: &str = "
- &base
  id: skill_a
  element: Water
  category: Physical
  target: opponent
  power: 40
  rage: 10
  accuracy: 100
  effect: [effect_x, effect_y]
- <<: *base
  id: skill_b
  multihit: [2, 5]
  priority: -1
  sureHit: true
  ignoreShield: true
  tags: [fast, loud]
- <<: *base
  id: skill_c
  target: self
  multihit: 3
  effect: []
";

/// A pack out of these texts, read from a real folder.
fn load(pack: &str, species: &str, skills: &str) -> Result<Pack, PackError> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("d");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(folder.path().join("pack.json"), pack).unwrap();
    std::fs::write(data.join("species.yaml"), species).unwrap();
    std::fs::write(data.join("skill.yaml"), skills).unwrap();
    std::fs::write(data.join("elements.yaml"), "Fire: {Fire: 3}").unwrap();
    Pack::from_folder(folder.path())
}

#[test]
fn anchors_and_merge_keys_are_followed() {
    let pack = load(PACK, SPECIES, SKILLS).unwrap();
    let skill = pack.skill("skill_b").unwrap();
    assert_eq!((skill.power, skill.element, skill.priority), (40, Element::Water, -1));
    assert_eq!((skill.multihit, skill.sure_hit), (Multihit::Range([2, 5]), true));
    assert_eq!(skill.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["fast", "loud"]);
    let skill = pack.skill("skill_c").unwrap();
    assert_eq!((skill.multihit, skill.target), (Multihit::Fixed(3), Target::Own));
    assert_eq!(pack.skill("skill_a").unwrap().multihit, Multihit::Fixed(1));

    let b = pack.species("pet_b").unwrap();
    assert_eq!((b.base_stats.hp, b.base_stats.spe, b.height_min), (1, 60, 0.0));
    let a = pack.species("pet_a").unwrap();
    assert_eq!((a.height_min, a.weight_min), (0.5, 2.0));
}

#[test]
fn what_is_ignored_is_counted_and_ids_are_kept() {
    let pack = load(PACK, SPECIES, SKILLS).unwrap();
    assert_eq!(pack.ignored(), Ignored { effects: 2, marks: 2 });
    assert!(pack.mark("mark_two").is_some() && pack.mark("mark_three").is_none());
}

#[test]
fn a_pack_without_a_chart_uses_the_starters() {
    let pack = load(PACK, SPECIES, SKILLS).unwrap();
    assert_eq!(pack.chart().factor(Element::Water, Element::Fire), 2.0);
    assert_eq!(pack.chart().factor(Element::Fire, Element::Water), 0.5);
    assert_eq!(pack.chart().factor(Element::Miracle, Element::Holy), 1.0);
}

#[test]
fn a_broken_pack_is_refused_with_file_line_and_reason() {
    let table: &[(&str, &str, &str, &str)] = &[
        ("{\n\"id\": 1}", SPECIES, SKILLS, "pack.json:2: invalid type"),
        ("{}", SPECIES, SKILLS, "pack.json:1: missing field `id`"),
        (&PACK.replace("species.yaml", "none.yaml"), SPECIES, SKILLS, "d/none.yaml: No such file"),
        (
            &PACK.replace("species.yaml", "../x.yaml"),
            SPECIES,
            SKILLS,
            "pack.json: `d/../x.yaml` is",
        ),
        (&PACK.replace("\"d\"", "\"/etc\""), SPECIES, SKILLS, "pack.json: `/etc/species.yaml` is"),
        (PACK, "[]", SKILLS, "pack.json: there must be a species"),
        (PACK, &SPECIES.replace("Fire", "Lava"), SKILLS, "d/species.yaml:4: unknown variant"),
        (
            PACK,
            &SPECIES.replace("pet_b", "pet_a"),
            SKILLS,
            "d/species.yaml:12: `pet_a` is there twice",
        ),
        (
            PACK,
            &SPECIES.replace("pet_b", "b"),
            SKILLS,
            "d/species.yaml:12: `b` must begin with `pet_`",
        ),
        (PACK, &SPECIES.replace("hp: 1", "hp: -1"), SKILLS, "d/species.yaml:5: "),
        (PACK, &SPECIES.replace("hp: 1", "hp: 10001"), SKILLS, "d/species.yaml:2: a base stat"),
        (
            PACK,
            &SPECIES.replace("[2, 3.5]", "[4, 3.5]"),
            SKILLS,
            "d/species.yaml:2: `pet_a` has a range",
        ),
        (PACK, SPECIES, &SKILLS.replace("power: 40", "power: 99999"), "d/skill.yaml:3: power of"),
        (PACK, SPECIES, &SKILLS.replace("[2, 5]", "[5, 2]"), "d/skill.yaml:12: `skill_b` must hit"),
        (
            PACK,
            SPECIES,
            &SKILLS.replace("multihit: 3", "multihit: 0"),
            "d/skill.yaml:19: `skill_c` must hit",
        ),
        (
            PACK,
            SPECIES,
            &SKILLS.replace("  element: Water\n", ""),
            "d/skill.yaml:9: missing field `element`",
        ),
        (PACK, SPECIES, "- [", "d/skill.yaml:"),
        (
            &PACK.replace("\"marks\": [\"unread.yaml\"]", "\"elements\": [\"elements.yaml\"]"),
            SPECIES,
            SKILLS,
            "d/elements.yaml:1: a factor is 0.5, 1 or 2",
        ),
    ];
    for (pack, species, skills, expected) in table {
        let error = load(pack, species, skills).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{expected} :: {error}");
        assert!(!error.contains('\n'), "one line for the log: {error}");
    }
}

#[test]
fn the_digest_follows_the_data_and_not_the_folder() {
    let digest = |species: &str, skills: &str| load(PACK, species, skills).unwrap().reference();
    assert_eq!(digest(SPECIES, SKILLS), digest(SPECIES, SKILLS));
    assert_ne!(digest(SPECIES, SKILLS), digest(SPECIES, &SKILLS.replace("40", "41")));
    assert_eq!(&*digest(SPECIES, SKILLS).engine, "builtin/1");
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let skills = format!("{SKILLS}#{}", " ".repeat(FILE_BYTES_MAX as usize));
    let error = load(PACK, SPECIES, &skills).unwrap_err();
    assert!(error.reason.starts_with("larger than"), "{error}");
}

#[test]
fn the_starter_pack_is_complete() {
    let pack = Pack::starter();
    let elements: BTreeSet<_> = pack.all_species().map(|species| species.element).collect();
    assert!(pack.all_species().count() >= 12 && elements.len() >= 8);
    assert!(pack.all_skills().count() >= 60);
    let any = |what: fn(&Skill) -> bool| pack.all_skills().any(what);
    assert!(any(|skill| skill.category == Category::Climax));
    assert!(any(|skill| skill.category == Category::Status && skill.target == Target::Own));
    assert!(any(|skill| skill.category == Category::Status && skill.target == Target::Opponent));
    assert!(any(|skill| skill.priority > 0));
    assert!(any(|skill| skill.sure_hit));
    assert!(any(|skill| matches!(skill.multihit, Multihit::Range(_))));
    assert!(any(|skill| matches!(skill.multihit, Multihit::Fixed(2..))));
    for species in pack.all_species() {
        assert!(!species.abilities.is_empty() && !species.emblems.is_empty());
        for skill in &species.learnable {
            assert!(pack.skill(skill).is_some(), "{skill} of {}", species.id);
        }
    }
}
