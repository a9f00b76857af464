//! The machine's behaviour as transcripts: `testscripts/<area>/<what it shows>`.
//!
//! A script's commands become proposals; below each block stands what the machine answered and what
//! everyone is told. `UPDATE_GOLDENFILES=1` writes it anew: read the diff.
//!
//! Names: `ann/1` is session 1 of player ann, connected by socket `ann-1` unless told otherwise;
//! rooms are r1, r2, … in the order in which they open; tokens are t1, t2, … as they are given, the
//! access token of a pair first; packs are named by a word. The prefix
//! (`n2:`) names the node that proposes, n1 without one. `(start ann bob)` brings up n1 and n2 with
//! the pack `starter`, and connects these players at n1.
//!
//! After every proposal the machine is also encoded, decoded and restored, which must give the very
//! same machine, indexes and deadlines included.

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

mod codes;
mod commands;
mod outside;
mod reports;
mod show;
mod world;

use std::path::Path;

use world::World;

macro_rules! areas {
    ($($area:ident)*) => {$(
        #[test]
        fn $area() {
            run_area(stringify!($area));
        }
    )*};
}

areas! { codes nodes outside players reports sessions matchmaking rooms battles dedup snapshot tokens }

fn run_area(area: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts").join(area);
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", folder.display());
    for path in paths {
        println!("{}", path.display());
        goldenscript::run(&mut World::default(), path).unwrap();
    }
}
