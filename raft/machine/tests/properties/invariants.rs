//! What holds after every applied proposal, whatever was proposed: each promise has a name.
//!
//! What a listener could believe after the effects is the business of `model.rs`; here stands what can
//! be seen by looking at the machine.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serverv2_machine::limits::{
    ADDRESS_LEN_MAX, ANIMATION_TEXT_MAX, CODE_WINDOWS_MAX, CODES_MAX, ENDED_ROOM_LINGER_MS,
    GRACE_MAX_MS, INPUTS_MAX, NAME_CHARS_MAX, NODES_MAX, PACK_ENGINE_LEN_MAX, PACKS_PER_NODE_MAX,
    PLAYERS_MAX, REVOCATIONS_MAX, ROOM_AGE_MAX_MS, ROOMS_MAX, SELECTION_BYTES_MAX, SESSIONS_MAX,
    SESSIONS_PER_PLAYER_MAX, TEAM_BYTES_MAX, TICKETS_MAX, TOKEN_FAMILIES_MAX,
};
use serverv2_machine::{
    Applied, Effect, Input, Machine, MemoryRecords, PlayerId, Records, Seat, SessionKey, Snapshot,
};

type Holds = Result<(), TestCaseError>;

/// All of them, after one proposal. `ticked`: it was a tick, and was applied.
pub(crate) fn all(
    machine: &Machine,
    records: &MemoryRecords,
    applied: &Applied,
    ticked: bool,
) -> Holds {
    a_session_is_in_at_most_one_live_room(machine)?;
    a_session_has_at_most_one_ticket(machine)?;
    a_matched_ticket_is_gone(machine, applied)?;
    the_seats_of_a_room_belong_to_different_players(machine)?;
    a_seat_is_lost_exactly_while_its_session_is_away(machine)?;
    inputs_are_numbered_densely(machine)?;
    nobody_waits_beside_somebody_to_play_with(machine)?;
    counts_and_indexes_agree_with_what_they_count(machine)?;
    the_homes_of_live_rooms_are_live_nodes_if_there_are_any(machine)?;
    a_revocation_holds_until_its_end(machine)?;
    every_limit_holds(machine, records)?;
    nothing_due_is_left_after_a_tick(machine, ticked)?;
    a_snapshot_restores_an_equal_machine(machine, records)
}

fn a_session_is_in_at_most_one_live_room(machine: &Machine) -> Holds {
    let mut seated = BTreeSet::new();
    for room in machine.rooms().filter(|room| room.is_live()) {
        for (seat, view) in Seat::BOTH.into_iter().zip(&room.seats) {
            prop_assert!(seated.insert(view.session), "two live rooms: {}", view.session);
            prop_assert_eq!(machine.live_seat_of(view.session), Some((room.id, seat)));
            prop_assert_eq!(machine.seat_of(view.session), Some((room.id, seat)));
            prop_assert!(machine.has_live_seat(view.session.player));
        }
    }
    Ok(())
}

fn a_session_has_at_most_one_ticket(machine: &Machine) -> Holds {
    let mut queued = BTreeSet::new();
    let mut newest = None;
    for ticket in machine.queue() {
        prop_assert!(queued.insert(ticket.session), "two tickets: {}", ticket.session);
        prop_assert_eq!(machine.ticket(ticket.session), Some(ticket));
        prop_assert!(newest <= Some(ticket.at), "the queue is not in the order of joining");
        newest = Some(ticket.at);
        let connected = machine.session(ticket.session).is_some();
        prop_assert!(connected || ticket.suspended, "{} waits while away", ticket.session);
    }
    Ok(())
}

fn a_matched_ticket_is_gone(machine: &Machine, applied: &Applied) -> Holds {
    for (at, effect) in applied.effects.iter().enumerate() {
        let Effect::MatchFound { session, .. } = effect else { continue };
        let joins =
            |later: &Effect| matches!(later, Effect::TicketAdded { session: it } if it == session);
        let joined_again = applied.effects[at..].iter().any(joins);
        prop_assert!(joined_again || machine.ticket(session).is_none(), "{session} still waits");
    }
    Ok(())
}

