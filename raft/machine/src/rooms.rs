//! Rooms: two seats, a set-up and what happened since, from pairing until some seconds after the end.
//!
//! At most one room of a session is live. Ended ones stay readable for a while, so a session may
//! have several. Every live room has a *home*: the node that proposes its ticks and its end first.
//! The home is a preference, not an authority; it moves when its process is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::LogTime;
use crate::due::Due;
use crate::effect::Effect;
use crate::ids::{NanoId, NodeId, PlayerId, RoomId, Seat, SessionId, SessionKey};
use crate::input::{BattleSetup, Digest, NumberedInput, Outcome, PackRef, SetupSeat};
use crate::limits::ROOM_AGE_MAX_MS;
use crate::machine::{Machine, Turn};
use crate::matchmaking::Ticket;
use crate::players::display_name;
use crate::seats::SeatState;

/// All rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rooms {
    by_id: BTreeMap<RoomId, Arc<Room>>,
    /// Rooms opened so far: gives each one its place in time.
    opened: u64,
    /// Whose seats are where, oldest room first.
    #[serde(skip)]
    by_player: BTreeMap<PlayerId, BTreeMap<SessionId, Vec<RoomId>>>,
    /// Live rooms by home.
    #[serde(skip)]
    homes: BTreeMap<NodeId, BTreeSet<RoomId>>,
    #[serde(skip)]
    live: usize,
}

/// One room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Room {
    /// Greater than that of every older room.
    pub(crate) order: u64,
    pub(crate) setup: Arc<BattleSetup>,
    /// Number `n` stands at index `n - 1`.
    pub(crate) inputs: Vec<NumberedInput>,
    pub(crate) home: NodeId,
    pub(crate) seats: [SeatState; 2],
    /// `None` while the room is live.
    pub(crate) end: Option<End>,
}

/// How a room ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// Outcome and digest of its events; `None`: aborted.
    pub(crate) result: Option<(Outcome, Digest)>,
    pub(crate) at: LogTime,
    pub(crate) remove_at: LogTime,
}

impl Room {
    pub(crate) fn is_live(&self) -> bool {
        self.end.is_none()
    }

    pub(crate) fn seat(&self, seat: Seat) -> &SeatState {
        &self.seats[seat.index()]
    }

    pub(crate) fn seat_mut(&mut self, seat: Seat) -> &mut SeatState {
        &mut self.seats[seat.index()]
    }

    pub(crate) fn seat_of(&self, session: &SessionKey) -> Option<Seat> {
        Seat::BOTH.into_iter().find(|seat| self.seat(*seat).session == *session)
    }

    /// Number of the last input, 0 before the first.
    pub(crate) fn last_number(&self) -> u32 {
        u32::try_from(self.inputs.len()).unwrap_or(u32::MAX)
    }
}

impl Rooms {
    pub(crate) fn get(&self, id: RoomId) -> Option<&Room> {
        self.by_id.get(&id).map(Arc::as_ref)
    }

    /// For changes that touch neither `home`, `end` nor who sits where: those have indexes.
    pub(crate) fn edit(&mut self, id: RoomId) -> Option<&mut Room> {
        self.by_id.get_mut(&id).map(Arc::make_mut)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn live(&self) -> usize {
        self.live
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RoomId, &Room)> {
        self.by_id.iter().map(|(id, room)| (*id, room.as_ref()))
    }

    /// Rooms from behind this one on, in the order of their ids.
    pub(crate) fn ids_after(&self, after: Option<RoomId>) -> impl Iterator<Item = RoomId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range((from, Bound::Unbounded)).map(|(id, _)| *id)
    }

    /// Rooms in which this session sits, newest first.
    pub(crate) fn of_session(
        &self,
        key: &SessionKey,
    ) -> impl Iterator<Item = (RoomId, Seat, &Room)> {
        let of_player = self.by_player.get(&key.player);
        let ids = of_player.and_then(|of_player| of_player.get(&key.session)).into_iter().flatten();
        ids.rev().filter_map(|id| {
            let room = self.get(*id)?;
            Some((*id, room.seat_of(key)?, room))
        })
    }

