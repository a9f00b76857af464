//! The thread that plays ended battles once more, at low priority, one after the other.
//!
//! A battle's home renders it. Where the home is gone, or doesn't get round to it within
//! [`HOME_PATIENCE`], the leader does; both at a time do no harm, since the first answer counts. One
//! report is under way at a time, in a log entry of its own, and the next one is not begun before it is
//! applied: so reports never crowd out turns. What fails is stored as having failed, and not tried again.
//!
//! Where a database keeps the players, whoever has rendered a battle writes its report there, and then has
//! the log forget it. Both may happen twice: the database counts a battle once. What the database doesn't
//! take stays in the log, and is tried again, while all others have their turns. While it is away nothing is
//! rendered, and it is asked now and then whether it is back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serverv2_machine::{
    Blob, Command, PendingReport, Rendered, ReportId, ReportMessages, ReportRow, ReportsView,
    RoomId, StoreReport, WhyMissing,
};
use serverv2_raft::{Cluster, ProposeError};
use tokio::runtime::Handle;
use tracing::{debug, warn};

use super::ReportCounters;
use super::rendering::{render, unpack};
use crate::battle::engines::Engines;
use crate::records::{PostgresReports, RecordsError, Written};

/// How much rendering stands back behind all else, in steps of `nice`.
const NICENESS: i32 = 10;
/// How often somebody looks whether something was left over.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often the database is asked whether it is there.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How many are looked at then.
const LOOK_MAX: usize = 128;
/// How long a home may take, log time, milliseconds.
const HOME_PATIENCE_MS: u64 = 30_000;

/// How long a report that the database has refused is not offered again, and how many of them are known.
const OFFER_AGAIN: Duration = Duration::from_secs(30);
const REFUSED_MAX: usize = 1_024;

struct Renderer {
    cluster: Cluster,
    engines: Engines,
    runtime: Handle,
    orders: Receiver<RoomId>,
    counters: Arc<ReportCounters>,
    database: Option<Arc<PostgresReports>>,
    /// When the database is asked again whether it is there.
    ask_again: Instant,
    /// Number of the first report to look at next time.
    from: u64,
    /// What the database has refused, and when it is offered again.
    refused: HashMap<RoomId, Instant>,
}

/// The node is being stopped.
struct Stopped;

/// Starts it; it proposes through the runtime it is started in, and ends when nobody can order any more.
pub(super) fn start(
    cluster: &Cluster,
    engines: &Engines,
    orders: Receiver<RoomId>,
    counters: Arc<ReportCounters>,
    database: Option<Arc<PostgresReports>>,
) -> std::io::Result<()> {
    let (cluster, engines) = (cluster.clone(), engines.clone());
    let (runtime, ask_again) = (Handle::current(), Instant::now());
    let renderer = Renderer {
        cluster,
        engines,
        runtime,
        orders,
        counters,
        database,
        ask_again,
        from: 0,
        refused: HashMap::new(),
    };
    std::thread::Builder::new().name("reports".into()).spawn(move || renderer.run())?;
    Ok(())
}

