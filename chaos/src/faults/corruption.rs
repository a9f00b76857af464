//! Files that are not what was written: a write that a power cut has torn, a bit that is another one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::disk::{NONE, SLOW_MS, becomes};
use super::membership::members_become;
use super::process::any;
use super::{Outcome, Strike};
use crate::broken::{Broken, Doing as _};
use crate::cluster::disk::Condition;

/// A part of a file in which everything is zero is not in use.
const BLOCK: usize = 512;
/// How often a write is to be torn before it is given up.
const TORN_TRIES: usize = 3;
const WRITE_PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// What a node that refuses its folder says, together with the reason.
const REASON: &str = "the server failed";

/// A power cut in the middle of a write. The disk is slow before, so that there is one.
pub(super) async fn torn(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let victim = any(strike);
    if !becomes(strike, victim, Condition::Healthy).await {
        return Ok(Outcome::skipped(NONE));
    }
    strike.begins(&[victim]);
    for _ in 0..TORN_TRIES {
        becomes(strike, victim, Condition::Slow(SLOW_MS)).await;
        tokio::time::sleep(strike.holds / 2).await;
        wait_for_a_write(strike, victim).await;
        let killed = strike.cluster.kill(victim).await;
        let torn = {
            let node = strike.cluster.node(victim).await;
            let (disk, folder) = (node.disk(), node.folder());
            let disk = disk.ok_or_else(|| Broken::new("tear a write", NONE))?;
            let rng = &mut strike.rng;
            tokio::task::block_in_place(|| disk.tear(folder, rng)).doing("tear a write")?
        };
        becomes(strike, victim, Condition::Healthy).await;
        let back = strike.restart(&[victim]).await;
        if let Some(torn) = torn {
            strike.found("torn", &torn);
            return Ok(Outcome::unless(killed && back, "it did not run, or did not come back"));
        }
    }
    Ok(Outcome::skipped("all that the node had written was synced"))
}

/// Waits for something that is written and not synced, but not for ever: a node that hears nothing writes nothing.
async fn wait_for_a_write(strike: &Strike<'_>, at: usize) {
    let began = Instant::now();
    while began.elapsed() < WRITE_PATIENCE {
        let has_unsynced = {
            let node = strike.cluster.node(at).await;
            node.disk().is_some_and(|disk| disk.has_unsynced(node.folder()))
        };
        if has_unsynced {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A node finds one bit changed. It may refuse to start, and say why: then it is replaced, as an operator would. Or
/// it starts, and then all promises are to be kept.
pub(super) async fn bit_flip(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let victim = any(strike);
    strike.begins(&[victim]);
    let killed = strike.cluster.kill(victim).await;
    let folder = strike.cluster.node(victim).await.folder().to_owned();
    let flipped = flip(&folder, &mut strike.rng).doing("flip a bit")?;
    let Some(flipped) = flipped else { return Ok(Outcome::skipped("there is no file to damage")) };
    strike.found("flipped", &flipped);
    strike.hold().await;
    let back = strike.cluster.start_nodes(&[victim]).await;
    let Err(why) = back else {
        strike.found("starts-with-a-flipped-bit", &flipped);
        return Ok(Outcome::unless(killed, "it did not run"));
    };
    // How it ended, if it has, whoever notices it first.
    strike.cluster.notice_deaths();
    strike.found("refuses-a-flipped-bit", &why);
    if strike.cluster.kill(victim).await {
        strike.found("not-ready", &why);
    } else if !strike.cluster.node(victim).await.has_said(REASON) {
        strike.found("refuses-without-a-reason", &why);
    }
    let former = strike.cluster.id(victim);
    let by = (victim + 1) % strike.cluster.size();
    let new = strike.cluster.replace(victim, by).await?;
    strike.cluster.insist(by, &["cluster", "remove", &former.to_string()]).await?;
    let whole = |members: &[u64]| members.contains(&new) && !members.contains(&former);
    let is_whole = members_become(strike, by, whole).await;
    Ok(Outcome::unless(killed && is_whole, "it did not run, or its successor is no member"))
}

/// Changes one bit somewhere in a file below, where something is written. Says where.
fn flip(folder: &Path, rng: &mut ChaCha8Rng) -> io::Result<Option<String>> {
    let mut files = Vec::new();
    files_below(folder, &mut files)?;
    files.sort();
    let Some(path) = (!files.is_empty()).then(|| &files[rng.random_range(0..files.len())]) else {
        return Ok(None);
    };
    let bytes = fs::read(path)?;
    let used: Vec<usize> = (0..bytes.len().div_ceil(BLOCK))
        .filter(|block| bytes.iter().skip(block * BLOCK).take(BLOCK).any(|byte| *byte != 0))
        .collect();
    let Some(block) = (!used.is_empty()).then(|| used[rng.random_range(0..used.len())]) else {
        return Ok(None);
    };
    let at = rng.random_range(block * BLOCK..bytes.len().min((block + 1) * BLOCK));
    let bit = rng.random_range(0..8);
    let file = File::options().write(true).open(path)?;
    file.write_all_at(&[bytes[at] ^ (1 << bit)], at as u64)?;
    let name = path.strip_prefix(folder).unwrap_or(path).display();
    Ok(Some(format!("bit {bit} of byte {at} of {name} ({} bytes)", bytes.len())))
}

/// Files that something is written in.
fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for item in fs::read_dir(folder)? {
        let (path, about) = item.and_then(|item| Ok((item.path(), item.metadata()?)))?;
        if about.is_dir() {
            files_below(&path, files)?;
        } else if about.is_file() && about.len() > 0 {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn one_bit_is_another_one_where_something_was_written() {
        for seed in 0..50 {
            let folder = tempfile::tempdir().expect("a folder");
            let (path, empty) = (folder.path().join("db"), folder.path().join("lock"));
            let mut before = vec![0; 10 * BLOCK];
            before[4 * BLOCK] = 7;
            fs::write(&path, &before).expect("a file");
            fs::write(empty, b"").expect("a file");
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let told = flip(folder.path(), &mut rng).expect("it can be written");
            assert!(told.is_some());
            let after = fs::read(&path).expect("it is there");
            let bits = |at: usize| (before[at] ^ after[at]).count_ones();
            assert_eq!((0..before.len()).map(bits).sum::<u32>(), 1);
            assert_eq!((4 * BLOCK..5 * BLOCK).map(bits).sum::<u32>(), 1);
        }
    }
}