    pub(crate) fn live_seat(&self, key: &SessionKey) -> Option<(RoomId, Seat)> {
        let mut rooms = self.of_session(key);
        rooms.find(|(_, _, room)| room.is_live()).map(|(id, seat, _)| (id, seat))
    }

    /// Live rooms in which any session of this player sits.
    pub(crate) fn live_of_player(&self, player: PlayerId) -> impl Iterator<Item = (RoomId, &Room)> {
        let ids = self.by_player.get(&player).into_iter().flat_map(BTreeMap::values).flatten();
        ids.filter_map(|id| Some((*id, self.get(*id)?))).filter(|(_, room)| room.is_live())
    }

    /// Another session takes a seat.
    pub(crate) fn reseat(&mut self, id: RoomId, seat: Seat, to: &SessionKey) {
        let Some(room) = self.edit(id) else { return };
        let from = std::mem::replace(&mut room.seat_mut(seat).session, to.clone());
        self.unindex_seat(id, &from);
        self.index_seat(id, to);
    }

    pub(crate) fn end(&mut self, id: RoomId, end: End) {
        if let Some(room) = self.edit(id)
            && room.end.is_none()
        {
            let home = room.home;
            room.end = Some(end);
            self.live -= 1;
            self.unindex_home(id, home);
        }
    }

    fn insert(&mut self, id: RoomId, room: Room) {
        self.by_id.insert(id, Arc::new(room));
        self.index(id);
    }

    fn remove(&mut self, id: RoomId) -> Option<Arc<Room>> {
        let room = self.by_id.remove(&id)?;
        for seat in &room.seats {
            self.unindex_seat(id, &seat.session);
        }
        if room.is_live() {
            self.live -= 1;
            self.unindex_home(id, room.home);
        }
        Some(room)
    }

    fn rehome(&mut self, id: RoomId, to: NodeId) {
        if let Some(room) = self.edit(id) {
            let from = std::mem::replace(&mut room.home, to);
            self.unindex_home(id, from);
            self.homes.entry(to).or_default().insert(id);
        }
    }

    fn index(&mut self, id: RoomId) {
        let Some(room) = self.by_id.get(&id).cloned() else { return };
        for seat in &room.seats {
            self.index_seat(id, &seat.session);
        }
        if room.is_live() {
            self.live += 1;
            self.homes.entry(room.home).or_default().insert(id);
        }
    }

    fn index_seat(&mut self, id: RoomId, key: &SessionKey) {
        let of_player = self.by_player.entry(key.player).or_default();
        let ids = of_player.entry(key.session.clone()).or_default();
        ids.push(id);
        ids.sort_by_key(|id| self.by_id.get(id).map_or(0, |room| room.order));
    }

    fn unindex_seat(&mut self, id: RoomId, key: &SessionKey) {
        let Some(of_player) = self.by_player.get_mut(&key.player) else { return };
        if let Some(ids) = of_player.get_mut(&key.session) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                of_player.remove(&key.session);
            }
        }
        if of_player.is_empty() {
            self.by_player.remove(&key.player);
        }
    }

    fn unindex_home(&mut self, id: RoomId, home: NodeId) {
        if let Some(ids) = self.homes.get_mut(&home) {
            ids.remove(&id);
            if ids.is_empty() {
                self.homes.remove(&home);
            }
        }
    }

    pub(crate) fn reindex(&mut self) {
        self.by_player = BTreeMap::new();
        self.homes = BTreeMap::new();
        self.live = 0;
        let ids: Vec<RoomId> = self.by_id.keys().copied().collect();
        for id in ids {
            self.index(id);
        }
    }
}

