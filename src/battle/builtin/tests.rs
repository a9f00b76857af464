//! The built-in rules from outside: through the same calls the host makes.
//!
//! `testscripts/` plays chosen battles and shows every message; `random.rs` plays many, and checks
//! what must hold in all of them. Both listen through `client.rs`, which does what clients do.

mod client;
mod own_pack;
mod random;
mod script;

use std::sync::{Arc, LazyLock};

use serde_json::Value;
use serverv2_machine::{BattleSetup, Clocks, LogTime, NanoId, PlayerId, Seat, SetupSeat, WallTime};

use crate::battle::engine::{BattleEngine, Call};
use crate::battle::team::normalize;
use crate::battle::{BuiltinEngine, Pack};

static PACK: LazyLock<Arc<Pack>> = LazyLock::new(|| Arc::new(Pack::starter()));
static ENGINE: LazyLock<BuiltinEngine> = LazyLock::new(|| BuiltinEngine::new(PACK.clone()));

const CLOCKS: Clocks = Clocks { turn_s: 30, total_s: 1500, animation_max_ms: 20_000 };

fn player(seat: Seat) -> PlayerId {
    seat.to_string().repeat(21).parse().unwrap()
}

/// A set-up of two payloads as clients send them.
fn setup(engine: &BuiltinEngine, teams: [Value; 2], seed: u64, clocks: Clocks) -> BattleSetup {
    let players = Seat::BOTH.map(|seat| {
        // Like every id of a client, unique to its team and no further.
        let mut count = 0_u32;
        let mut fresh = || {
            count += 1;
            format!("pet-{count:017}").parse::<NanoId>().unwrap()
        };
        let team = normalize(&teams[seat.index()], player(seat), &mut fresh).unwrap();
        assert!(engine.knows_team(&team));
        SetupSeat {
            player: player(seat),
            session: "s".parse().unwrap(),
            name: "account".into(),
            team: team.into(),
        }
    });
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    BattleSetup {
        pack: engine.reference().clone(),
        seed: bytes,
        players,
        clocks,
        at: LogTime(0),
        wall: WallTime(1_750_000_000_000),
    }
}

fn call(now_ms: u64, input: u32) -> Call {
    Call { now: LogTime(now_ms), wall: WallTime(1_750_000_000_000 + now_ms), input }
}
