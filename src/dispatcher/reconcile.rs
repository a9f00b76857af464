//! After a gap in the effect feed: what the state says about each socket held here is told to it.
//!
//! Everything is read in one look. Effects up to its index are contained in it and not delivered any
//! more, so nobody hears anything twice; whatever of them concerns a socket is made up for here.
//! Battles catch up by the numbers of their inputs (`battle/host/worker.rs`).

use std::sync::Arc;

use serverv2_machine::{
    Digest, Input, Machine, NodeId, PlayerId, Rejection, Reply, RequestId, RoomId, Seat,
    SessionKey, SocketId,
};
use tracing::debug;

use super::{Dispatcher, Failure, NOBODY, alone};
use crate::battle::host::Ending;
use crate::gateway::counters::Cut;
use crate::gateway::socket::LocalSocket;

/// Where a session sits, as its socket must know it.
pub(super) struct Place {
    pub(super) room: RoomId,
    pub(super) seat: Seat,
    pub(super) opponent: PlayerId,
    pub(super) name: Arc<str>,
    /// The end, and the digest of a battle that was not aborted.
    pub(super) ended: Option<Option<Digest>>,
    /// The player has been ready, so he has been told of this room.
    pub(super) known: bool,
    /// For how long the opponent may stay away, milliseconds; `None` if he is not.
    pub(super) away_ms: Option<u64>,
}

/// What became of a socket.
enum Standing {
    /// It is its session's current one.
    Current(Option<Place>),
    /// A newer one is.
    Replaced,
    /// There is no such session.
    Gone,
}

/// The state, as far as this node's sockets are concerned.
struct Look {
    answers: Vec<(RequestId, Result<Reply, Rejection>)>,
    /// With each socket whether it was the current one before the gap.
    sockets: Vec<(Arc<LocalSocket>, bool, Standing)>,
}

impl Dispatcher {
    /// Makes up for all effects up to the index that it returns.
    pub(super) fn reconcile(&self) -> u64 {
        let look = self.cluster.read(|machine, _| self.look(machine));
        let Look { answers, sockets } = look.value;
        // As always: first what was asked for, then what follows from it.
        for (request, outcome) in answers {
            if let Some(answer) = self.acks.take(request) {
                answer(outcome.map_err(Failure::Rejected));
            }
        }
        self.host.compare_all();
        self.open_homes();
        let (current, others): (Vec<_>, Vec<_>) = sockets
            .into_iter()
            .partition(|(_, _, standing)| matches!(standing, Standing::Current(_)));
        for (socket, was_current, standing) in current {
            if let Standing::Current(place) = standing {
                self.stays(&socket, was_current, place);
            }
        }
        for (socket, was_current, standing) in others {
            if was_current {
                self.lets_go(&socket, matches!(standing, Standing::Gone));
            }
        }
        self.dismiss_revoked();
        look.index
    }

    /// While nothing is applied: a socket is held here before its session can be in the state.
    fn look(&self, machine: &Machine) -> Look {
        let answered = |request: RequestId| Some((request, machine.answered(request)?.clone()));
        let standing = |(socket, was_current): (Arc<LocalSocket>, bool)| {
            let standing = standing(machine, &socket, self.me());
            (socket, was_current, standing)
        };
        Look {
            answers: self.acks.requests().into_iter().filter_map(answered).collect(),
            sockets: self.sessions.all().into_iter().map(standing).collect(),
        }
    }

    /// A socket is its session's current one, perhaps since the gap.
    fn stays(&self, socket: &Arc<LocalSocket>, was_current: bool, place: Option<Place>) {
        let session = &socket.session;
        self.sessions.opened(session, &socket.id);
        let Some(Place { room, seat, opponent, name, ended, known, away_ms }) = place else {
            return;
        };
        // Who came back in the gap to the end of a battle knows of it.
        let untold = !known && !self.sessions.is_told(session, room);
        let untold = untold && (was_current || ended.is_none());
        debug!(room.id = %room, %seat, was_current, untold, "a seat after the gap");
        if untold {
            self.matched(session, room, seat, opponent, &name);
        }
        self.sessions.seated(socket, room, seat);
        // Else it watches already, if it is to hear of the end.
        let watches = untold || ended.is_none();
        let watcher = || alone(seat, socket.clone(), !was_current);
        self.open_room(room, if watches { watcher() } else { NOBODY });
        match ended {
            Some(digest) => self.host.ended(room, Ending { digest, audience: Vec::new() }),
            None => self.tell_presence_after(session, room, opponent, away_ms),
        }
    }

    /// A socket was its session's current one, and is no longer.
    fn lets_go(&self, socket: &Arc<LocalSocket>, gone: bool) {
        self.unseat(&socket.session, &socket.id);
        self.sessions.closed(&socket.session, &socket.id);
        if gone {
            // It was ended, or lost with this node's former life. Who is still welcome comes back.
            socket.cut(Cut::CountedOut);
        }
    }

    /// Those whose token was revoked in what was skipped.
    fn dismiss_revoked(&self) {
        let held = self.sessions.with_token(|_| true);
        let revoked = self.cluster.read(|machine, _| {
            let revoked =
                |it: &Arc<LocalSocket>| it.token.is_some_and(|held| machine.is_revoked(held.id));
            held.into_iter().filter(revoked).collect::<Vec<_>>()
        });
        revoked.value.iter().for_each(|socket| socket.dismiss(Cut::Revoked));
    }
}

fn standing(machine: &Machine, socket: &LocalSocket, me: NodeId) -> Standing {
    let is_current = |id: &SocketId, node: NodeId| *id == socket.id && node == me;
    match machine.session(&socket.session) {
        Some(session) if is_current(session.socket, session.node) => {
            Standing::Current(place(machine, &socket.session))
        }
        Some(_) => Standing::Replaced,
        None => Standing::Gone,
    }
}

/// Where a session sits: its live battle, else the newest that ended.
pub(super) fn place(machine: &Machine, session: &SessionKey) -> Option<Place> {
    let (id, seat) = machine.seat_of(session)?;
    let room = machine.room(id)?;
    let opponent = &room.setup.players[seat.opponent().index()];
    let lost_until = room.seat(seat.opponent()).lost_until;
    let ready = |input: &Input| matches!(input, Input::Ready(by) if *by == seat);
    Some(Place {
        room: id,
        seat,
        opponent: opponent.player,
        name: opponent.name.clone(),
        ended: room.end.map(|end| end.result.map(|(_, digest)| digest)),
        known: room.inputs.iter().any(|input| ready(&input.input)),
        away_ms: lost_until.map(|until| until.ms_since(machine.last_at())),
    })
}
