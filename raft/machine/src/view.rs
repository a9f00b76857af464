//! Read models: what the shell may see of the machine. Looking changes nothing, and everything here
//! borrows from the state at one position of the log.

use std::sync::Arc;

use crate::applied::{Rejection, Reply};
use crate::clock::{LogTime, WallTime};
use crate::command::ScopedKey;
use crate::ids::{
    Incarnation, NodeId, PlayerId, RequestId, RoomId, Seat, SessionKey, SocketId, TokenId,
};
use crate::input::{BattleSetup, Clocks, Digest, NumberedInput, Outcome, PackRef};
use crate::machine::Machine;
use crate::matchmaking::Ticket;
use crate::nodes::{Node, Standing};
use crate::rooms::Room;
use crate::seats::Presence;
use crate::sessions::Session;
use crate::tokens::Login;

/// A connected session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionView<'a> {
    /// Its current connection.
    pub socket: &'a SocketId,
    /// The node that holds it.
    pub node: NodeId,
    /// The client's address.
    pub address: &'a str,
    /// Whether the client chose its session id.
    pub chosen: bool,
    /// Whether it proved to be a registered player by token.
    pub authenticated: bool,
    /// When its first connection came, for display.
    pub opened: WallTime,
}

/// A room, live or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomView<'a> {
    /// Which.
    pub id: RoomId,
    /// What its battle starts from; shared, so cloning the `Arc` is cheap.
    pub setup: &'a Arc<BattleSetup>,
    /// Everything that happened since; number `n` stands at index `n - 1`.
    pub inputs: &'a [NumberedInput],
    /// The node that proposes first.
    pub home: NodeId,
    /// A, then B.
    pub seats: [SeatView<'a>; 2],
    /// `None` while it is live.
    pub end: Option<EndView>,
}

impl<'a> RoomView<'a> {
    /// Whether its end isn't recorded yet.
    pub fn is_live(&self) -> bool {
        self.end.is_none()
    }

    /// Number of the last input, 0 before the first: the `after` of whoever computes from here.
    pub fn last_number(&self) -> u32 {
        self.inputs.last().map_or(0, |input| input.number)
    }

    /// One side.
    pub fn seat(&self, seat: Seat) -> &SeatView<'a> {
        &self.seats[seat.index()]
    }
}

/// One side of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatView<'a> {
    /// Who sits there.
    pub session: &'a SessionKey,
    /// Whether it took a lost session's place and has sent no input yet.
    pub bound: bool,
    /// Set while the seat is lost: when its grace ends.
    pub lost_until: Option<LogTime>,
    /// Whether the player is gone for good.
    pub gone: bool,
}

/// The recorded end of a battle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndView {
    /// Who won and why, and the digest of all events; `None`: aborted.
    pub result: Option<(Outcome, Digest)>,
    /// When it was recorded.
    pub at: LogTime,
    /// When the room is removed.
    pub remove_at: LogTime,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketView<'a> {
    /// Whose.
    pub session: &'a SessionKey,
    /// When it joined, log time.
    pub at: LogTime,
    /// When it joined, for display.
    pub wall: WallTime,
    /// The team it brings.
    pub team: &'a Arc<str>,
    /// The clocks it brings.
    pub clocks: Clocks,
    /// Whether it is kept aside until its session joins again.
    pub suspended: bool,
}

/// A node that was ever up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeView<'a> {
    /// Which.
    pub id: NodeId,
    /// Its newest process.
    pub incarnation: Incarnation,
    /// Whether that process is counted in.
    pub live: bool,
    /// Whether it is about to stop.
    pub draining: bool,
    /// What it has loaded.
    pub packs: &'a [PackRef],
    /// The highest behaviour level it knows.
    pub level: u32,
}

/// Cluster-wide numbers (contract 3.5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Players with at least one connected session.
    pub online_players: usize,
    /// Tickets, suspended ones included.
    pub tickets: usize,
    /// Rooms, ended ones included.
    pub rooms: usize,
    /// Twice the live rooms.
    pub players_in_rooms: usize,
}

