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

use self::client::{Care, Clients};
use crate::battle::engine::{AnimationRequest, AnimationStart, BattleEngine, Call, Viewer};
use crate::battle::starter::sample_team;
use crate::battle::team::normalize;
use crate::battle::{BuiltinEngine, Pack};

static PACK: LazyLock<Arc<Pack>> = LazyLock::new(|| Arc::new(Pack::starter()));
static ENGINE: LazyLock<BuiltinEngine> = LazyLock::new(|| BuiltinEngine::new(PACK.clone()));

const CLOCKS: Clocks = Clocks { turn_s: 30, total_s: 1500, animation_max_ms: 20_000 };

fn player(seat: Seat) -> PlayerId {
    seat.to_string().repeat(21).parse().unwrap()
}

/// A set-up of two payloads as clients send them.
fn setup(engine: &BuiltinEngine, teams: &[Value; 2], seed: u64, clocks: Clocks) -> BattleSetup {
    let players = Seat::BOTH.map(|seat| {
        // Like every id of a client, unique to its team and no further.
        let mut count = 0_u32;
        let mut fresh = || {
            count += 1;
            format!("pet-{count:017}").parse::<NanoId>().unwrap()
        };
        let team = normalize(Some(&teams[seat.index()]), player(seat), &mut fresh).unwrap();
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

/// A set-up of two sample teams.
pub(crate) fn sample_setup() -> BattleSetup {
    let teams = Seat::BOTH.map(|seat| sample_team(player(seat), "n", seat.index()));
    setup(&ENGINE, &teams, 1, CLOCKS)
}

fn animation(by: Seat, owner: Seat, expected_ms: u32) -> AnimationRequest<'static> {
    AnimationRequest { by, owner, source: "source", expected_ms }
}

fn call(now_ms: u64, input: u32) -> Call {
    Call { now: LogTime(now_ms), wall: WallTime(1_750_000_000_000 + now_ms), input }
}

#[test]
fn a_set_up_that_is_none_is_refused_and_never_panics() {
    let good = sample_setup();
    assert!(ENGINE.init(&good).is_ok());
    let refused = |team: &str| {
        let mut bad = good.clone();
        bad.players[1].team = team.into();
        assert!(!ENGINE.knows_team(team));
        ENGINE.init(&bad).err().expect("refused").0
    };
    for team in ["", "null", "[]", "{}", "{\"team\": []}", "\u{0}", &"[".repeat(16_384)] {
        assert!(refused(team).starts_with("team of player B: "), "{team}");
    }
    let text = &good.players[1].team;
    assert_eq!(refused(&text.replace("pet_", "pet_no_")), "team of player B: not of this pack");
    let skill = text.replacen("\"skill_", "\"skill_no_", 1);
    assert_eq!(refused(&skill), "team of player B: not of this pack");
    let mark = text.replace("mark_ability_", "mark_no_");
    assert_eq!(refused(&mark), "team of player B: not of this pack");

    let mut foreign = good.clone();
    foreign.players.swap(0, 1);
    foreign.players[0].player = player(Seat::A);
    let error = ENGINE.init(&foreign).err().expect("refused").0;
    assert_eq!(error, "team of player A: of another player");
    let mut other = good;
    other.pack.engine = "builtin/0".into();
    assert!(ENGINE.init(&other).is_err());
}

#[test]
fn pets_of_both_teams_have_ids_of_their_own() {
    let battle = ENGINE.init(&sample_setup()).unwrap();
    let view = battle.view(Viewer::Observer);
    let ids = |seat: Seat| view.players[seat.index()].team.iter().map(|pet| pet.id);
    assert!(ids(Seat::A).all(|id| ids(Seat::B).all(|other| other != id)));
    // The older ticket's pets keep the ids its client knows.
    assert_eq!(ids(Seat::A).next().unwrap().as_str(), "pet-00000000000000001");
}

#[test]
fn nobody_uses_up_the_animations_of_his_opponent() {
    let mut battle = ENGINE.init(&sample_setup()).unwrap();
    let mut clients = Clients::new(Care::Look);
    clients.look_before_start(&*battle);
    battle.start(call(0, 1), &mut clients);
    let mut begin = |by, owner, input| {
        let (start, _) =
            battle.start_animation(&animation(by, owner, 1_000), call(0, input), &mut clients);
        let AnimationStart::Started { id } = start else { return false };
        battle.end_animation(&id, call(0, input + 1), &mut clients);
        true
    };
    let begun = (1..1_000).take_while(|round| begin(Seat::A, Seat::B, 2 * round)).count();
    assert_eq!(begun, 64, "a turn's worth, whoever owns them");
    assert!(begin(Seat::B, Seat::B, 2_000));
}
