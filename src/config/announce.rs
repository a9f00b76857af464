//! Settings of what is told to sockets beside the game.

use super::Problem;
use crate::gateway::wire::is_free_name;

/// Names in one list.
const EVENTS_MAX: usize = 64;

/// What may be announced, and how Node processes take part.
#[derive(Clone, Debug, Default)]
pub struct AnnounceSettings {
    /// Events that admins may announce.
    pub events: Vec<String>,
    /// Whether Node processes at the same Redis take part.
    pub node_interop: bool,
    /// Events of theirs that pass, and of ours that they hear.
    pub node_events: Vec<String>,
    /// What their channels begin with.
    pub node_key: String,
}

impl AnnounceSettings {
    pub(super) fn check(&self, has_redis: bool, problems: &mut Vec<Problem>) {
        if self.node_interop && !has_redis {
            problems.push(Problem::text(
                "NODE_INTEROP is true: REDIS_URL or REDIS_HOST must name the Redis of the Node processes"
                    .into(),
            ));
        }
    }
}

/// Names of events with commas between them; `None`: one is no name, or is one of the game's.
pub(super) fn events(text: &str) -> Option<Vec<String>> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    let fine = names.len() <= EVENTS_MAX && names.iter().all(|name| is_free_name(name));
    fine.then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::wire::{Event, Push};

    #[test]
    fn events_of_the_game_and_of_the_libraries_can_not_be_announced() {
        assert_eq!(events("news, shop").unwrap(), ["news", "shop"]);
        let game = Push::ALL.map(Push::name).into_iter().chain(Event::ALL.map(Event::name));
        for bad in game.chain(["", "connect", "disconnect", "pong", "a b", "news,", "nöws"]) {
            assert_eq!(events(bad), None, "{bad}");
        }
    }
}
