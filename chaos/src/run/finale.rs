//! The end of a run: does the healed cluster serve, and is everything there that was acknowledged? Then all
//! nodes die at once, and the same is asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::StreamExt as _;

use crate::broken::Broken;
use crate::client::Http;
use crate::cluster::{REDIS_PREFIX, Status, redis};
use crate::history::{Call, Class, Line};
use crate::workload::{Fighter, Hand, Temper, World};

/// Longest wait until all nodes stand alike.
const CONVERGE_PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Longest time for one battle at the end.
const DUEL_PATIENCE: Duration = Duration::from_secs(60);
/// Guests of whom all nodes are asked; of the others one node is.
const ASKED_EVERYWHERE: usize = 200;
const ASKED_AT_ONCE: usize = 12;
const PATIENCE: Duration = Duration::from_secs(5);
const TRIES_MAX: usize = 10;
const FIRST_DUELLIST: u32 = 900;
/// Longest wait until the mirror is as far as the log.
const MIRROR_PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn play(world: &World) -> Result<(), Broken> {
    // Its own world: the other one is stopping.
    let (world, _stop) = World::new(world.cluster.clone(), world.seed ^ 0xF1AA1E);
    converge(&world, "converged").await;
    duel(&world, FIRST_DUELLIST).await;
    look(&world, "final-reads").await?;
    mirror(&world).await;
    world.history.phase("all-killed");
    for at in world.cluster.all() {
        world.cluster.kill(at).await;
    }
    if let Err(error) = world.cluster.start_nodes(&world.cluster.all()).await {
        found(&world, "not-ready", 0, "the last restart", &error.to_string());
        return Ok(());
    }
    converge(&world, "converged-again").await;
    look(&world, "last-reads").await?;
    duel(&world, FIRST_DUELLIST + 10).await;
    world.history.phase("end");
    Ok(())
}

/// The same where a bug is planted: only what is needed to see that something is lost.
pub(super) async fn glance(world: &World) -> Result<(), Broken> {
    let (world, _stop) = World::new(world.cluster.clone(), world.seed ^ 0xF1AA1E);
    converge(&world, "converged").await;
    look(&world, "final-reads").await?;
    world.history.phase("end");
    Ok(())
}

fn found(world: &World, about: &str, node: usize, item: &str, answer: &str) {
    let (about, item, answer) = (about.to_owned(), item.to_owned(), answer.to_owned());
    world.history.write(|t| Line::Found { t, about, node, item, answer });
}