impl Machine {
    /// A session, if it is connected.
    pub fn session(&self, key: &SessionKey) -> Option<SessionView<'_>> {
        self.sessions.get(key).map(session_view)
    }

    /// All connected sessions, in the order of their keys.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionKey, SessionView<'_>)> {
        self.sessions.iter().map(|(key, session)| (key, session_view(session)))
    }

    /// How many sessions are connected.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// A player's connected sessions.
    pub fn sessions_of(
        &self,
        player: PlayerId,
    ) -> impl Iterator<Item = (SessionKey, SessionView<'_>)> {
        let keys = self.sessions.of_player(player);
        keys.filter_map(|key| self.session(&key).map(|view| (key, view)))
    }

    /// The sessions that this node holds.
    pub fn sessions_at(&self, node: NodeId) -> impl Iterator<Item = &SessionKey> {
        self.sessions.at_node(node)
    }

    /// The remembered answer to a request: for a caller whose entry was skipped by a snapshot.
    pub fn answered(&self, request: RequestId) -> Option<&Result<Reply, Rejection>> {
        self.windows.answered(request)
    }

    /// The remembered answer to a client's own request id: for a caller who wants to know whether a
    /// request is a retry before checking what may have changed since its first time.
    pub fn answered_key(&self, key: &ScopedKey) -> Option<&Reply> {
        self.keys.answered(key, self.now)
    }

    /// Where a session sits: its live room before any ended one, of those the newest.
    pub fn seat_of(&self, key: &SessionKey) -> Option<(RoomId, Seat)> {
        self.rooms
            .live_seat(key)
            .or_else(|| self.rooms.of_session(key).next().map(|(id, seat, _)| (id, seat)))
    }

    /// Where a session plays, its room's end not being recorded yet.
    pub fn live_seat_of(&self, key: &SessionKey) -> Option<(RoomId, Seat)> {
        self.rooms.live_seat(key)
    }

    /// Whether any session of this player has a seat in a live room.
    pub fn has_live_seat(&self, player: PlayerId) -> bool {
        self.rooms.live_of_player(player).next().is_some()
    }

    /// A room, until it is removed.
    pub fn room(&self, id: RoomId) -> Option<RoomView<'_>> {
        self.rooms.get(id).map(|room| room_view(id, room))
    }

    /// All rooms, in the order of their ids.
    pub fn rooms(&self) -> impl Iterator<Item = RoomView<'_>> {
        self.rooms.iter().map(|(id, room)| room_view(id, room))
    }

    /// A session's ticket.
    pub fn ticket(&self, key: &SessionKey) -> Option<TicketView<'_>> {
        self.queue.get_key_value(key).map(ticket_view)
    }

    /// The queue, oldest ticket first.
    pub fn queue(&self) -> impl Iterator<Item = TicketView<'_>> {
        self.queue.iter().map(ticket_view)
    }

    /// Players with a session, in the order of their ids, from behind this one on: for whoever walks through
    /// them in pieces.
    pub fn players_after(&self, after: Option<PlayerId>) -> impl Iterator<Item = PlayerId> {
        self.sessions.players_after(after)
    }

    /// The same of rooms.
    pub fn rooms_after(&self, after: Option<RoomId>) -> impl Iterator<Item = RoomId> {
        self.rooms.ids_after(after)
    }

    /// The same of players with a ticket; one with several comes several times.
    pub fn queued_after(&self, after: Option<PlayerId>) -> impl Iterator<Item = PlayerId> {
        self.queue.players_after(after)
    }

    /// The same of players who are logged in.
    pub fn logged_in_after(&self, after: Option<PlayerId>) -> impl Iterator<Item = PlayerId> {
        self.tokens.players_after(after)
    }

    /// A player's logins, the one that was refreshed last first. Not all that count: the oldest of all
    /// players are forgotten when there are too many.
    pub fn logins_of(&self, player: PlayerId) -> impl Iterator<Item = Login> {
        self.tokens.logins_of(player)
    }

    /// The log time of this state.
    pub fn log_time(&self) -> LogTime {
        self.now
    }

    /// A player's tickets.
    pub fn tickets_of(&self, player: PlayerId) -> impl Iterator<Item = TicketView<'_>> {
        self.queue.of_player(player).map(ticket_view)
    }

    /// The live rooms in which any session of this player sits.
    pub fn live_rooms_of(&self, player: PlayerId) -> impl Iterator<Item = RoomView<'_>> {
        self.rooms.live_of_player(player).map(|(id, room)| room_view(id, room))
    }

    /// All nodes that were ever up.
    pub fn nodes(&self) -> impl Iterator<Item = NodeView<'_>> {
        self.nodes.iter().map(node_view)
    }

    /// Whether a token is accepted no longer, although its signature may be good.
    pub fn is_revoked(&self, token: TokenId) -> bool {
        self.tokens.is_revoked(token.family())
    }

    /// For each revoked family the token that was presented, and when its last token has expired.
    pub fn revocations(&self) -> impl Iterator<Item = (TokenId, LogTime)> {
        self.tokens.revoked()
    }

    /// How many token families are known, and how many are revoked.
    pub fn token_counts(&self) -> (usize, usize) {
        self.tokens.counts()
    }

    /// How many verification codes are kept, and how many addresses and sources are counted.
    pub fn code_counts(&self) -> (usize, usize) {
        self.codes.counts()
    }

    /// Whether new battles get reports.
    pub fn reports_enabled(&self) -> bool {
        self.reports.enabled
    }

    /// The pack of new battles.
    pub fn active_pack(&self) -> Option<&PackRef> {
        self.nodes.active_pack.as_ref()
    }

    /// The behaviour level in force.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// Cluster-wide numbers.
    pub fn counts(&self) -> Counts {
        Counts {
            online_players: self.sessions.players(),
            tickets: self.queue.len(),
            rooms: self.rooms.len(),
            players_in_rooms: 2 * self.rooms.live(),
        }
    }
}

fn session_view(session: &Session) -> SessionView<'_> {
    SessionView {
        socket: &session.socket,
        node: session.node,
        address: &session.address,
        chosen: session.chosen,
        authenticated: session.authenticated,
        opened: session.opened,
    }
}

fn room_view(id: RoomId, room: &Room) -> RoomView<'_> {
    RoomView {
        id,
        setup: &room.setup,
        inputs: &room.inputs,
        home: room.home,
        seats: room.seats.each_ref().map(|seat| SeatView {
            session: &seat.session,
            bound: seat.bound,
            lost_until: seat.lost().filter(|_| room.is_live()).map(|lost| lost.deadline),
            gone: matches!(seat.presence, Presence::Gone(_)),
        }),
        end: room.end.as_ref().map(|end| EndView {
            result: end.result,
            at: end.at,
            remove_at: end.remove_at,
        }),
    }
}

fn ticket_view<'a>((session, ticket): (&'a SessionKey, &'a Ticket)) -> TicketView<'a> {
    TicketView {
        session,
        at: ticket.at,
        wall: ticket.wall,
        team: &ticket.team,
        clocks: ticket.clocks,
        suspended: ticket.suspended.is_some(),
    }
}

fn node_view((id, node): (NodeId, &Node)) -> NodeView<'_> {
    NodeView {
        id,
        incarnation: node.incarnation,
        live: node.is_live(),
        draining: node.standing == Standing::Draining,
        packs: &node.packs,
        level: node.level,
    }
}
