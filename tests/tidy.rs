//! The house rules that no lint knows. Each failure names the file, the line and the rule.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, lines: beyond it a file is about more than one thing.
const LINES_MAX: usize = 450;

/// Names of Socket.IO events that mean nothing else anywhere.
const EVENTS: &[&str] = &[
    "joinMatchmaking",
    "cancelMatchmaking",
    "submitPlayerSelection",
    "getAvailableSelection",
    "getServerState",
    "getBattleHistory",
    "reportAnimationEnd",
    "startAnimation",
    "endAnimation",
    "matchSuccess",
    "battleEvent",
    "battleReconnect",
    "roomClosed",
    "updateState",
    "opponentDisconnected",
    "opponentReconnected",
    "timerEvent",
    "timerSnapshot",
    "reconnectTest",
];

struct Source {
    /// Path from the root of the repository.
    path: String,
    text: String,
}

impl Source {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "raft", "storage", "tests", "chaos"] {
        walk(root, &root.join(folder), &mut found);
    }
    assert!(found.len() > 10, "the sources are where this test looks for them");
    found
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    // A folder may not exist yet.
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path
            .file_name()
            .expect("an entry of a folder has a name")
            .to_string_lossy()
            .into_owned();
        if name.starts_with('.') || name == "node_modules" || name == "target" {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("a source is readable text");
            let path = path
                .strip_prefix(root)
                .expect("the walk began at the root")
                .to_string_lossy()
                .into_owned();
            found.push(Source { path, text });
        }
    }
}

/// Fails with all violations at once.
fn none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    none("these files do not begin with a module doc", &silent);
}

#[test]
fn no_file_is_longer_than_its_subject() {
    let long: Vec<String> = sources()
        .iter()
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(source, lines)| format!("{}: {lines} lines", source.path))
        .collect();
    none("these files are too long, split them by subject", &long);
}

#[test]
fn nothing_is_left_for_later_in_a_comment() {
    // Written in two parts, so that this file keeps its own rule.
    let words = [
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("XX", "X"),
        concat!("HA", "CK"),
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("dbg", "!("),
    ];
    let mut found = Vec::new();
    for source in sources() {
        for (number, line) in source.lines() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    none("do it now, or file an issue", &found);
}

#[test]
fn event_names_stand_in_the_wire_file_alone() {
    let mut found = Vec::new();
    // The demo is a client, and clients of ours share nothing with the server.
    let server = |path: &str| {
        path.starts_with("src/")
            && path != "src/gateway/wire.rs"
            && !path.starts_with("src/demo")
            && !path.ends_with("/tests.rs")
    };
    for source in sources().iter().filter(|source| server(&source.path)) {
        for (number, line) in source.lines() {
            for event in EVENTS.iter().filter(|event| line.contains(&format!("\"{event}\""))) {
                found.push(format!("{}:{number}: {event}", source.path));
            }
        }
    }
    none("event names belong in src/gateway/wire.rs", &found);
}

#[test]
fn every_route_is_described_where_it_is_handled() {
    // Routes of the described table come by `.routes(routes!(…))`. Without a description are the documents
    // themselves, what a starting node answers at some of the same paths, and the control socket.
    let apart = ["src/rest/docs.rs", "src/rest/starting.rs", "src/control/routes.rs"];
    let ways = [
        ".route(",
        ".route_service(",
        ".nest_service(",
        ".fallback_service(",
        "OpenApiRouter::from",
    ];
    let mut found = Vec::new();
    let server = |path: &str| path.starts_with("src/") && !apart.contains(&path);
    for source in sources().iter().filter(|source| server(&source.path)) {
        for (number, line) in source.lines() {
            for way in ways.iter().filter(|way| line.contains(**way)) {
                found.push(format!("{}:{number}: {way}", source.path));
            }
        }
    }
    none("a route needs its `utoipa::path`", &found);
}

#[test]
fn each_engine_is_named_by_one_crate() {
    let owners = [("openraft::", "raft/"), ("sled::", "storage/"), ("socketioxide::", "src/")];
    let mut found = Vec::new();
    for source in sources() {
        for (number, line) in source.lines() {
            for (engine, owner) in owners {
                let inside =
                    source.path.starts_with(owner) && !source.path.starts_with("raft/machine");
                if line.contains(engine) && !inside && source.path != "tests/tidy.rs" {
                    found.push(format!("{}:{number}: {engine}", source.path));
                }
            }
        }
    }
    none("this crate must not know that library", &found);
}

#[test]
fn the_machine_reads_no_clock_and_touches_nothing() {
    let forbidden = [
        "std::time",
        "std::fs",
        "std::net",
        "std::thread",
        "std::env",
        "tokio",
        "rand::",
        "HashMap",
        "HashSet",
        "println!",
    ];
    let mut found = Vec::new();
    // One of the bugs that are planted on purpose is to do so; normal builds have nothing of them.
    let pure = |path: &str| path.starts_with("raft/machine/src") && !path.ends_with("/planted.rs");
    for source in sources().iter().filter(|source| pure(&source.path)) {
        for (number, line) in
            source.lines().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for word in forbidden.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    none("everything comes to the machine inside a proposal", &found);
}

#[test]
fn no_line_names_a_place_on_one_machine() {
    let places = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/")];
    let mut found = Vec::new();
    for source in sources() {
        for (number, line) in source.lines() {
            if places.iter().any(|place| line.contains(place)) {
                found.push(format!("{}:{number}", source.path));
            }
        }
    }
    none("paths are settings, or temporary", &found);
}

#[test]
fn only_a_build_that_was_asked_for_knows_bugs_to_plant() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let planted =
        fs::read_to_string(root.join("raft/machine/src/planted.rs")).expect("it is there");
    let names =
        planted.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next());
    let names: Vec<&str> = names.chain(["PLANTED"]).collect();
    assert_eq!(names.len(), 15, "fourteen bugs, and the variable that names one");
    let binary = fs::read(env!("CARGO_BIN_EXE_serverv2")).expect("the server is built");
    for name in names {
        let is_there = memchr::memmem::find(&binary, name.as_bytes()).is_some();
        assert_eq!(is_there, cfg!(feature = "planted"), "{name}");
    }
}

