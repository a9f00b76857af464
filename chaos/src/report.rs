//! One page that shows a run: what was broken when, and what its users noticed. It contains everything it
//! needs and asks nobody for anything.

mod timeline;

use std::path::{Path, PathBuf};

use serde::Serialize;

use self::timeline::Timeline;
use crate::broken::{Broken, Doing as _};
use crate::check::Said;
use crate::evidence::Evidence;
use crate::measures::Measures;
use crate::verdict::Judgement;

/// Its name in the evidence folder.
pub(crate) const FILE: &str = "report.html";
/// The same for programs.
pub(crate) const JSON: &str = "verdict.json";
const PAGE: &str = include_str!("report/page.html");
const STYLE: &str = include_str!("report/style.css");
const SCRIPT: &str = include_str!("report/script.js");

/// Everything that is shown.
#[derive(Serialize)]
struct Shown<'a> {
    seed: u64,
    nodes: usize,
    seconds: f64,
    version: &'a str,
    npm: u32,
    again: &'a str,
    judgement: &'a Judgement,
    said: &'a [Said],
    measures: &'a Measures,
    timeline: Timeline,
}

/// Writes the page and the verdict, and says where the page is.
pub(crate) fn write(
    folder: &Path,
    evidence: &Evidence,
    said: &[Said],
    measures: &Measures,
    judgement: &Judgement,
) -> Result<PathBuf, Broken> {
    let head = &evidence.head;
    let shown = Shown {
        seed: head.seed,
        nodes: head.nodes,
        seconds: head.seconds,
        version: &head.version,
        npm: head.npm,
        again: &head.again,
        judgement,
        said,
        measures,
        timeline: Timeline::of(evidence),
    };
    let json = serde_json::to_string(&shown).doing("write the report")?;
    // Nothing in it may end the element it stands in.
    let page = PAGE
        .replace("/* style */", STYLE)
        .replace("/* script */", SCRIPT)
        .replace("\"%data%\"", &json.replace("</", "<\\/"));
    let path = folder.join(FILE);
    std::fs::write(&path, page).doing("write the report")?;
    std::fs::write(folder.join(JSON), json).doing("write the verdict")?;
    Ok(path)
}
