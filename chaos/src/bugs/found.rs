//! What came of the hunt: a row for each bug.

use std::path::Path;

use serde::Serialize;

use crate::broken::{Broken, Doing as _};

/// What became of one bug.
#[derive(Debug, Serialize)]
pub(super) struct Hunted {
    pub(super) bug: &'static str,
    pub(super) seed: u64,
    pub(super) runs: u64,
    /// When in that run the promise was broken for the first time that was noticed.
    pub(super) seconds: Option<f64>,
    /// What all runs took, with their starts and judgements.
    pub(super) took: f64,
    /// The promises seen to be broken, and the file that saw it; the first one first.
    pub(super) seen_by: Vec<String>,
    pub(super) what: String,
}

impl Hunted {
    /// Its row of the table.
    pub(super) fn row(&self) -> String {
        let Self { bug, seed, runs, took, seen_by, .. } = self;
        let seconds =
            self.seconds.map_or_else(|| "NOT NOTICED".to_owned(), |at| format!("{at:.1}"));
        let seen_by: Vec<String> = seen_by.iter().map(|by| format!("`{by}`")).collect();
        format!("| {bug} | {seed} | {runs} | {seconds} | {took:.0} | {} |", seen_by.join(", "))
    }
}

/// All of them, for people.
pub(super) fn table(hunted: &[Hunted]) -> String {
    let mut text =
        "| Bug | Seed | Runs | Seconds to its first sign | Seconds in all | Seen by |\n".to_owned();
    text.push_str("|---|---|---|---|---|---|\n");
    for one in hunted {
        text.push_str(&one.row());
        text.push('\n');
    }
    text
}

/// Leaves the table in this folder, for people and for programs.
pub(super) fn write(out: &Path, hunted: &[Hunted]) -> Result<(), Broken> {
    let json = serde_json::to_vec_pretty(hunted).doing("write the table")?;
    std::fs::write(out.join("bugs.json"), json).doing("write the table")?;
    std::fs::write(out.join("bugs.md"), table(hunted)).doing("write the table")
}