fn the_seats_of_a_room_belong_to_different_players(machine: &Machine) -> Holds {
    for room in machine.rooms() {
        let [a, b] = room.seats.map(|seat| seat.session.player);
        prop_assert_ne!(a, b);
        // A seat may go to another session, never to another player.
        prop_assert_eq!([a, b], room.setup.players.each_ref().map(|seat| seat.player));
    }
    Ok(())
}

fn a_seat_is_lost_exactly_while_its_session_is_away(machine: &Machine) -> Holds {
    for room in machine.rooms().filter(|room| room.is_live()) {
        for seat in room.seats {
            let connected = machine.session(seat.session).is_some();
            let here = seat.lost_until.is_none();
            prop_assert!(seat.gone || here == connected, "{} here={here}", seat.session);
            prop_assert!(!(seat.gone && seat.lost_until.is_some()), "gone and awaited");
        }
    }
    Ok(())
}

fn inputs_are_numbered_densely(machine: &Machine) -> Holds {
    for room in machine.rooms() {
        let mut last = room.setup.at;
        for (number, input) in (1..).zip(room.inputs) {
            prop_assert_eq!(input.number, number);
            prop_assert!(last <= input.at, "time goes back in a battle");
            last = input.at;
        }
        prop_assert_eq!(room.last_number() as usize, room.inputs.len());
    }
    Ok(())
}

fn nobody_waits_beside_somebody_to_play_with(machine: &Machine) -> Holds {
    let pairable: BTreeSet<PlayerId> = machine
        .queue()
        .filter(|it| !it.suspended && machine.session(it.session).is_some())
        .filter(|it| machine.live_seat_of(it.session).is_none())
        .map(|it| it.session.player)
        .collect();
    prop_assert!(pairable.len() < 2, "a pair is left");
    Ok(())
}

fn counts_and_indexes_agree_with_what_they_count(machine: &Machine) -> Holds {
    let counts = machine.counts();
    let live = machine.rooms().filter(|room| room.is_live()).count();
    prop_assert_eq!(counts.rooms, machine.rooms().count());
    prop_assert_eq!(counts.players_in_rooms, 2 * live);
    prop_assert_eq!(counts.tickets, machine.queue().count());
    let players: BTreeSet<PlayerId> = machine.sessions().map(|(key, _)| key.player).collect();
    prop_assert_eq!(counts.online_players, players.len());
    let mut held: BTreeMap<_, BTreeSet<SessionKey>> = BTreeMap::new();
    for (key, view) in machine.sessions() {
        prop_assert_eq!(machine.session(&key), Some(view));
        held.entry(view.node).or_default().insert(key);
    }
    for node in machine.nodes() {
        let keys: BTreeSet<SessionKey> = machine.sessions_at(node.id).cloned().collect();
        prop_assert_eq!(keys, held.remove(&node.id).unwrap_or_default());
        prop_assert!(node.live || machine.sessions_at(node.id).next().is_none(), "held by nobody");
    }
    prop_assert!(held.is_empty(), "sessions of nodes that never were: {held:?}");
    Ok(())
}

fn the_homes_of_live_rooms_are_live_nodes_if_there_are_any(machine: &Machine) -> Holds {
    let live: BTreeSet<_> = machine.nodes().filter(|node| node.live).map(|node| node.id).collect();
    let stay: BTreeSet<_> =
        machine.nodes().filter(|node| node.live && !node.draining).map(|node| node.id).collect();
    for room in machine.rooms().filter(|room| room.is_live()) {
        prop_assert!(live.is_empty() || live.contains(&room.home), "home {} is gone", room.home);
        prop_assert!(stay.is_empty() || stay.contains(&room.home), "home {} goes", room.home);
    }
    Ok(())
}

fn a_revocation_holds_until_its_end(machine: &Machine) -> Holds {
    for (token, until) in machine.revocations() {
        prop_assert!(machine.is_revoked(token));
        prop_assert!(machine.next_deadline().is_some_and(|deadline| deadline <= until));
    }
    Ok(())
}

