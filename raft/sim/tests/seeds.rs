//! The simulation itself: it repeats itself, finds what is wrong, and finds nothing where nothing is.

use std::collections::BTreeSet;
use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    let mut simulation = Command::new(env!("CARGO_BIN_EXE_sim"));
    simulation.args(arguments).output().expect("the simulation starts")
}

/// What it says of each seed, in the order of the seeds.
fn runs(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut runs: Vec<String> =
        text.lines().filter(|line| line.starts_with("seed ")).map(str::to_owned).collect();
    runs.sort();
    runs
}

#[test]
fn a_seed_gives_the_same_run_in_another_process_while_nodes_die_and_are_cut_off() {
    let [one, other] = [(); 2].map(|()| simulate(&["--seeds", "20..24"]));
    let is_valid = [&one, &other].iter().all(|output| output.status.success());
    let (one, other) = (runs(&one), runs(&other));
    assert!(is_valid && one.len() == 4, "{one:#?} {other:#?}");
    assert_eq!(one, other);
    let digests: BTreeSet<&str> =
        one.iter().filter_map(|run| run.split([' ', ',']).nth(2)).collect();
    assert_eq!(digests.len(), 4, "other seeds give other runs: {digests:?}");
    let quiet = [" 0 kills", " 0 power cuts", " 0 lost writes", " 0 cut ways"];
    for what in quiet {
        assert!(!one.iter().all(|run| run.contains(what)), "nothing of this happened:{what}");
    }
}

#[test]
fn seeds_that_are_none_are_refused_and_no_verdict() {
    for seeds in ["5..5", "all", "3..x"] {
        assert_eq!(simulate(&["--seeds", seeds]).status.code(), Some(2), "{seeds}");
    }
}

fn is_found(defect: &str) {
    let output = simulate(&["--planted", defect, "--seeds", "100"]);
    assert!(output.status.success(), "{:#?}", runs(&output));
    let how_to = format!(" PLANTED={defect}");
    let is_told = |line: &String| line.contains("make sim SEED=") && line.ends_with(&how_to);
    assert!(runs(&output).iter().any(is_told), "it says how to see it again");
}

#[test]
fn entries_that_count_before_they_are_synced_are_noticed() {
    is_found("append-unsynced");
}

#[test]
fn a_vote_that_counts_before_it_is_synced_is_noticed() {
    is_found("vote-unsynced");
}

#[test]
fn commands_that_are_done_twice_are_noticed() {
    is_found("repeated-as-new");
}
