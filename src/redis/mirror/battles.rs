//! `battleState` of a room: what an observer sees, without hidden information, as it was at the last turn's end. It is
//! known where the battle is played; its home writes it, best effort: what fails is written with the next turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use redis::cmd;
use serverv2_machine::RoomId;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::scripts::Verdict;
use super::{Mirror, writer};
use crate::battle::engine::Viewer;
use crate::battle::host::BattleHost;
use crate::battle::view::Status;
use crate::redis::{Operation, keys};

/// How often it is looked which battles went on.
const PERIOD: Duration = Duration::from_millis(100);
/// How often it is looked whether the mirror was written anew: then all states are, too.
const LOOK: Duration = Duration::from_secs(1);
/// How long a worker may take to look at a battle.
const PATIENCE: Duration = Duration::from_secs(1);
/// Battles asked for at once.
const AT_ONCE: usize = 16;

/// What a state is known by: it is written when this has changed.
type Moment = (u32, bool);

/// A state to write.
struct State {
    moment: Moment,
    input: u32,
    text: String,
}

/// Writes until the node ends.
pub(super) async fn keep(mirror: Arc<Mirror>, host: Arc<BattleHost>) {
    let mut written: BTreeMap<RoomId, Moment> = BTreeMap::new();
    let mut waiting: BTreeSet<RoomId> = BTreeSet::new();
    let (mut projection, mut looked): (Option<String>, _) = (None, Instant::now());
    loop {
        sleep(PERIOD).await;
        waiting.extend(mirror.marks.take_battles());
        if !mirror.redis.presence().up {
            waiting.clear();
            projection = None;
            continue;
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            let key = keys::mirror(mirror.redis.prefix());
            let asked = cmd("HGET").arg(key).arg("projection").to_owned();
            let told = mirror.redis.call(Operation::Mirror, &asked).await.ok().flatten();
            if told != projection {
                projection = told;
                written.clear();
                waiting.extend(homes(&mirror));
            }
            written.retain(|room, _| is_home(&mirror, *room));
        }
        waiting.retain(|room| is_home(&mirror, *room));
        let asked = stream::iter(std::mem::take(&mut waiting)).map(|room| {
            let (mirror, host, before) = (&mirror, &host, written.get(&room).copied());
            async move { (room, write(mirror, host, room, before).await) }
        });
        let told: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
        for (room, told) in told {
            match told {
                Told::Written(moment) => drop(written.insert(room, moment)),
                Told::Nothing => {}
                Told::Again => drop(waiting.insert(room)),
            }
        }
    }
}

/// What became of a state.
enum Told {
    /// It is written.
    Written(Moment),
    /// There is nothing to write.
    Nothing,
    /// The room is not in the mirror yet.
    Again,
}

async fn write(mirror: &Mirror, host: &BattleHost, room: RoomId, before: Option<Moment>) -> Told {
    let Some(State { moment, input, text }) = look(host, room, before).await else {
        return Told::Nothing;
    };
    let key = keys::room(mirror.redis.prefix(), &room);
    match writer::write_battle(&mirror.redis, &mirror.id, key, input, text).await {
        Ok(Verdict::Written | Verdict::Removed | Verdict::Older) => Told::Written(moment),
        Ok(Verdict::Lost) => Told::Again,
        Ok(Verdict::Deposed | Verdict::Foreign) => Told::Nothing,
        Err(error) => {
            debug!(room.id = %room, %error, "a battle's state was not written");
            Told::Nothing
        }
    }
}

/// The state of a battle that began, if it is at another turn than before; made by its worker.
async fn look(host: &BattleHost, room: RoomId, before: Option<Moment>) -> Option<State> {
    let (sender, looked) = oneshot::channel();
    host.visit(room, move |replica| {
        let state = replica.and_then(|replica| {
            let view = replica.battle().view(Viewer::Observer);
            let moment = (view.current_turn, view.status == Status::Ended);
            if view.status == Status::Unstarted || before == Some(moment) {
                return None;
            }
            let text = serde_json::to_string(&view).ok()?;
            Some(State { moment, input: replica.last_input(), text })
        });
        // Whoever asked may have gone.
        let _ = sender.send(state);
    });
    timeout(PATIENCE, looked).await.ok()?.ok()?
}

fn is_home(mirror: &Mirror, room: RoomId) -> bool {
    let me = mirror.cluster.node();
    mirror.cluster.read(|machine, _| machine.room(room).is_some_and(|room| room.home == me)).value
}

fn homes(mirror: &Mirror) -> BTreeSet<RoomId> {
    let me = mirror.cluster.node();
    let homes = mirror.cluster.read(|machine, _| {
        machine.rooms().filter(|room| room.home == me).map(|room| room.id).collect()
    });
    homes.value
}
