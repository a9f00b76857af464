//! What the mirror says of a thing: a function of the state alone, so that two leaders say the same of the
//! same index.

use serde_json::json;
use serverv2_machine::{
    Input, Login, Machine, NodeId, PlayerId, RoomId, RoomView, Seat, TokenPair,
};

use super::marks::Thing;
use crate::redis::keys;

/// Logins of one player that others see (contract 1.8).
const LOGINS_MAX: usize = 5;

/// What is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A hash with these fields, for so many milliseconds.
    Hash { key: String, fields: Vec<(&'static str, String)>, life_ms: Option<u64> },
    /// Nothing.
    Nothing { key: String },
    /// One of a player's logins.
    Login(ToldLogin),
    /// This player in the queue's set, or not.
    Queued { player: PlayerId, there: bool },
}

/// A hash of a login, for so many milliseconds. When it was first told of stays with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToldLogin {
    pub(super) key: String,
    pub(super) player: PlayerId,
    /// Its name.
    pub(super) session: String,
    /// What it has instead of its tokens.
    pub(super) pair: TokenPair,
    /// When its tokens were given: if it was told of never before, it began then.
    pub(super) given_ms: u64,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) life_ms: u64,
}

/// How instances are called.
pub(super) struct Names {
    pub(super) prefix: String,
    pub(super) me: NodeId,
    pub(super) instance: String,
}

impl Names {
    /// Other nodes' names are known by their ids alone.
    fn instance(&self, node: NodeId) -> String {
        if node == self.me { self.instance.clone() } else { format!("node-{}", node.0) }
    }
}

/// What the mirror should say of this thing.
pub(super) fn project(machine: &Machine, names: &Names, thing: Thing, wanted: &mut Vec<Wanted>) {
    match thing {
        Thing::Room(id) => wanted.push(room(machine, names, id)),
        Thing::Player(id) => wanted.push(player(machine, names, id)),
        Thing::Seats(id) => {
            let seats = machine.room(id).map(|room| room.seats.map(|seat| seat.session.player));
            let players = seats.into_iter().flatten();
            wanted.extend(players.map(|id| player(machine, names, id)));
        }
        Thing::Ticket(id) => ticket(machine, names, id, wanted),
        // Most players have none, and then there is nothing to remove either.
        Thing::LoginsIfAny(id) if shown(machine, id).next().is_none() => {}
        Thing::Logins(id) | Thing::LoginsIfAny(id) => logins(machine, names, id, wanted),
        Thing::Login(id, family) => {
            if !shown(machine, id).any(|login| login.family == family) {
                let key = keys::login(&names.prefix, &id, &family);
                wanted.push(Wanted::Nothing { key });
            }
        }
    }
}

fn room(machine: &Machine, names: &Names, id: RoomId) -> Wanted {
    let key = keys::room(&names.prefix, &id);
    let Some(room) = machine.room(id) else { return Wanted::Nothing { key } };
    let status = match (room.is_live(), has_started(&room)) {
        (false, _) => "ended",
        (true, true) => "active",
        (true, false) => "waiting",
    };
    let created = room.setup.wall.0;
    let active = room.inputs.last().map_or(created, |input| input.wall.0);
    let players = room.setup.players.each_ref().map(|seat| seat.player.to_string());
    let sessions = room.seats.map(|seat| seat.session.session.as_str().to_owned());
    let outcome = room.end.map(|end| match end.result {
        Some((outcome, _)) => json!({
            "reason": outcome.reason,
            "winner": outcome.winner.map(|seat| players[seat.index()].clone()),
        }),
        None => json!({"reason": "aborted"}),
    });
    let fields = vec![
        ("id", id.to_string()),
        ("status", status.to_owned()),
        ("players", json!(players).to_string()),
        ("sessions", json!(sessions).to_string()),
        ("instanceId", names.instance(room.home)),
        ("lastActive", active.to_string()),
        ("metadata", json!({"createdAt": created, "outcome": outcome}).to_string()),
    ];
    Wanted::Hash { key, fields, life_ms: None }
}

/// Ready comes first in every battle, so this looks at a handful of inputs.
fn has_started(room: &RoomView<'_>) -> bool {
    Seat::BOTH.iter().all(|seat| {
        room.inputs.iter().any(|input| matches!(&input.input, Input::Ready(s) if s == seat))
    })
}

