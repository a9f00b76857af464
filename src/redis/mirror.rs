//! The mirror (`room:*`, `matchmaking:*`, `player:connections:*`): a copy of what the cluster knows, for whoever looks
//! from outside. The leader writes it, behind the log and beside all requests; nothing here reads it.
//!
//! There is no queue of changes. Effects name the things that changed ([`Marks`]); the writer takes all names,
//! reads what these things are at one index, and writes that with the index as its fence (`scripts`). Everything is
//! projected anew when a node begins to lead, when Redis was away, when `mirror:applied` is gone (`FLUSHALL`, an
//! empty restart) and when names were lost, and at intervals, since keys may also vanish or come one by one. After
//! each projection keys without a thing are removed.
//!
//! Logins (`session:*`) are written the same way: each player's five newest, without the tokens themselves unless the
//! operator wants them there (`signed`), until they expire. When one began is not in the log: it is what Redis was
//! told first, and, if Redis has lost that, when its newest tokens were given.
//!
//! A battle's state is known where it is played: its home writes that field (`battles`).

mod battles;
mod figures;
mod marks;
mod project;
mod scripts;
mod signed;
mod sweep;
mod writer;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::cmd;
use serverv2_raft::Cluster;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use self::figures::Figures;
pub use self::figures::Reading;
pub use self::marks::Marks;
use self::marks::Thing;
use self::project::Names;
pub use self::signed::Signer;
use self::writer::Writer;
use super::{Operation, Redis, RedisError, keys};
use crate::battle::host::BattleHost;

/// How often it is looked whether this node leads, and whether `mirror:applied` is still there.
const LOOK: Duration = Duration::from_millis(250);
/// Changes are gathered for so long.
const GATHER: Duration = Duration::from_millis(20);
/// Things whose state is read at once: entries are not applied meanwhile.
const READ: usize = 256;
/// The first sweep behind a change of leaders: by then the former one's last writes have come.
const SOON: Duration = Duration::from_secs(10);
/// Pause after which another cluster's mirror is looked at again.
const FOREIGN_PAUSE: Duration = Duration::from_secs(5);
/// How long the start of a node waits for Redis to say whose mirror it has.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// What does not change while a node runs.
pub struct MirrorSettings {
    /// This instance's name.
    pub instance: String,
    /// Whether another cluster's mirror is overwritten.
    pub takeover: bool,
    /// How often all keys are written again.
    pub sweep: Duration,
    /// Whether logins are told with their tokens, and how those are made.
    pub signer: Option<Signer>,
}

/// Redis has the mirror of another cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Redis has the mirror of another cluster: give each cluster a REDIS_KEY_PREFIX of its own, or, if that cluster is \
     gone for good, start with --mirror-takeover"
)]
pub struct ForeignMirror;

/// Why writing ends.
#[derive(Debug)]
enum Stop {
    /// No answer, or an error.
    Redis(RedisError),
    /// What was written before may be gone.
    Lost,
    /// Another node leads.
    Deposed,
    /// A key is another cluster's.
    Foreign(String),
}

/// See the module's text.
pub struct Mirror {
    redis: Redis,
    cluster: Cluster,
    /// The cluster's id in hexadecimal digits.
    id: String,
    marks: Arc<Marks>,
    settings: MirrorSettings,
    names: Names,
    figures: Figures,
    /// Whether this node writes it.
    writes: AtomicBool,
    /// Since when changes wait that are being written.
    writing_since: Mutex<Option<Instant>>,
}

impl Mirror {
    /// A mirror in this Redis. Another cluster's is refused, if Redis says in time that there is one.
    pub async fn new(
        redis: Redis,
        cluster: Cluster,
        settings: MirrorSettings,
    ) -> Result<Arc<Self>, ForeignMirror> {
        let id = format!("{:032x}", cluster.id().unwrap_or_default());
        if !settings.takeover && is_foreign(&redis, &id).await {
            return Err(ForeignMirror);
        }
        let names = Names {
            prefix: redis.prefix().to_owned(),
            me: cluster.node(),
            instance: settings.instance.clone(),
        };
        let figures = Figures::default();
        Ok(Arc::new(Self {
            redis,
            cluster,
            id,
            marks: Arc::default(),
            settings,
            names,
            figures,
            writes: AtomicBool::new(false),
            writing_since: Mutex::default(),
        }))
    }

    /// To be told of all effects.
    pub fn marks(&self) -> Arc<Marks> {
        Arc::clone(&self.marks)
    }

    /// Begins to write, whenever this node leads; and the states of the battles whose home it is.
    pub(crate) fn start(self: &Arc<Self>, delivered: watch::Receiver<u64>, host: Arc<BattleHost>) {
        tokio::spawn(Arc::clone(self).keep(delivered));
        tokio::spawn(battles::keep(Arc::clone(self), host));
    }

