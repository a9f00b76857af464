//! Keeps a connection: makes it, asks it once a second whether it is there, and makes another one when it is not,
//! in pauses that grow and are never the same on two nodes.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rand::Rng;
use redis::{RedisResult, cmd};
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::link::Link;
use super::{Inner, Operation, Redis};

/// The first pause between two tries to connect is this at least, whatever the settings say.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// No pause is longer.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often it is asked for news when nobody else asks.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A connection is made within so many time-outs.
pub(super) const PATIENCE: u32 = 5;

/// What the server says of itself (contract 1.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// How long it took to say it.
    pub response: Duration,
    /// Connections to it, of anybody.
    pub connected_clients: u64,
    /// As it writes it for people.
    pub used_memory: String,
    /// Seconds.
    pub uptime_s: u64,
    /// Whether keys are spread over several servers.
    pub cluster: bool,
}

/// The first pause, of which `REDIS_RETRY_DELAY` has this to say.
pub(super) fn first_pause(wanted: Duration) -> Duration {
    wanted.clamp(PAUSE_MIN, PAUSE_MAX)
}

/// Works until the last handle is gone.
pub(super) async fn keep(inner: Weak<Inner>, first_pause: Duration) {
    let (mut number, mut pause) = (0, first_pause);
    loop {
        let Some(it) = inner.upgrade() else { return };
        match connect(&it, number + 1).await {
            Ok((link, server)) => {
                number += 1;
                pause = first_pause;
                info!(redis = %it.address, cluster = server.cluster, "Redis is there");
                *it.info.write() = Some(server);
                it.found(link);
                drop(it);
                watch(&inner).await;
            }
            Err(error) => {
                // Once is enough for the log; the metrics tell the rest.
                if pause == first_pause {
                    info!(redis = %it.address, %error, "Redis can't be reached yet");
                } else {
                    debug!(redis = %it.address, %error, "Redis can't be reached");
                }
                drop(it);
                sleep(jittered(pause)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// The probe: a new connection that answers.
async fn connect(inner: &Inner, number: u64) -> Result<(Link, ServerInfo), String> {
    let probe = async {
        let mut link = Link::open(&inner.address, number, inner.timeout).await?;
        let server = ask(&mut link).await?;
        RedisResult::Ok((link, server))
    };
    let began = Instant::now();
    let probed = match timeout(inner.timeout * PATIENCE, probe).await {
        Ok(probed) => probed.map_err(|error| error.to_string()),
        Err(late) => Err(late.to_string()),
    };
    inner.figures.probed(began.elapsed(), probed.is_ok());
    probed
}

/// Returns when the connection has gone.
async fn watch(inner: &Weak<Inner>) {
    loop {
        let Some(it) = inner.upgrade() else { return };
        let redis = Redis(Arc::clone(&it));
        tokio::select! {
            () = it.failed.notified() => {}
            () = sleep(HEARTBEAT) => {
                let asked = redis.with(Operation::Heartbeat, |mut link| async move { ask(&mut link).await });
                if let Ok(server) = asked.await {
                    *it.info.write() = Some(server);
                }
            }
        }
        it.forgive();
        if !redis.presence().up {
            *it.info.write() = None;
            return;
        }
    }
}

async fn ask(link: &mut Link) -> RedisResult<ServerInfo> {
    let began = Instant::now();
    // What every user may do; an answer is an answer.
    let () = cmd("PING").query_async(link).await?;
    let response = began.elapsed();
    let cluster = link.is_cluster();
    if cluster {
        return Ok(ServerInfo { response, cluster, ..ServerInfo::default() });
    }
    let told: RedisResult<String> = cmd("INFO").query_async(link).await;
    let told = match told {
        Err(error) if !super::is_answer(&error) => return Err(error),
        told => told.unwrap_or_default(),
    };
    let field = |name: &str| {
        let mut lines = told.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value.trim().to_owned())
    };
    let number = |name| field(name).and_then(|text| text.parse().ok()).unwrap_or_default();
    Ok(ServerInfo {
        response,
        connected_clients: number("connected_clients"),
        used_memory: field("used_memory_human").unwrap_or_default(),
        uptime_s: number("uptime_in_seconds"),
        cluster,
    })
}

/// Between a half and the whole of it.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}