#[test]
fn no_server_has_anything_of_the_simulation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("it is there");
    // Where it is asked for, it comes into everything that is built together with that.
    for manifest in
        ["Cargo.toml", "raft/Cargo.toml", "raft/machine/Cargo.toml", "storage/Cargo.toml"]
    {
        let text = read(manifest);
        let asks = |line: &&str| line.contains("simulation") && !line.starts_with('#');
        let found: Vec<&str> = text.lines().filter(asks).collect();
        let declared: &[&str] =
            if manifest == "raft/Cargo.toml" { &["simulation = []"] } else { &[] };
        assert_eq!(found, declared, "{manifest}");
    }
    let binary = fs::read(env!("CARGO_BIN_EXE_serverv2")).expect("the server is built");
    let sources = ["simulation/disk.rs", "disk.rs"].map(|file| read(&format!("raft/src/{file}")));
    for words in ["the disk is gone", "the snapshot is not whole", "a snapshot of another disk"] {
        assert!(
            sources.iter().any(|source| source.contains(words)),
            "the simulation says: {words}"
        );
        assert_eq!(memchr::memmem::find(&binary, words.as_bytes()), None, "{words}");
    }
}

#[test]
fn the_simulation_compiles_the_same_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("it is there");
    let (real, simulated) = (read("raft/Cargo.toml"), read("raft/sim/Cargo.toml"));
    let dependencies = real.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    for line in dependencies.take_while(|line| !line.is_empty()) {
        assert!(simulated.lines().any(|other| other == line), "raft/sim/Cargo.toml lacks: {line}");
    }
}

#[test]
fn what_architecture_says_is_shown_by_a_test_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("it is there");
    let table = text.lines().skip_while(|line| !line.starts_with("## What dies")).skip(1);
    let rows: Vec<&str> = table
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| ") && !line.starts_with("| What"))
        .collect();
    assert!(rows.len() > 10, "the table is where this test looks for it");
    let sources = sources();
    for row in rows {
        let shown = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test is named: {row}");
        for name in names {
            let is_there = root.join(name).is_file()
                || sources.iter().any(|source| source.text.contains(&format!("fn {name}")));
            assert!(is_there, "ARCHITECTURE.md names `{name}`, which is not there");
        }
    }
}
