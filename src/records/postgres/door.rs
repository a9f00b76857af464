//! Players as they were seen at the handshake, kept in mind for [`FRESH_FOR`], so that players whose
//! connection breaks can come back while the database is away, and a crowd that reconnects does not ask it
//! all at once.
//!
//! A guest who has become registered must be let in by token alone, from then on. Whoever binds an address
//! forgets him here, and the log tells all other nodes to do the same with the tokens that follow. A look
//! at the database that began before somebody was forgotten is not kept.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serverv2_machine::{Player, PlayerId};

/// How long a player is kept in mind.
const FRESH_FOR: Duration = Duration::from_secs(30);
/// How many are; when that many are fresh, all are forgotten.
const PLAYERS_MAX: usize = 20_000;

/// See the module's text.
#[derive(Default)]
pub(super) struct Door(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    players: HashMap<PlayerId, (Instant, Player)>,
    /// How often somebody was forgotten.
    forgotten: u64,
}

/// When somebody began to look at the database.
#[derive(Clone, Copy)]
pub(super) struct Look(u64);

impl Door {
    /// The player, if he was seen lately.
    pub(super) fn seen(&self, id: PlayerId, now: Instant) -> Option<Player> {
        let seen = self.0.lock();
        let (at, player) = seen.players.get(&id)?;
        is_fresh(*at, now).then(|| player.clone())
    }

    /// Somebody is about to look.
    pub(super) fn look(&self) -> Look {
        Look(self.0.lock().forgotten)
    }

    /// This was seen, by a look that began then.
    pub(super) fn remember(&self, look: Look, player: &Player, now: Instant) {
        let mut seen = self.0.lock();
        if seen.forgotten != look.0 {
            return;
        }
        if seen.players.len() >= PLAYERS_MAX {
            seen.players.retain(|_, (at, _)| is_fresh(*at, now));
        }
        if seen.players.len() >= PLAYERS_MAX {
            seen.players.clear();
        }
        seen.players.insert(player.id, (now, player.clone()));
    }

    /// What was seen of this player is old.
    pub(super) fn forget(&self, id: PlayerId) {
        let mut seen = self.0.lock();
        seen.players.remove(&id);
        seen.forgotten += 1;
    }

    /// What was seen of anybody is old.
    pub(super) fn forget_all(&self) {
        let mut seen = self.0.lock();
        seen.players.clear();
        seen.forgotten += 1;
    }
}

fn is_fresh(at: Instant, now: Instant) -> bool {
    now.duration_since(at) < FRESH_FOR
}

#[cfg(test)]
mod tests {
    use serverv2_machine::WallTime;

    use super::*;

    fn player(id: &str) -> Player {
        let at = WallTime(0);
        let id = id.parse().unwrap();
        let name = "Ann".into();
        Player { id, name, created: at, last_login: at, email: None, email_bound: None }
    }

    #[test]
    fn who_was_seen_is_known_for_half_a_minute() {
        let (door, ann, at) = (Door::default(), player("AAAAAAAAAAAAAAAAAAAAA"), Instant::now());
        door.remember(door.look(), &ann, at);
        let last = at + FRESH_FOR - Duration::from_millis(1);
        assert_eq!(door.seen(ann.id, last), Some(ann.clone()));
        assert_eq!(door.seen(ann.id, at + FRESH_FOR), None);
    }

    #[test]
    fn a_look_from_before_somebody_was_forgotten_is_not_kept() {
        let (door, ann, at) = (Door::default(), player("AAAAAAAAAAAAAAAAAAAAA"), Instant::now());
        let look = door.look();
        door.forget(ann.id);
        door.remember(look, &ann, at);
        assert_eq!(door.seen(ann.id, at), None);
        door.remember(door.look(), &ann, at);
        assert_eq!(door.seen(ann.id, at), Some(ann.clone()));
        door.forget_all();
        assert_eq!(door.seen(ann.id, at), None);
    }

    #[test]
    fn no_more_are_kept_in_mind_than_fit() {
        let (door, at) = (Door::default(), Instant::now());
        for number in 0..=PLAYERS_MAX {
            door.remember(door.look(), &player(&format!("{number:021}")), at);
        }
        assert!(door.0.lock().players.len() <= PLAYERS_MAX);
        let newest = player(&format!("{PLAYERS_MAX:021}"));
        assert_eq!(door.seen(newest.id, at), Some(newest));
    }
}
