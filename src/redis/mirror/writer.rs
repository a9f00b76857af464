//! Writes what is wanted: many scripts in one round trip to a single server, or each to its own slot of a Redis
//! Cluster.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::try_join_all;
use redis::Pipeline;
use serverv2_machine::PlayerId;

use super::Stop;
use super::figures::Figures;
use super::project::Wanted;
use super::scripts::{self, Lua, Verdict};
use crate::redis::{Operation, Redis, RedisError, keys};

/// Scripts in one round trip.
const BATCH: usize = 128;
/// Bytes in one, unless a single script has more.
const BATCH_BYTES: usize = 256 * 1024;
/// Scripts on their way to a Redis Cluster at once.
const AT_ONCE: usize = 32;

/// Who writes.
pub(super) struct Writer<'a> {
    pub(super) redis: &'a Redis,
    pub(super) figures: &'a Figures,
    /// The cluster's id in hexadecimal digits.
    pub(super) cluster: &'a str,
    pub(super) term: u64,
    pub(super) takeover: bool,
    /// The name of this projection: another one means that somebody else has written, or a flush.
    pub(super) projection: String,
}

/// One run of a script.
struct Call {
    script: &'static Lua,
    keys: Vec<String>,
    arguments: Vec<String>,
}

impl Writer<'_> {
    /// Says that this leader writes from now on.
    pub(super) async fn claim(&self) -> Result<(), Stop> {
        let arguments = vec![
            self.cluster.to_owned(),
            self.term.to_string(),
            flag(self.takeover),
            self.projection.clone(),
            wall_ms(),
        ];
        let call = Call { script: &scripts::CLAIM, keys: vec![self.told()], arguments };
        self.all(vec![call]).await
    }

    /// Says how far the mirror is.
    pub(super) async fn advance(&self, index: u64) -> Result<(), Stop> {
        let arguments = vec![
            self.cluster.to_owned(),
            self.term.to_string(),
            index.to_string(),
            self.projection.clone(),
            wall_ms(),
        ];
        let call = Call { script: &scripts::ADVANCE, keys: vec![self.told()], arguments };
        self.all(vec![call]).await?;
        self.figures.applied.fetch_max(index, Ordering::Relaxed);
        Ok(())
    }

    /// Writes what the state of this index wants.
    pub(super) async fn write(&self, index: u64, wanted: Vec<Wanted>) -> Result<(), Stop> {
        let (mut calls, mut come, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for wanted in wanted {
            match wanted {
                Wanted::Hash { key, fields, life_ms } => {
                    let mut call = self.call(&scripts::PUT, vec![key], index);
                    call.arguments.push(life_ms.unwrap_or_default().to_string());
                    for (name, value) in fields {
                        call.arguments.extend([name.to_owned(), value]);
                    }
                    calls.push(call);
                }
                Wanted::Login(login) => {
                    let mut call = self.call(&scripts::PUT_LOGIN, vec![login.key], index);
                    let given =
                        [login.life_ms.to_string(), login.session, login.given_ms.to_string()];
                    call.arguments.extend(given);
                    for (name, value) in login.fields {
                        call.arguments.extend([name.to_owned(), value]);
                    }
                    calls.push(call);
                }
                Wanted::Nothing { key } => {
                    let mut call = self.call(&scripts::REMOVE, vec![key], index);
                    call.arguments.push(scripts::FENCE_MS.to_string());
                    calls.push(call);
                }
                Wanted::Queued { player, there: true } => come.push(player),
                Wanted::Queued { player, there: false } => gone.push(player),
            }
        }
        if !come.is_empty() || !gone.is_empty() {
            calls.push(self.members(index, &come, &gone));
        }
        self.all(calls).await
    }

    /// Removes these keys, which are of nothing in the state of this index. Gives how many of them were more than a
    /// fence.
    pub(super) async fn remove(&self, index: u64, keys: Vec<String>) -> Result<u64, Stop> {
        let before = self.figures.removed.load(Ordering::Relaxed);
        let wanted = keys.into_iter().map(|key| Wanted::Nothing { key }).collect();
        self.write(index, wanted).await?;
        Ok(self.figures.removed.load(Ordering::Relaxed) - before)
    }

    /// Removes from the queue's set whoever `stays` says is not in the queue; `index` is that of the state.
    pub(super) async fn clean_queue(
        &self,
        index: impl Fn() -> u64,
        stays: impl Fn(PlayerId) -> bool,
    ) -> Result<(), Stop> {
        // The fence first: from here on nobody else adds anything.
        self.all(vec![self.members(index(), &[], &[])]).await?;
        let set = keys::queue(self.redis.prefix());
        let mut cursor = 0;
        loop {
            let mut scan = redis::cmd("SSCAN");
            scan.arg(&set).arg(cursor).arg("COUNT").arg(BATCH);
            let found: Result<(u64, Vec<String>), _> =
                self.redis.call(Operation::Mirror, &scan).await;
            let (next, members) = found.map_err(Stop::Redis)?;
            let at = index();
            let mut call = self.call_members(at);
            call.arguments.push("0".to_owned());
            let before = call.arguments.len();
            let gone = |text: &String| text.parse().map_or(true, |player| !stays(player));
            call.arguments.extend(members.into_iter().filter(gone));
            if call.arguments.len() > before {
                self.all(vec![call]).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    fn members(&self, index: u64, come: &[PlayerId], gone: &[PlayerId]) -> Call {
        let mut call = self.call_members(index);
        call.arguments.push(come.len().to_string());
        call.arguments.extend(come.iter().chain(gone).map(ToString::to_string));
        call
    }

    fn call_members(&self, index: u64) -> Call {
        let prefix = self.redis.prefix();
        self.call(&scripts::MEMBERS, vec![keys::queue(prefix), keys::queue_fence(prefix)], index)
    }

    fn call(&self, script: &'static Lua, mut keys: Vec<String>, index: u64) -> Call {
        if !self.is_spread() {
            keys.push(self.told());
        }
        let (cluster, term) = (self.cluster.to_owned(), self.term.to_string());
        Call {
            script,
            keys,
            arguments: vec![cluster, term, index.to_string(), flag(self.takeover)],
        }
    }

    fn told(&self) -> String {
        keys::mirror(self.redis.prefix())
    }

    fn is_spread(&self) -> bool {
        self.redis.info().is_some_and(|info| info.cluster)
    }

    async fn all(&self, calls: Vec<Call>) -> Result<(), Stop> {
        let codes = run_all(self.redis, &calls, self.is_spread()).await.map_err(Stop::Redis)?;
        let mut stop = Ok(());
        for (code, call) in codes.into_iter().zip(&calls) {
            match Verdict::read(code) {
                Verdict::Removed => {
                    self.figures.removed.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Verdict::Written => {
                    self.figures.written.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                // What is there is newer: nothing is missing.
                Verdict::Older => {}
                Verdict::Lost => stop = Err(Stop::Lost),
                Verdict::Deposed => stop = Err(Stop::Deposed),
                Verdict::Foreign => {
                    stop = Err(Stop::Foreign(call.keys.first().cloned().unwrap_or_default()));
                }
            }
            self.figures.refused.fetch_add(1, Ordering::Relaxed);
        }
        stop
    }
}

/// Writes states of battles (room, number of the last input, state) where the rooms are.
pub(super) async fn write_battle(
    redis: &Redis,
    cluster: &str,
    room: String,
    input: u32,
    state: String,
) -> Result<Verdict, RedisError> {
    let arguments = vec![cluster.to_owned(), input.to_string(), state];
    let call = Call { script: &scripts::BATTLE, keys: vec![room], arguments };
    let codes = run_all(redis, &[call], true).await?;
    Ok(Verdict::read(codes.first().copied().unwrap_or_default()))
}

async fn run_all(redis: &Redis, calls: &[Call], spread: bool) -> Result<Vec<i64>, RedisError> {
    if spread {
        let mut codes = Vec::new();
        for some in calls.chunks(AT_ONCE) {
            codes.extend(try_join_all(some.iter().map(|call| run(redis, call))).await?);
        }
        return Ok(codes);
    }
    let mut codes = Vec::new();
    let mut rest = calls;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(BATCH).take_while(|call| {
            bytes += call.arguments.iter().map(String::len).sum::<usize>();
            bytes <= BATCH_BYTES
        });
        let (batch, later) = rest.split_at(fits.count().max(1));
        let answers: Vec<i64> = redis.pipe(Operation::Mirror, &pipeline(batch)).await?;
        codes.extend(answers);
        rest = later;
    }
    Ok(codes)
}

async fn run(redis: &Redis, call: &Call) -> Result<i64, RedisError> {
    let running = redis.script(Operation::Mirror, &call.script.script, |script| {
        call.keys.iter().for_each(|key| {
            script.key(key);
        });
        call.arguments.iter().for_each(|argument| {
            script.arg(argument);
        });
    });
    running.await
}

/// Each script's text goes once with each pipeline, so that no server is asked whether it knows it.
fn pipeline(calls: &[Call]) -> Pipeline {
    let mut pipeline = redis::pipe();
    let mut sent: Vec<&str> = Vec::new();
    for call in calls {
        let hash = call.script.script.get_hash();
        if !sent.contains(&hash) {
            sent.push(hash);
            pipeline.cmd("SCRIPT").arg("LOAD").arg(&call.script.text).ignore();
        }
        pipeline.cmd("EVALSHA").arg(hash).arg(call.keys.len());
        pipeline.arg(&call.keys).arg(&call.arguments);
    }
    pipeline
}

fn flag(set: bool) -> String {
    if set { "1" } else { "0" }.to_owned()
}

fn wall_ms() -> String {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    wall.as_millis().to_string()
}