    /// Whether this node writes it, and how far it is.
    pub fn reading(&self) -> (bool, Reading) {
        let mut reading = self.figures.read();
        let writes = self.writes.load(Ordering::Relaxed);
        if writes {
            let since = (*self.writing_since.lock()).or_else(|| self.marks.since());
            reading.lag_ms =
                since.map_or(0, |at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
            let applied = self.cluster.read(|_, _| ()).index;
            reading.lag_entries = applied.saturating_sub(reading.applied);
        }
        (writes, reading)
    }

    /// How often this node has begun to write everything anew: what else is in Redis may be gone, too.
    pub(super) fn projections(&self) -> u64 {
        self.figures.projections.load(Ordering::Relaxed)
    }

    async fn keep(self: Arc<Self>, mut delivered: watch::Receiver<u64>) {
        loop {
            let status = self.cluster.status();
            let presence = self.redis.presence();
            if !status.is_leader || !presence.up {
                if delivered.has_changed().is_err() {
                    return;
                }
                sleep(LOOK).await;
                continue;
            }
            self.marks.begin();
            self.writes.store(true, Ordering::Relaxed);
            let writer = Writer {
                redis: &self.redis,
                figures: &self.figures,
                cluster: &self.id,
                term: status.term,
                takeover: self.settings.takeover,
                projection: format!("{:016x}", rand::random::<u64>()),
            };
            let stop = self.lead(&writer, &mut delivered, presence.connection).await;
            self.marks.end();
            *self.writing_since.lock() = None;
            self.writes.store(false, Ordering::Relaxed);
            match stop {
                Stop::Lost => info!("the mirror is not what was written: write it anew"),
                Stop::Deposed => debug!("another node writes the mirror"),
                Stop::Redis(error) => {
                    debug!(%error, "the mirror could not be written");
                    // One that refuses is there: it would be asked again at once.
                    if matches!(error, RedisError::Refused(_)) {
                        sleep(LOOK).await;
                    }
                }
                Stop::Foreign(key) => {
                    error!(key, "{}", ForeignMirror);
                    sleep(FOREIGN_PAUSE).await;
                }
            }
            sleep(GATHER).await;
        }
    }

    /// Writes everything, then what changes, until that ends.
    async fn lead(
        &self,
        writer: &Writer<'_>,
        delivered: &mut watch::Receiver<u64>,
        connection: u64,
    ) -> Stop {
        let led = async {
            writer.claim().await?;
            self.project_all(writer, delivered).await?;
            let mut sweep_at = Instant::now() + SOON.min(self.settings.sweep);
            loop {
                tokio::select! {
                    () = self.marks.marked() => {}
                    () = sleep(LOOK) => {}
                }
                let status = self.cluster.status();
                if !status.is_leader || status.term != writer.term {
                    return Err(Stop::Deposed);
                }
                if self.redis.presence().connection != connection {
                    return Err(Stop::Lost);
                }
                self.write_marked(writer, delivered).await?;
                if Instant::now() >= sweep_at {
                    self.project_all(writer, delivered).await?;
                    sweep_at = Instant::now() + self.settings.sweep;
                }
                sleep(GATHER).await;
            }
        };
        let led: Result<std::convert::Infallible, Stop> = led.await;
        match led {
            Err(stop) => stop,
            Ok(never) => match never {},
        }
    }

    /// Writes what has changed, and says how far the mirror is now.
    async fn write_marked(
        &self,
        writer: &Writer<'_>,
        delivered: &watch::Receiver<u64>,
    ) -> Result<(), Stop> {
        // All that was delivered up to here has been marked.
        let index = *delivered.borrow();
        let waiting = self.marks.take();
        *self.writing_since.lock() = waiting.since;
        if waiting.missed {
            warn!("changes of the mirror were lost: write it anew");
            return Err(Stop::Lost);
        }
        self.write(writer, &waiting.things).await?;
        writer.advance(index).await?;
        *self.writing_since.lock() = None;
        Ok(())
    }

    async fn write(&self, writer: &Writer<'_>, things: &BTreeSet<Thing>) -> Result<(), Stop> {
        let mut things = things.iter().copied();
        loop {
            let some: Vec<Thing> = things.by_ref().take(READ).collect();
            if some.is_empty() {
                return Ok(());
            }
            let read = self.cluster.read(|machine, _| {
                let mut wanted = Vec::new();
                for thing in some {
                    project::project(machine, &self.names, thing, &mut wanted);
                }
                wanted
            });
            let mut wanted = read.value;
            if let Some(signer) = &self.settings.signer {
                signer.sign(&mut wanted).await;
            }
            writer.write(read.index, wanted).await?;
        }
    }
}

/// Whether Redis says now that it has another cluster's mirror.
async fn is_foreign(redis: &Redis, id: &str) -> bool {
    let mut presence = redis.watch();
    let there = presence.wait_for(|presence| presence.up);
    if timeout(START_PATIENCE, there).await.is_err() {
        return false;
    }
    let key = keys::mirror(redis.prefix());
    let told: Result<Option<String>, _> =
        redis.call(Operation::Mirror, cmd("HGET").arg(key).arg("cluster")).await;
    told.ok().flatten().is_some_and(|cluster| cluster != id)
}
