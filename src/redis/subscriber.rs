//! What others publish: a connection of its own that subscribes, and subscribes again when it was lost. What was
//! published meanwhile is lost: Redis keeps none of it.
//!
//! A connection that says nothing may be dead, so it is asked for a sign of life at intervals.

use std::time::Duration;

use futures::StreamExt as _;
use redis::aio::PubSub;
use redis::{Client, RedisResult, Value};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};

use super::Redis;
use super::keeper::{PATIENCE, PAUSE_MAX, jittered};

/// How often it is asked for a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What is subscribed to.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// One channel by its name.
    pub channel: String,
    /// Channels that match.
    pub pattern: Option<String>,
}

/// Hands over whatever comes, with the name of its channel; must not block.
pub async fn keep(redis: Redis, wanted: Wanted, mut hear: impl FnMut(&str, Vec<u8>) + Send) {
    let first_pause = redis.0.first_pause;
    let mut pause = first_pause;
    loop {
        match timeout(redis.0.timeout * PATIENCE, subscribe(&redis, &wanted)).await {
            Ok(Ok(subscription)) => {
                info!(redis = %redis.address(), "other nodes are heard through Redis");
                pause = first_pause;
                follow(subscription, redis.0.timeout, &mut hear).await;
                warn!(redis = %redis.address(), "other nodes are not heard through Redis");
            }
            Ok(Err(error)) if super::is_answer(&error) && pause == first_pause => {
                warn!(redis = %redis.address(), %error, "Redis refuses the subscription");
            }
            Ok(Err(error)) => debug!(redis = %redis.address(), %error, "nothing is subscribed"),
            Err(_) => debug!(redis = %redis.address(), "nothing is subscribed in time"),
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// At the first server that answers: in a Redis Cluster all of them tell everything.
async fn subscribe(redis: &Redis, wanted: &Wanted) -> RedisResult<PubSub> {
    let mut last = None;
    for server in redis.address().servers() {
        let client = Client::open(server.clone())?;
        match timeout(redis.0.timeout, client.get_async_pubsub()).await {
            Ok(Ok(mut subscription)) => {
                subscription.subscribe(&wanted.channel).await?;
                if let Some(pattern) = &wanted.pattern {
                    subscription.psubscribe(pattern).await?;
                }
                return Ok(subscription);
            }
            Ok(Err(error)) => last = Some(error),
            Err(_) => {}
        }
    }
    Err(last.unwrap_or_else(|| (redis::ErrorKind::Io, "no server has answered").into()))
}

/// Until the connection has gone.
async fn follow(
    subscription: PubSub,
    patience: Duration,
    hear: &mut (impl FnMut(&str, Vec<u8>) + Send),
) {
    let (mut sink, mut messages) = subscription.split();
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = messages.next() => {
                let Some(message) = message else { return };
                hear(message.get_channel_name(), message.get_payload_bytes().to_vec());
            }
            _ = heartbeat.tick() => {
                if !matches!(timeout(patience, sink.ping::<Value>()).await, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}