/// Waits until all nodes are ready, follow one leader, and have applied the same.
async fn converge(world: &World, phase: &str) {
    let began = Instant::now();
    loop {
        let statuses = world.cluster.statuses().await;
        if statuses.len() == world.cluster.size() && stand_alike(&statuses) {
            let took = format!("{:.3}", began.elapsed().as_secs_f64());
            found(world, phase, 0, "seconds", &took);
            break;
        }
        if began.elapsed() > CONVERGE_PATIENCE {
            found(world, "not-converged", 0, phase, &format!("{statuses:?}"));
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    world.history.phase(phase);
}

fn stand_alike(statuses: &[(usize, Status)]) -> bool {
    let Some((_, first)) = statuses.first() else { return false };
    let alike = |status: &Status| {
        status.ready
            && status.leader.is_some()
            && (status.leader, status.term) == (first.leader, first.term)
            && status.applied_index == first.applied_index
    };
    statuses.iter().all(|(_, status)| alike(status))
}

/// Two new players on two nodes play to the end.
async fn duel(world: &World, first: u32) {
    let mut fighting = Vec::new();
    for number in 0..2 {
        let mut hand = Hand::new(world, first + number);
        let node = usize::try_from(number).unwrap_or_default() % world.cluster.size();
        fighting.push(tokio::spawn(async move {
            let Some(guest) = hand.guest().await else {
                return "no guest could be made".to_owned();
            };
            let mut fighter = Fighter::new(hand, guest, Temper::calm()).at(node);
            let end = fighter.fight().await;
            fighter.close().await;
            format!("{end:?}")
        }));
    }
    for (number, fighter) in fighting.into_iter().enumerate() {
        let stop = fighter.abort_handle();
        let end = match tokio::time::timeout(DUEL_PATIENCE, fighter).await {
            Ok(Ok(end)) => end,
            Ok(Err(error)) => format!("failed: {error}"),
            Err(_) => {
                stop.abort();
                "no end in time".to_owned()
            }
        };
        found(world, "duel", number, &first.to_string(), &end);
    }
}

/// Asks for all that was acknowledged: guests, and tokens that were given up.
async fn look(world: &World, phase: &str) -> Result<(), Broken> {
    world.history.phase(phase);
    world.history.flush()?;
    let told = told(world)?;
    let nodes = world.cluster.size();
    let mut questions = Vec::new();
    let step = (told.len() / ASKED_EVERYWHERE).max(1);
    for (number, player) in told.iter().enumerate() {
        for node in 0..nodes {
            if number % step == 0 || number % nodes == node {
                questions.push((node, player.clone()));
            }
        }
    }
    let asking = questions.into_iter().map(|(node, player)| is_known(world, phase, node, player));
    futures::stream::iter(asking).buffer_unordered(ASKED_AT_ONCE).collect::<Vec<()>>().await;
    Ok(())
}

/// Guests that were acknowledged so far.
fn told(world: &World) -> Result<BTreeSet<String>, Broken> {
    let folder = world.history.folder();
    let (mut asked, mut told) = (BTreeMap::new(), BTreeSet::new());
    for line in crate::history::read(folder)? {
        match line {
            Line::Invoke { op, call: Call::Guest { .. }, .. } => drop(asked.insert(op, ())),
            Line::Return { op, class: Class::Ok, out, .. } if asked.remove(&op).is_some() => {
                told.extend(out["player"].as_str().map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(told)
}

async fn is_known(world: &World, phase: &str, node: usize, player: String) {
    let path = format!("/api/v1/auth/check-player/{player}");
    for _ in 0..TRIES_MAX {
        let answer = Http::get(world.cluster.address(node), path.clone()).send(PATIENCE).await;
        match answer {
            Ok(answer) if answer.status < 500 => {
                found(world, &format!("guest {phase}"), node, &player, &answer.status.to_string());
                return;
            }
            _ => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
    found(world, &format!("guest {phase}"), node, &player, "no answer");
}

/// Compares what Redis shows with what there is: nobody is queued, no battle goes on.
async fn mirror(world: &World) {
    let Some(address) = world.cluster.redis_address else { return };
    let began = Instant::now();
    let members = {
        let mut command = ::redis::cmd("SMEMBERS");
        command.arg(format!("{REDIS_PREFIX}matchmaking:queue"));
        command
    };
    let index = {
        let mut command = ::redis::cmd("HGET");
        command.arg(format!("{REDIS_PREFIX}mirror:applied")).arg("index");
        command
    };
    loop {
        let queued = redis::ask::<Vec<String>>(address, &members).await;
        let applied = redis::ask::<Option<u64>>(address, &index).await;
        let status = world.cluster.status(0).await.map(|status| status.applied_index);
        let queue = Http::get(world.cluster.address(0), "/cluster/status").send(PATIENCE).await;
        let queue = queue.ok().and_then(|it| it.body["stats"]["matchmaking"]["queueSize"].as_u64());
        let alike = match (&queued, &applied, status, queue) {
            (Ok(queued), Ok(Some(applied)), Some(status), Some(queue)) => {
                queued.len() as u64 == queue && *applied >= status
            }
            _ => false,
        };
        let told = format!("queued {queued:?}, of {queue:?}; applied {applied:?} of {status:?}");
        if alike {
            let took = format!("{:.3}", began.elapsed().as_secs_f64());
            found(world, "mirror-alike", 0, "seconds", &took);
            return;
        }
        if began.elapsed() > MIRROR_PATIENCE {
            found(world, "mirror-differs", 0, "queue and index", &told);
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
