//! What follows from a proposal and somebody outside must be told. Every node computes the same
//! effects and delivers those addressed to the sockets it happens to hold.
//!
//! Effects are never stored or sent: they may change with the code.

use std::fmt;
use std::sync::Arc;

use crate::ids::{NodeId, PlayerId, RoomId, Seat, SessionKey, SocketId, TokenId};
use crate::input::{BattleSetup, Digest, NumberedInput, Outcome};
use crate::reports::ReportMessages;

/// One thing to be told, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A session is connected by this socket now; a former socket of it gets nothing any more.
    SessionOpened {
        /// Who.
        session: SessionKey,
        /// Through which connection.
        socket: SocketId,
        /// Where.
        node: NodeId,
    },
    /// A session is no longer connected.
    SessionClosed {
        /// Who.
        session: SessionKey,
        /// The connection it had.
        socket: SocketId,
        /// Where it was.
        node: NodeId,
    },
    /// A session has a place in the queue.
    TicketAdded {
        /// Who.
        session: SessionKey,
    },
    /// A ticket is gone without a match.
    TicketRemoved {
        /// Whose.
        session: SessionKey,
    },
    /// A room exists.
    RoomOpened {
        /// Which.
        room: RoomId,
        /// What its battle starts from.
        setup: Arc<BattleSetup>,
        /// The node that proposes its ticks and its end first.
        home: NodeId,
    },
    /// A paired session must be told (`matchSuccess`); A first.
    MatchFound {
        /// Whom to tell.
        session: SessionKey,
        /// Which room.
        room: RoomId,
        /// Its side.
        seat: Seat,
        /// The other player.
        opponent: PlayerId,
        /// The other player's display name.
        opponent_name: Arc<str>,
    },
    /// A seat was taken over by another session of its player.
    SeatBound {
        /// Which room.
        room: RoomId,
        /// Which side.
        seat: Seat,
        /// Who sits there now.
        session: SessionKey,
    },
    /// A seat's session lost its connection; it may come back until the grace is over.
    SeatLost {
        /// Which room.
        room: RoomId,
        /// Which side.
        seat: Seat,
        /// Who is away.
        player: PlayerId,
        /// Who sits on the other side and is told.
        opponent: SessionKey,
        /// Time to come back, milliseconds.
        grace_ms: u64,
    },
    /// A seat's session is connected again.
    SeatBack {
        /// Which room.
        room: RoomId,
        /// Which side.
        seat: Seat,
        /// Who is back.
        player: PlayerId,
        /// Who sits on the other side and is told.
        opponent: SessionKey,
    },
    /// A battle got an input.
    InputAppended {
        /// Which room.
        room: RoomId,
        /// What.
        input: NumberedInput,
    },
    /// A replica says what it makes of a battle up to this input; who makes something else of it differs.
    DigestStated {
        /// Which room.
        room: RoomId,
        /// Whose replica.
        by: NodeId,
        /// Number of the input.
        number: u32,
        /// Of all events up to it.
        digest: Digest,
        /// Whether the replica was rebuilt because it differed.
        rebuilt: bool,
    },
    /// A battle's end is recorded; its players are free. `roomClosed` follows from this.
    BattleEnded {
        /// Which room.
        room: RoomId,
        /// `None`: aborted.
        outcome: Option<Outcome>,
        /// The recorded digest of its events, `None` if aborted.
        digest: Option<Digest>,
        /// The sessions in the room, A then B.
        sessions: [SessionKey; 2],
    },
    /// A battle's report got its end.
    ReportClosed {
        /// Whose room's.
        room: RoomId,
        /// The node that renders its messages first.
        home: NodeId,
        /// `Pending`, unless there will be none.
        messages: ReportMessages,
    },
    /// The room's home is another node now.
    HomeMoved {
        /// Which room.
        room: RoomId,
        /// Where to.
        home: NodeId,
    },
    /// An ended room can't be asked for any more.
    RoomRemoved {
        /// Which.
        room: RoomId,
    },
    /// A process of a node was counted out; if it is you and you live, start a new incarnation.
    NodeCountedOut {
        /// Which node.
        node: NodeId,
        /// Which of its processes.
        incarnation: crate::ids::Incarnation,
    },
    /// A session was ended by somebody else than its client, who must not come back by himself.
    SessionEnded {
        /// Whose.
        session: SessionKey,
        /// The connection it had.
        socket: SocketId,
    },
    /// This token and all others of its family are accepted no longer: whoever is connected by one goes.
    TokensRevoked {
        /// The one that was presented.
        token: TokenId,
        /// Whose, if that is known.
        player: Option<PlayerId>,
    },
    /// A player who is kept outside has just proved to be himself, and may be registered since: what a
    /// node has kept in mind of him is old.
    PlayerProved {
        /// Who.
        player: PlayerId,
    },
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SessionOpened { session, socket, node } => {
                write!(f, "session-opened {session} {socket} at {node}")
            }
            Self::SessionClosed { session, socket, node } => {
                write!(f, "session-closed {session} {socket} at {node}")
            }
            Self::TicketAdded { session } => write!(f, "ticket-added {session}"),
            Self::TicketRemoved { session } => write!(f, "ticket-removed {session}"),
            Self::RoomOpened { room, setup, home } => write!(
                f,
                "room-opened {room} A={} B={} home={home}",
                setup.players[0].player, setup.players[1].player
            ),
            Self::MatchFound { session, room, seat, opponent, .. } => {
                write!(f, "match-found {session} {room} seat={seat} opponent={opponent}")
            }
            Self::SeatBound { room, seat, session } => {
                write!(f, "seat-bound {room} {seat} to {session}")
            }
            Self::SeatLost { room, seat, .. } => write!(f, "seat-lost {room} {seat}"),
            Self::SeatBack { room, seat, .. } => write!(f, "seat-back {room} {seat}"),
            Self::InputAppended { room, input } => {
                write!(f, "input {room} #{} {}", input.number, input.input)
            }
            Self::DigestStated { room, by, number, rebuilt, .. } => {
                write!(f, "digest-stated {room} #{number} by {by} rebuilt={rebuilt}")
            }
            Self::BattleEnded { room, outcome: Some(outcome), .. } => {
                write!(f, "battle-ended {room} {outcome}")
            }
            Self::BattleEnded { room, outcome: None, .. } => write!(f, "battle-aborted {room}"),
            Self::ReportClosed { room, home, messages } => {
                write!(f, "report-closed {room} home={home} messages {messages}")
            }
            Self::HomeMoved { room, home } => write!(f, "home-moved {room} to {home}"),
            Self::RoomRemoved { room } => write!(f, "room-removed {room}"),
            Self::NodeCountedOut { node, incarnation } => {
                write!(f, "node-counted-out {node}.{}", incarnation.0)
            }
            Self::SessionEnded { session, socket } => write!(f, "session-ended {session} {socket}"),
            Self::TokensRevoked { token, .. } => write!(f, "tokens-revoked {token}"),
            Self::PlayerProved { player } => write!(f, "player-proved {player}"),
        }
    }
}
