//! Looks at the cluster from beside it, all the time: how each node says it stands, what its process takes, how
//! far the mirror in Redis is, and whether somebody died who should not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::cluster::{Cluster, REDIS_PREFIX, redis};
use crate::history::Line;

const SAMPLE_EVERY: Duration = Duration::from_millis(200);
const FOOTPRINT_EVERY: Duration = Duration::from_secs(2);
const MIRROR_EVERY: Duration = Duration::from_millis(250);
const DEATHS_EVERY: Duration = Duration::from_millis(50);

/// Looks until the tasks are dropped.
pub(crate) fn start(cluster: &Arc<Cluster>) -> JoinSet<()> {
    let mut watchers = JoinSet::new();
    for at in cluster.all() {
        watchers.spawn(sample(cluster.clone(), at));
        watchers.spawn(weigh(cluster.clone(), at));
    }
    if let Some(address) = cluster.redis_address {
        watchers.spawn(follow_mirror(cluster.clone(), address));
    }
    watchers.spawn(notice_deaths(cluster.clone()));
    watchers
}

async fn sample(cluster: Arc<Cluster>, node: usize) {
    let mut pace = tokio::time::interval(SAMPLE_EVERY);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        if let Some(status) = cluster.status(node).await {
            cluster.history.write(|t| Line::Sample { t, node, status });
        }
    }
}

async fn weigh(cluster: Arc<Cluster>, node: usize) {
    let mut pace = tokio::time::interval(FOOTPRINT_EVERY);
    loop {
        pace.tick().await;
        let seen = cluster.node_if_free(node).and_then(|node| {
            let (resident, files) = node.footprint()?;
            Some((resident, files, folder_bytes(node.folder())))
        });
        if let Some((resident_kib, open_files, folder_bytes)) = seen {
            let line = |t| Line::Footprint { t, node, resident_kib, open_files, folder_bytes };
            cluster.history.write(line);
        }
    }
}

/// What the files below take on the disk.
fn folder_bytes(folder: &Path) -> u64 {
    let Ok(items) = std::fs::read_dir(folder) else { return 0 };
    let sizes = items.flatten().map(|item| match item.metadata() {
        Ok(about) if about.is_dir() => folder_bytes(&item.path()),
        Ok(about) => about.len(),
        // It was removed meanwhile.
        Err(_) => 0,
    });
    sizes.sum()
}

async fn follow_mirror(cluster: Arc<Cluster>, address: SocketAddr) {
    let mut pace = tokio::time::interval(MIRROR_EVERY);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let key = format!("{REDIS_PREFIX}mirror:applied");
    let mut question = ::redis::cmd("HMGET");
    question.arg(key).arg("cluster").arg("index");
    loop {
        pace.tick().await;
        let answer = redis::ask::<(Option<String>, Option<u64>)>(address, &question).await;
        let (up, (of, index)) = (answer.is_ok(), answer.unwrap_or_default());
        let (of, applied) = (of.unwrap_or_default(), index.unwrap_or_default());
        cluster.history.write(|t| Line::Mirror { t, up, cluster: of, applied });
    }
}

async fn notice_deaths(cluster: Arc<Cluster>) {
    let mut pace = tokio::time::interval(DEATHS_EVERY);
    loop {
        pace.tick().await;
        cluster.notice_deaths();
    }
}
