//! The thread that plays ended battles once more, at low priority, one after the other.
//!
//! A battle's home renders it. Where the home is gone, or doesn't get round to it within
//! [`HOME_PATIENCE`], the leader does; both at a time do no harm, since the first answer counts. One
//! report is under way at a time, in a log entry of its own, and the next one is not begun before it is
//! applied: so reports never crowd out turns. What fails is stored as having failed, and not tried again.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serverv2_machine::{Blob, Command, PendingReport, Rendered, ReportsView, RoomId, StoreReport};
use serverv2_raft::{Cluster, ProposeError};
use tokio::runtime::Handle;
use tracing::{debug, warn};

use super::ReportCounters;
use super::rendering::render;
use crate::battle::engines::Engines;

/// How much rendering stands back behind all else, in steps of `nice`.
const NICENESS: i32 = 10;
/// How often somebody looks whether something was left over.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How many of the oldest are looked at then.
const LOOK_MAX: usize = 128;
/// How long a home may take, log time, milliseconds.
const HOME_PATIENCE_MS: u64 = 30_000;

struct Renderer {
    cluster: Cluster,
    engines: Engines,
    runtime: Handle,
    orders: Receiver<RoomId>,
    counters: Arc<ReportCounters>,
}

/// The node is being stopped.
struct Stopped;

/// Starts it; it proposes through the runtime it is started in, and ends when nobody can order any more.
pub(super) fn start(
    cluster: &Cluster,
    engines: &Engines,
    orders: Receiver<RoomId>,
    counters: Arc<ReportCounters>,
) -> std::io::Result<()> {
    let (cluster, engines) = (cluster.clone(), engines.clone());
    let renderer = Renderer { cluster, engines, runtime: Handle::current(), orders, counters };
    std::thread::Builder::new().name("reports".into()).spawn(move || renderer.run())?;
    Ok(())
}

impl Renderer {
    fn run(self) {
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
    fn left_over(&self) -> Result<(), Stopped> {
        let (me, leads) = (self.cluster.node(), self.cluster.status().is_leader);
        let now = self.cluster.log_time();
        let rooms = self.cluster.read(|machine, records| {
            let view = ReportsView::of(records);
            if view.pending_count().0 == 0 {
                return Vec::new();
            }
            let live = |home| machine.nodes().any(|node| node.id == home && node.live);
            let mine = |pending: &PendingReport| {
                let late = now.ms_since(pending.since) > HOME_PATIENCE_MS;
                pending.home == me || leads && (late || !live(pending.home))
            };
            let found = view.pending(LOOK_MAX).into_iter();
            found.filter(mine).map(|pending| pending.room).collect()
        });
        rooms.value.into_iter().try_for_each(|room| self.settle(room))
    }

    /// Renders a report if it still waits, and stores what came of it.
    fn settle(&self, room: RoomId) -> Result<(), Stopped> {
        #[cfg(feature = "failpoints")]
        fail::fail_point!("reports");
        let found = self.cluster.read(|_, records| {
            let view = ReportsView::of(records);
            let pending = view.pending_of(room)?;
            Some((pending, view.pending_battle(&pending)?))
        });
        let Some((pending, (setup, inputs))) = found.value else { return Ok(()) };
        let rendered = match render(&self.engines, &pending, setup, &inputs) {
            Ok(bytes) => Rendered::Messages(Blob(bytes.into())),
            Err(error) => {
                warn!(room.id = %room, %error, "a battle can't be rendered: its report stays without messages");
                Rendered::Nothing(error.why())
            }
        };
        let missing = match &rendered {
            Rendered::Messages(blob) => {
                debug!(room.id = %room, bytes = blob.0.len(), "a battle is rendered");
                None
            }
            Rendered::Nothing(why) => Some(*why),
        };
        let store = Command::StoreReport(StoreReport { room, rendered });
        let request = self.cluster.next_request();
        match self.runtime.block_on(self.cluster.submit(request, store, None)) {
            Ok(answer) => match (answer.outcome, missing) {
                (Ok(_), None) => self.counters.stored(),
                (Ok(_), Some(why)) => self.counters.missing(why),
                (Err(refused), _) => debug!(room.id = %room, %refused, "a report was not stored"),
            },
            Err(ProposeError::Stopped) => return Err(Stopped),
            // It waits still, and will be found by looking.
            Err(error) => debug!(room.id = %room, %error, "a report could not be stored yet"),
        }
        Ok(())
    }
}
