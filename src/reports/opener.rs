//! Makes a report's row in the database as soon as its battle has begun (contract 6.1).
//!
//! One at a time, and tried once: a battle waits for nothing, and its end makes a row that is missing.

use std::sync::Arc;

use serverv2_machine::{ReportId, ReportsView, RoomId};
use serverv2_raft::Cluster;
use tokio::sync::mpsc::{Sender, channel};
use tracing::debug;

use crate::records::PostgresReports;

/// Rows that may wait to be made; for one more there will be none before its battle's end.
const OPENINGS_MAX: usize = 1_024;

/// Starts it; it ends when nobody can tell it of a battle any more.
pub(super) fn start(cluster: &Cluster, database: Arc<PostgresReports>) -> Sender<RoomId> {
    let cluster = cluster.clone();
    let (opened, mut rooms) = channel(OPENINGS_MAX);
    tokio::spawn(async move {
        while let Some(room) = rooms.recv().await {
            let row = cluster.read(|_, records| ReportsView::of(records).find(ReportId::of(room)));
            let Some(row) = row.value else { continue };
            if let Err(error) = database.open(&row).await {
                debug!(room.id = %room, %error, "a report's row is left to the battle's end");
            }
        }
    });
    opened
}