impl Renderer {
    fn run(mut self) {
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            debug!(%error, "reports are rendered at normal priority");
        }
        let mut looked = Instant::now();
        loop {
            // However many orders come, what was left over has its turn.
            let until_look = LOOK_AGAIN.saturating_sub(looked.elapsed());
            let order = if until_look.is_zero() {
                Err(RecvTimeoutError::Timeout)
            } else {
                self.orders.recv_timeout(until_look)
            };
            let done = match order {
                // It is found by looking once the database is back.
                Ok(_) if self.database.as_ref().is_some_and(|it| it.is_away()) => Ok(()),
                Ok(room) => self.settle(room),
                Err(RecvTimeoutError::Timeout) => {
                    let done = self.left_over();
                    looked = Instant::now();
                    done
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Err(Stopped) = done {
                return;
            }
        }
    }

    /// Renders what nobody was told of, or nobody did.
    fn left_over(&mut self) -> Result<(), Stopped> {
        if !self.database_answers() {
            return Ok(());
        }
        let (me, leads, from) = (self.cluster.node(), self.cluster.status().is_leader, self.from);
        let now = self.cluster.log_time();
        let found = self.cluster.read(|machine, records| {
            let view = ReportsView::of(records);
            if view.pending_count().0 == 0 {
                return (Vec::new(), 0);
            }
            let live = |home| machine.nodes().any(|node| node.id == home && node.live);
            let mine = |pending: &PendingReport| {
                let late = now.ms_since(pending.since) > HOME_PATIENCE_MS;
                pending.home == me || leads && (late || !live(pending.home))
            };
            let found = view.pending_from(from, LOOK_MAX);
            // After the last ones it begins anew: those that can't be stored keep no others back.
            let last = found.last().filter(|_| found.len() == LOOK_MAX);
            let next = last.map_or(0, |(number, _)| number.saturating_add(1));
            let found = found.into_iter().map(|(_, pending)| pending);
            (found.filter(mine).map(|pending| pending.room).collect(), next)
        });
        let (rooms, next) = found.value;
        self.from = next;
        for room in rooms {
            self.settle(room)?;
            if self.database.as_ref().is_some_and(|it| it.is_away()) {
                break;
            }
        }
        Ok(())
    }

    /// Whether there is no database to wait for. Asks it at intervals, so that everybody can see whether
    /// it is there.
    fn database_answers(&mut self) -> bool {
        let Some(database) = &self.database else { return true };
        if self.ask_again <= Instant::now() {
            // Told by `is_away`.
            let _ = self.runtime.block_on(database.ping());
            self.ask_again = Instant::now() + ASK_AGAIN;
        }
        !database.is_away()
    }

    /// Renders a report if it still waits, and stores what came of it.
    fn settle(&mut self, room: RoomId) -> Result<(), Stopped> {
        #[cfg(feature = "failpoints")]
        fail::fail_point!("reports");
        if self.refused.get(&room).is_some_and(|until| *until > Instant::now()) {
            return Ok(());
        }
        let found = self.cluster.read(|_, records| {
            let view = ReportsView::of(records);
            let pending = view.pending_of(room)?;
            let row = view.find(ReportId::of(room))?;
            Some((view.pending_battle(&pending), pending, row))
        });
        let Some((battle, pending, row)) = found.value else { return Ok(()) };
        let rendered = battle.map(|(setup, inputs)| {
            match render(&self.engines, &pending, setup, &inputs) {
                Ok(bytes) => {
                    debug!(room.id = %room, bytes = bytes.len(), "a battle is rendered");
                    Ok(bytes)
                }
                Err(error) => {
                    warn!(room.id = %room, %error, "a battle can't be rendered: its report stays without messages");
                    Err(error.why())
                }
            }
        });
        if let Some(database) = self.database.clone() {
            return self.write(&database, &row, rendered);
        }
        let Some(rendered) = rendered else { return Ok(()) };
        let missing = rendered.as_ref().err().copied();
        let rendered = match rendered {
            Ok(bytes) => Rendered::Messages(Blob(bytes.into())),
            Err(why) => Rendered::Nothing(why),
        };
        if self.store(room, rendered)? {
            match missing {
                None => self.counters.stored(),
                Some(why) => self.counters.missing(why),
            }
        }
        Ok(())
    }

    /// Writes a report in the database, and has the log forget it.
    fn write(
        &mut self,
        database: &PostgresReports,
        row: &ReportRow,
        rendered: Option<Result<Vec<u8>, WhyMissing>>,
    ) -> Result<(), Stopped> {
        let room = row.room;
        let failed = matches!(rendered, Some(Err(_)));
        let body = match (rendered, row.messages) {
            (Some(Ok(bytes)), _) => Ok(unpack(&bytes)),
            (Some(Err(why)), _) | (None, ReportMessages::Missing(why)) => Err(why),
            (None, _) => Ok(None),
        };
        // Somebody else may have written it so long ago that it is deleted, and this node be behind.
        let waits = self
            .cluster
            .read_linearizable(|_, records| ReportsView::of(records).pending_of(room).is_some());
        match self.runtime.block_on(waits) {
            Ok(waits) if !waits.value => return Ok(()),
            Ok(_) => {}
            Err(ProposeError::Stopped) => return Err(Stopped),
            Err(_) => return Ok(()),
        }
        let borrowed = body.as_ref().map(Option::as_ref).map_err(|why| *why);
        let written = match self.runtime.block_on(database.close(row, borrowed)) {
            Ok(written) => written,
            Err(error) => {
                debug!(room.id = %room, %error, "a report could not be written yet");
                if error == RecordsError::Failed {
                    // Why is in the log. Too many: they are offered again sooner.
                    if self.refused.len() >= REFUSED_MAX {
                        self.refused.clear();
                    }
                    self.refused.insert(room, Instant::now() + OFFER_AGAIN);
                }
                return Ok(());
            }
        };
        self.refused.remove(&room);
        #[cfg(feature = "failpoints")]
        fail::fail_point!("report-written");
        if written == Written::Now {
            match body {
                Ok(Some(_)) => self.counters.stored(),
                Err(why) if failed => self.counters.missing(why),
                // Nothing was to be rendered; what was missing before was counted when it ended.
                Ok(None) | Err(_) => {}
            }
        }
        self.store(room, Rendered::Elsewhere)?;
        Ok(())
    }

    /// Says in the log what came of a report; gives whether it was taken.
    fn store(&self, room: RoomId, rendered: Rendered) -> Result<bool, Stopped> {
        let store = Command::StoreReport(StoreReport { room, rendered });
        let request = self.cluster.next_request();
        match self.runtime.block_on(self.cluster.submit(request, store, None)) {
            Ok(answer) => match answer.outcome {
                Ok(_) => return Ok(true),
                Err(refused) => debug!(room.id = %room, %refused, "a report was not stored"),
            },
            Err(ProposeError::Stopped) => return Err(Stopped),
            // It waits still, and will be found by looking.
            Err(error) => debug!(room.id = %room, %error, "a report could not be stored yet"),
        }
        Ok(false)
    }
}