/// The newest of a player's connections, or the loss that a battle waits for.
fn player(machine: &Machine, names: &Names, id: PlayerId) -> Wanted {
    let key = keys::connection(&names.prefix, &id);
    let newest = machine.sessions_of(id).max_by_key(|(_, session)| session.opened);
    let (session, instance, socket, seen, status) = if let Some((key, session)) = newest {
        let instance = names.instance(session.node);
        (key.session, instance, session.socket.to_string(), session.opened.0, "connected")
    } else {
        let mut lost = machine.live_rooms_of(id).filter_map(|room| {
            let seats = room.seats.iter();
            let mut mine = seats.filter(|seat| seat.session.player == id);
            let seat = mine.find(|seat| seat.lost_until.is_some())?;
            let seen = room.inputs.last().map_or(room.setup.wall.0, |input| input.wall.0);
            Some((seat.session.session.clone(), seen))
        });
        let Some((session, seen)) = lost.next() else { return Wanted::Nothing { key } };
        (session, String::new(), String::new(), seen, "disconnected")
    };
    let fields = vec![
        ("playerId", id.to_string()),
        ("sessionId", session.as_str().to_owned()),
        ("instanceId", instance),
        ("socketId", socket),
        ("lastSeen", seen.to_string()),
        ("status", status.to_owned()),
    ];
    Wanted::Hash { key, fields, life_ms: None }
}

/// The first of a player's tickets; suspended ones count, as they do in the queue's size.
fn ticket(machine: &Machine, names: &Names, id: PlayerId, wanted: &mut Vec<Wanted>) {
    let key = keys::queued(&names.prefix, &id);
    let first = machine.tickets_of(id).min_by_key(|ticket| ticket.at);
    wanted.push(Wanted::Queued { player: id, there: first.is_some() });
    let Some(ticket) = first else { return wanted.push(Wanted::Nothing { key }) };
    let fields = vec![
        ("playerId", id.to_string()),
        ("sessionId", ticket.session.session.as_str().to_owned()),
        ("joinTime", ticket.wall.0.to_string()),
        ("playerData", ticket.team.to_string()),
    ];
    wanted.push(Wanted::Hash { key, fields, life_ms: None });
}

/// The logins that others see: a player's newest.
pub(super) fn shown(machine: &Machine, id: PlayerId) -> impl Iterator<Item = Login> {
    machine.logins_of(id).take(LOGINS_MAX)
}

/// A player's logins.
fn logins(machine: &Machine, names: &Names, id: PlayerId, wanted: &mut Vec<Wanted>) {
    let newest_key = keys::newest_login(&names.prefix, &id);
    let newest = machine.logins_of(id).next();
    wanted.push(match newest {
        Some(login) => told_login(machine, names, newest_key, id, &login),
        None => Wanted::Nothing { key: newest_key },
    });
    for login in shown(machine, id) {
        let key = keys::login(&names.prefix, &id, &login.family);
        wanted.push(told_login(machine, names, key, id, &login));
    }
    // A login more has pushed one out.
    wanted.extend(
        machine
            .logins_of(id)
            .nth(LOGINS_MAX)
            .map(|login| Wanted::Nothing { key: keys::login(&names.prefix, &id, &login.family) }),
    );
}

/// `instanceId` is where the player's newest connection is, as in `player:connections`.
fn told_login(
    machine: &Machine,
    names: &Names,
    key: String,
    player: PlayerId,
    login: &Login,
) -> Wanted {
    let TokenPair { access, refresh, issued_s, access_expires_s, refresh_expires_s } = login.pair;
    let ms = |seconds: u64| seconds.saturating_mul(1_000);
    let connected = machine.sessions_of(player).max_by_key(|(_, session)| session.opened);
    let instance = connected.map_or_else(String::new, |(_, session)| names.instance(session.node));
    let fields = vec![
        ("playerId", player.to_string()),
        ("accessJti", access.to_string()),
        ("refreshJti", refresh.to_string()),
        ("accessExpiry", ms(access_expires_s).to_string()),
        ("expiry", ms(refresh_expires_s).to_string()),
        ("instanceId", instance),
        ("lastAccessed", ms(issued_s).to_string()),
        ("metadata", "{}".to_owned()),
    ];
    Wanted::Login(ToldLogin {
        key,
        player,
        session: login.family.to_string(),
        pair: login.pair,
        given_ms: ms(issued_s),
        fields,
        life_ms: login.end.ms_since(machine.log_time()).max(1),
    })
}
