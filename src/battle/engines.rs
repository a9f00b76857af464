//! The engines of this node: the built-in rules with each pack it has loaded.
//!
//! The starter pack is always there. `PACKS_DIR` adds one engine for each of its folders with a
//! `pack.json`, in the order of their names; the first of them is what a new cluster starts with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serverv2_machine::PackRef;
use serverv2_machine::limits::PACKS_PER_NODE_MAX;
use tracing::info;

use super::builtin::BuiltinEngine;
use super::engine::BattleEngine;
use super::pack::{Pack, PackError};

/// Digits of a digest by which a pack may be named: fewer may mean another one tomorrow.
const DIGEST_DIGITS_MIN: usize = 6;

/// The engines by what battles are pinned to.
#[derive(Clone)]
pub struct Engines {
    by_pack: Arc<BTreeMap<PackRef, Arc<dyn BattleEngine>>>,
    /// The preferred one first.
    packs: Vec<PackRef>,
    /// What they are called, in the same order.
    ids: Vec<String>,
}

/// Why the packs can't be loaded; the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum EnginesError {
    /// A pack is broken: file, line and reason.
    #[error("a pack can't be used: {0}")]
    Pack(#[from] PackError),
    /// The folder can't be read.
    #[error("read the packs folder {}: {error}", .folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What went wrong.
        error: std::io::Error,
    },
    /// More packs than a node may announce.
    #[error("{} has more than {} packs", .0.display(), PACKS_PER_NODE_MAX - 1)]
    TooMany(PathBuf),
}

impl Engines {
    /// Loads everything there is.
    pub fn load(packs_dir: Option<&Path>) -> Result<Self, EnginesError> {
        let mut packs = Vec::new();
        if let Some(folder) = packs_dir {
            for pack in pack_folders(folder)? {
                packs.push(Pack::from_folder(&pack)?);
            }
            if packs.len() >= PACKS_PER_NODE_MAX {
                return Err(EnginesError::TooMany(folder.to_owned()));
            }
        }
        packs.push(Pack::starter());
        let mut engines = Self { by_pack: Arc::default(), packs: Vec::new(), ids: Vec::new() };
        let mut by_pack = BTreeMap::new();
        for pack in packs {
            let reference = pack.reference();
            let ignored = pack.ignored();
            info!(pack = pack.id, version = pack.version, %reference, ?ignored, "a pack is loaded");
            let id = pack.id.clone();
            let engine: Arc<dyn BattleEngine> = Arc::new(BuiltinEngine::new(Arc::new(pack)));
            if by_pack.insert(reference.clone(), engine).is_none() {
                engines.packs.push(reference);
                engines.ids.push(id);
            }
        }
        engines.by_pack = Arc::new(by_pack);
        Ok(engines)
    }

    /// The engine of battles pinned to this pack, if it is loaded here.
    pub fn get(&self, pack: &PackRef) -> Option<&Arc<dyn BattleEngine>> {
        self.by_pack.get(pack)
    }

    /// The pack with this id, or whose digest begins so as far as it is shown; else what there is.
    pub fn find(&self, name: &str) -> Result<&PackRef, String> {
        let known = || self.ids.iter().zip(&self.packs);
        let begins = |pack: &PackRef| {
            name.len() >= DIGEST_DIGITS_MIN && pack.digest.to_string().starts_with(name)
        };
        let mut found = known().filter(|(id, pack)| *id == name || begins(pack));
        match (found.next(), found.next()) {
            (Some((_, pack)), None) => Ok(pack),
            (first, _) => {
                let what = if first.is_some() { "more than one pack" } else { "no pack" };
                let known: Vec<String> =
                    known().map(|(id, pack)| format!("{id} ({pack})")).collect();
                Err(format!("this node has loaded {what} called {name:?}: {}", known.join(", ")))
            }
        }
    }

    /// What this node announces, the preferred one first.
    pub fn packs(&self) -> &[PackRef] {
        &self.packs
    }
}

/// The folders of a packs folder that hold a pack, by name. A folder that is a pack itself counts as one.
fn pack_folders(folder: &Path) -> Result<Vec<PathBuf>, EnginesError> {
    let failed = |error| EnginesError::Folder { folder: folder.to_owned(), error };
    let holds_pack = |path: &Path| path.join("pack.json").is_file();
    if holds_pack(folder) {
        return Ok(vec![folder.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if holds_pack(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_folder_there_is_the_starter_pack() {
        let engines = Engines::load(None).unwrap();
        assert_eq!(engines.packs().len(), 1);
        let starter = &engines.packs()[0];
        assert!(engines.get(starter).is_some());
        let digest = starter.digest.to_string();
        assert_eq!(engines.find(&digest[..DIGEST_DIGITS_MIN]), Ok(starter));
        assert_eq!(engines.find(&engines.ids[0]), Ok(starter));
        assert!(engines.find(&digest[..2]).unwrap_err().contains("no pack"));
    }

    #[test]
    fn a_folder_that_is_missing_is_refused_by_name() {
        let error = Engines::load(Some(Path::new("/nowhere/packs"))).err().unwrap();
        assert!(error.to_string().contains("/nowhere/packs"), "{error}");
    }
}