impl Machine {
    /// Makes a room of two tickets: A is the older one, and brings the clocks.
    pub(crate) fn open_room(
        &mut self,
        turn: &mut Turn<'_>,
        pack: PackRef,
        (key_a, a): (SessionKey, Ticket),
        (key_b, b): (SessionKey, Ticket),
    ) {
        let id = self.draw_room_id(turn);
        let side = |key: &SessionKey, team| SetupSeat {
            player: key.player,
            session: key.session.clone(),
            name: display_name(turn.records, key.player, self.outside_name(key)),
            team,
        };
        let setup = Arc::new(BattleSetup {
            pack,
            seed: battle_seed(turn),
            players: [side(&key_a, a.team), side(&key_b, b.team)],
            clocks: a.clocks,
            at: turn.now,
            wall: turn.wall,
        });
        let keys = [key_a, key_b];
        let home = self.choose_home(&keys).unwrap_or(turn.request.node);
        turn.pairs += 1;
        self.rooms.opened = self.rooms.opened.saturating_add(1);
        let room = Room {
            order: self.rooms.opened,
            setup: Arc::clone(&setup),
            inputs: Vec::new(),
            home,
            seats: keys.clone().map(SeatState::new),
            end: None,
        };
        self.rooms.insert(id, room);
        self.due.add(turn.now.plus_ms(ROOM_AGE_MAX_MS), Due::RoomAge(id));
        self.open_report(turn, id, &setup);
        turn.emit(Effect::RoomOpened { room: id, setup: Arc::clone(&setup), home });
        for (seat, session) in Seat::BOTH.into_iter().zip(keys) {
            let opponent = &setup.players[seat.opponent().index()];
            turn.emit(Effect::MatchFound {
                session,
                room: id,
                seat,
                opponent: opponent.player,
                opponent_name: Arc::clone(&opponent.name),
            });
        }
    }

    pub(crate) fn remove_room(&mut self, turn: &mut Turn<'_>, id: RoomId) {
        if self.rooms.remove(id).is_some() {
            turn.emit(Effect::RoomRemoved { room: id });
        }
    }

    /// Gives rooms whose home lost its process, or is about to, another one, if there is a better one.
    pub(crate) fn move_homes_from(&mut self, turn: &mut Turn<'_>, node: NodeId) {
        let homeless =
            |(home, _): &(&NodeId, &BTreeSet<RoomId>)| **home == node || !self.nodes.stays(**home);
        let rooms: Vec<RoomId> =
            self.rooms.homes.iter().filter(homeless).flat_map(|(_, ids)| ids).copied().collect();
        for id in rooms {
            let Some(room) = self.rooms.get(id) else { continue };
            let keys = [room.seats[0].session.clone(), room.seats[1].session.clone()];
            let from = room.home;
            if let Some(home) = self.choose_home(&keys)
                && home != from
                && (self.nodes.stays(home) || !self.nodes.is_live(from))
            {
                self.rooms.rehome(id, home);
                turn.emit(Effect::HomeMoved { room: id, home });
            }
        }
    }

    /// Where a replica runs anyway: the node of A's socket, else of B's; else the node with the fewest
    /// homes. Nodes that stay come before those that are about to go.
    fn choose_home(&self, keys: &[SessionKey; 2]) -> Option<NodeId> {
        let of_sockets = keys.iter().filter_map(|key| self.sessions.get(key)).map(|it| it.node);
        let homes = |id: NodeId| self.rooms.homes.get(&id).map_or(0, BTreeSet::len);
        let of_sockets: Vec<NodeId> = of_sockets.collect();
        let best = |may: &dyn Fn(NodeId) -> bool| {
            let all = self.nodes.iter().map(|(id, _)| id).filter(|id| may(*id));
            let of_sockets = of_sockets.iter().copied().find(|id| may(*id));
            of_sockets.or_else(|| all.min_by_key(|id| (homes(*id), *id)))
        };
        best(&|id| self.nodes.stays(id)).or_else(|| best(&|id| self.nodes.is_live(id)))
    }

    /// Derived from position and seed, so it is the same everywhere and never comes again.
    fn draw_room_id(&self, turn: &mut Turn<'_>) -> RoomId {
        loop {
            let id = RoomId(NanoId::from_entropy(&turn.draw(b"room")));
            #[cfg(feature = "planted")]
            let id = crate::planted::room_id(id);
            if self.rooms.get(id).is_none() {
                return id;
            }
            turn.pairs += 1;
        }
    }
}

fn battle_seed(turn: &Turn<'_>) -> [u8; 16] {
    let mut seed = [0; 16];
    seed.copy_from_slice(&turn.draw(b"battle")[..16]);
    seed
}
