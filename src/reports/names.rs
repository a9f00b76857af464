//! Finds players by any part of their names, without case (contract 1.9, `/players?search=`).
//!
//! No order of keys helps to find a part from the middle of a name, so names stand together in memory:
//! one text, searched as fast as memory can be read. It is read from the records at the first search,
//! in parts, and follows the log from then on; who never searches pays nothing. A player costs his
//! name and 30 bytes; there are at most [`serverv2_machine::limits::PLAYERS_MAX`].
//!
//! Names that were added or changed stand beside it until there are many of them. How many battles a
//! player won is kept along, since the winners come first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serverv2_machine::{
    AppliedEntry, Issued, Player, PlayerId, Reply, ReportId, ReportsView, RoomId,
};
use serverv2_raft::Cluster;
use tokio::sync::{Mutex as AsyncMutex, watch};

mod index;

use index::{Index, Rank};

/// Accounts that are read at a time: entries are not applied meanwhile.
const PART: usize = 1_000;
/// How long the log may be behind.
const PATIENCE: Duration = Duration::from_secs(2);
/// Changes that stand beside the index before a search makes it anew.
const RECENT_MAX: usize = 20_000;
/// Changes without any search after which all is forgotten until the next one.
const UNUSED_MAX: usize = 200_000;

/// Why nobody can be searched for now.
#[derive(Debug, thiserror::Error)]
#[error("the names are being read")]
pub(crate) struct SearchError;

/// See the module's text.
pub(crate) struct LocalNames {
    cluster: Cluster,
    /// Whether anything is kept; without it the log is not followed.
    follows: AtomicBool,
    kept: Mutex<Kept>,
    /// One reads the names, the others wait.
    reading: AsyncMutex<()>,
    /// Up to which entry the log was followed.
    seen: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    /// Changes with every loss of what was kept.
    life: u64,
    /// `None`: not read yet.
    index: Option<Arc<Index>>,
    recent: Changes,
    /// How many changes there were.
    changes: u64,
}

/// Readers share them; they are copied when one changes while a search goes on.
pub(super) type Changes = Arc<BTreeMap<PlayerId, Recent>>;

/// What is newer than the index; a part that is `None` has not changed.
#[derive(Clone, Default)]
pub(super) struct Recent {
    name: Option<Arc<str>>,
    rank: Option<Rank>,
    /// The how manieth change was the last one.
    at: u64,
}

impl Kept {
    fn change(&mut self, player: PlayerId, change: impl FnOnce(&mut Recent)) {
        self.changes += 1;
        let recent = Arc::make_mut(&mut self.recent).entry(player).or_default();
        change(recent);
        recent.at = self.changes;
    }
}

impl LocalNames {
    pub(super) fn new(cluster: Cluster) -> Self {
        let (follows, kept, reading, seen) = Default::default();
        Self { cluster, follows, kept, reading, seen }
    }

    /// An entry was applied; told in log order.
    pub(super) fn applied(&self, entry: &AppliedEntry) {
        self.follow(entry);
        self.seen.send_replace(entry.index);
    }

    fn follow(&self, entry: &AppliedEntry) {
        if !self.follows.load(Ordering::Acquire) {
            return;
        }
        for applied in entry.applied.iter() {
            if let Ok(Reply::Player(player) | Reply::Issued(Issued { player, .. })) =
                &applied.outcome
            {
                let name = Some(lower(&player.name));
                self.kept.lock().change(player.id, |recent| recent.name = name);
            }
        }
        if self.kept.lock().recent.len() > UNUSED_MAX {
            self.forget();
        }
    }

    /// A battle was counted; told in log order.
    pub(super) fn counted(&self, room: RoomId) {
        if !self.follows.load(Ordering::Acquire) {
            return;
        }
        let found = self.cluster.read(|_, records| {
            let view = ReportsView::of(records);
            let players = view.find(ReportId::of(room)).map(|row| row.players);
            let stats = |player| (player, Rank::of(view.stats(player).as_ref()));
            players.into_iter().flatten().map(stats).collect::<Vec<_>>()
        });
        let mut kept = self.kept.lock();
        for (player, rank) in found.value {
            kept.change(player, |recent| recent.rank = Some(rank));
        }
    }

    /// Entries up to this one were skipped.
    pub(super) fn skipped(&self, index: u64) {
        self.forget();
        self.seen.send_replace(index);
    }

    /// What is kept is not true any more, or not wanted.
    fn forget(&self) {
        let mut kept = self.kept.lock();
        self.follows.store(false, Ordering::Release);
        let life = kept.life + 1;
        let before = std::mem::replace(&mut *kept, Kept { life, ..Kept::default() });
        drop(kept);
        drop(before);
    }

    /// Those whose names contain this, at most so many: who won most first, then by name.
    pub(crate) async fn search(
        &self,
        term: &str,
        limit: usize,
    ) -> Result<Vec<PlayerId>, SearchError> {
        // Whoever was answered is found.
        let index = self.cluster.read(|_, _| ()).index;
        let mut seen = self.seen.subscribe();
        let followed = seen.wait_for(|seen| *seen >= index);
        tokio::time::timeout(PATIENCE, followed).await.map_err(|_| SearchError)?.ok();
        let (index, recent) = match self.current().await {
            Ok(current) => current,
            // What was being read was outdated meanwhile.
            Err(SearchError) => self.current().await?,
        };
        let term = lower(term);
        // Some milliseconds of work for a million names: not on a thread that serves sockets.
        let searching = tokio::task::spawn_blocking(move || index.search(&recent, &term, limit));
        searching.await.map_err(|_| SearchError)
    }

    /// What is known now, read or made anew before if need be.
    async fn current(&self) -> Result<(Arc<Index>, Changes), SearchError> {
        let _only_one = self.reading.lock().await;
        let (life, stamp, index, recent) = {
            let kept = self.kept.lock();
            if kept.index.is_none() {
                // What changes from here on stands beside what is read: it is the newer of both.
                self.follows.store(true, Ordering::Release);
            }
            (kept.life, kept.changes, kept.index.clone(), kept.recent.clone())
        };
        let cluster = self.cluster.clone();
        let making = match index {
            Some(index) if recent.len() <= RECENT_MAX => return Ok((index, recent)),
            Some(index) => tokio::task::spawn_blocking(move || index.with(&recent)),
            None => tokio::task::spawn_blocking(move || read(&cluster)),
        };
        let index = Arc::new(making.await.map_err(|_| SearchError)?);
        let mut kept = self.kept.lock();
        if kept.life != life {
            return Err(SearchError);
        }
        Arc::make_mut(&mut kept.recent).retain(|_, recent| recent.at > stamp);
        kept.index = Some(index.clone());
        Ok((index, kept.recent.clone()))
    }
}

fn lower(name: &str) -> Arc<str> {
    name.to_lowercase().into()
}

/// All names, part by part.
fn read(cluster: &Cluster) -> Index {
    let mut index = Index::default();
    let mut after = None;
    loop {
        let part = cluster.read(|_, records| ReportsView::of(records).accounts_after(after, PART));
        let Some(last) = part.value.last() else { break };
        after = Some(last.id);
        part.value.iter().for_each(|Player { id, name, .. }| index.push(*id, &lower(name)));
    }
    let mut after = None;
    loop {
        let part = cluster.read(|_, records| ReportsView::of(records).stats_after(after, PART));
        let Some((last, _)) = part.value.last() else { break };
        after = Some(*last);
        for (player, stats) in &part.value {
            index.set_rank(*player, Rank::of(stats.as_ref()));
        }
    }
    index
}