fn every_limit_holds(machine: &Machine, records: &MemoryRecords) -> Holds {
    let now = machine.last_at();
    let mut of_player: BTreeMap<PlayerId, usize> = BTreeMap::new();
    for (key, session) in machine.sessions() {
        *of_player.entry(key.player).or_default() += 1;
        prop_assert!(session.address.len() <= ADDRESS_LEN_MAX);
        prop_assert!(records.player(key.player).is_some(), "a session of nobody");
    }
    prop_assert!(of_player.values().sum::<usize>() <= SESSIONS_MAX);
    prop_assert!(of_player.values().all(|count| *count <= SESSIONS_PER_PLAYER_MAX));
    prop_assert!(machine.counts().tickets <= TICKETS_MAX);
    prop_assert!(machine.queue().all(|ticket| ticket.team.len() <= TEAM_BYTES_MAX));
    prop_assert!(machine.counts().rooms <= ROOMS_MAX);
    for room in machine.rooms() {
        prop_assert!(room.inputs.len() <= INPUTS_MAX as usize);
        prop_assert!(room.inputs.iter().all(|input| fits(&input.input)));
        prop_assert!(room.setup.players.iter().all(|seat| seat.team.len() <= TEAM_BYTES_MAX));
        let latest = now.plus_ms(GRACE_MAX_MS);
        prop_assert!(room.seats.iter().filter_map(|seat| seat.lost_until).all(|at| at <= latest));
        match room.end {
            None => {
                prop_assert!(room.setup.at.plus_ms(ROOM_AGE_MAX_MS) > now || !is_swept(machine));
            }
            Some(end) => prop_assert!(end.remove_at <= end.at.plus_ms(ENDED_ROOM_LINGER_MS)),
        }
    }
    prop_assert!(machine.nodes().count() <= NODES_MAX);
    for node in machine.nodes() {
        prop_assert!(node.packs.len() <= PACKS_PER_NODE_MAX);
        prop_assert!(node.packs.iter().all(|pack| pack.engine.len() <= PACK_ENGINE_LEN_MAX));
    }
    let (families, revoked) = machine.token_counts();
    prop_assert!(families <= TOKEN_FAMILIES_MAX && revoked <= REVOCATIONS_MAX);
    prop_assert!(records.player_count() <= PLAYERS_MAX);
    let (codes, windows) = machine.code_counts();
    prop_assert!(codes <= CODES_MAX && windows <= CODE_WINDOWS_MAX);
    for player in records.players() {
        prop_assert!((1..=NAME_CHARS_MAX).contains(&player.name.chars().count()));
    }
    Ok(())
}

fn fits(input: &Input) -> bool {
    match input {
        Input::Select(_, text) => text.len() <= SELECTION_BYTES_MAX,
        Input::StartAnimation { source, .. } => source.len() <= ANIMATION_TEXT_MAX,
        Input::Ready(_) | Input::EndAnimation { .. } | Input::Leave(..) | Input::Tick => true,
    }
}

/// A proposal that was refused at the door lets nothing happen, however late it is.
fn is_swept(machine: &Machine) -> bool {
    machine.next_deadline().is_none_or(|next| next > machine.last_at())
}

fn nothing_due_is_left_after_a_tick(machine: &Machine, ticked: bool) -> Holds {
    prop_assert!(!ticked || is_swept(machine), "due, not done");
    Ok(())
}

fn a_snapshot_restores_an_equal_machine(machine: &Machine, records: &MemoryRecords) -> Holds {
    let bytes = Snapshot::take(machine, records).encode();
    let (restored, kept) = Snapshot::decode(&bytes).unwrap().restore();
    prop_assert_eq!(&restored, machine);
    let mut read = MemoryRecords::default();
    kept.into_iter().for_each(|(key, value)| read.set(key, Some(value)));
    prop_assert_eq!(restored.digest(&read), machine.digest(records));
    Ok(())
}
