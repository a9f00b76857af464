//! What battles cost: loading a pack, playing a turn with both viewers' deltas as JSON, replaying.
//!
//! Run with `cargo bench --bench battle`. It prints and checks nothing; numbers belong to a machine.

use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serverv2::battle::delta::Delta;
use serverv2::battle::engine::{Battle, BattleEngine, Call, Sink, Viewer, Visible};
use serverv2::battle::message::Message;
use serverv2::battle::starter::sample_team_from;
use serverv2::battle::team::normalize;
use serverv2::battle::view::BattleView;
use serverv2::battle::{BuiltinEngine, Pack};
use serverv2_machine::{BattleSetup, Clocks, LogTime, NanoId, PlayerId, Seat, SetupSeat, WallTime};

const LOADS: u32 = 50;
const BATTLES: u32 = 300;
/// About what a studio's pack has.
const LARGE_SPECIES: usize = 150;
const LARGE_SKILLS: usize = 1_000;

/// What the host does for two sockets: view, delta, JSON.
#[derive(Default)]
struct TwoSockets {
    last: [Option<BattleView>; 2],
    messages: u64,
    bytes: u64,
}

impl Sink for TwoSockets {
    fn message(&mut self, message: Message, state: &dyn Visible) {
        self.messages += 1;
        for (seat, last) in Seat::BOTH.into_iter().zip(&mut self.last) {
            let view = state.view(Viewer::Player(seat));
            let delta = Delta::between(last.as_ref(), &view);
            let text = serde_json::to_string(&message.on_wire(delta.as_ref()));
            self.bytes += text.map_or(0, |text| black_box(text).len() as u64);
            *last = Some(view);
        }
    }
}

/// Nobody listens: what a rebuild costs until it has caught up.
struct Nobody;

impl Sink for Nobody {
    fn message(&mut self, message: Message, _state: &dyn Visible) {
        black_box(message);
    }
}

fn setup(engine: &BuiltinEngine, pack: &Pack, number: u32) -> BattleSetup {
    let players = Seat::BOTH.map(|seat| {
        let player: PlayerId = seat.to_string().repeat(21).parse().expect("21 letters");
        let mut count = 0;
        let mut fresh = || {
            count += 1;
            NanoId::from_entropy(&[count; 32])
        };
        let variant = number as usize + seat.index() * 7;
        let payload = sample_team_from(pack, player, "player", variant, 6);
        let team = normalize(Some(&payload), player, &mut fresh).expect("sample teams are valid");
        SetupSeat {
            player,
            session: "session".parse().expect("a session id"),
            name: "player".into(),
            team: team.into(),
        }
    });
    let mut seed = [0; 16];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    let clocks = Clocks { turn_s: 30, total_s: 1500, animation_max_ms: 20_000 };
    let (pack, at, wall) = (engine.reference().clone(), LogTime(0), WallTime(0));
    BattleSetup { pack, seed, players, clocks, at, wall }
}

/// Plays to the end, taking one thing after another of what is available; gives the turns.
fn play(battle: &mut dyn Battle, number: u32, sink: &mut dyn Sink) -> (u32, u32) {
    let call = |input| Call { now: LogTime(0), wall: WallTime(0), input };
    let mut progress = battle.start(call(1), sink);
    let mut input = 1;
    while progress.result.is_none() {
        let seat = progress.pending[0];
        let available = battle.available(seat);
        // All but surrender, which is last.
        let choice = (number + input) as usize % (available.len() - 1);
        input += 1;
        (_, progress) = battle.submit(seat, &available[choice], call(input), sink);
    }
    (battle.view(Viewer::Observer).current_turn, input)
}

/// Writes a pack of the size of a studio's, with merge keys.
fn write_large_pack(folder: &Path) -> std::io::Result<()> {
    let manifest = r#"{"id": "large", "version": "1", "data": {"species": ["species.yaml"],
        "skills": ["skills.yaml"]}}"#;
    std::fs::write(folder.join("pack.json"), manifest)?;
    let mut species = String::new();
    for number in 0..LARGE_SPECIES {
        _ = write!(
            species,
            "- id: pet_{number}\n  num: {number}\n  element: Fire\n  baseStats: {{hp: 80, atk: 80, \
             def: 80, spa: 80, spd: 80, spe: 80}}\n  genderRatio: [50, 50]\n  heightRange: [1, 2]\n  \
             weightRange: [1, 2]\n  ability: [mark_a{number}]\n  emblem: [mark_b]\n  \
             learnable_skills:\n"
        );
        for skill in 0..20 {
            let level = skill * 5;
            let skill = (number * 7 + skill) % LARGE_SKILLS;
            _ = writeln!(
                species,
                "    - {{skill_id: skill_{skill}, level: {level}, hidden: false}}"
            );
        }
    }
    std::fs::write(folder.join("species.yaml"), species)?;
    let mut skills = String::from(
        "- &base {id: skill_0, element: Fire, category: Physical, target: opponent, power: 60, \
         rage: 20, accuracy: 95}\n",
    );
    for number in 1..LARGE_SKILLS {
        _ = write!(
            skills,
            "- <<: *base\n  id: skill_{number}\n  element: Water\n  power: {}\n  tags: [a, b]\n  \
             effect: [effect_{number}]\n",
            number % 150
        );
    }
    std::fs::write(folder.join("skills.yaml"), skills)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut report = String::new();
    let started = Instant::now();
    for _ in 0..LOADS {
        black_box(Pack::starter());
    }
    let load = started.elapsed() / LOADS;
    _ = writeln!(report, "load the starter pack            {load:?}");

    let folder = tempfile::tempdir()?;
    write_large_pack(folder.path())?;
    let started = Instant::now();
    let large = Pack::from_folder(folder.path())?;
    assert_eq!(large.all_skills().count(), LARGE_SKILLS);
    _ = writeln!(report, "load a pack of a studio's size   {:?}", started.elapsed());

    let pack = Arc::new(Pack::starter());
    let engine = BuiltinEngine::new(pack.clone());
    let setups: Vec<_> = (0..BATTLES).map(|number| setup(&engine, &pack, number)).collect();
    let started = Instant::now();
    let battles: Vec<_> = setups.iter().map(|setup| engine.init(setup)).collect();
    let init = started.elapsed() / BATTLES;
    _ = writeln!(report, "init (two teams of six)          {init:?}");

    let mut sockets = TwoSockets::default();
    let (mut turns, mut inputs) = (0, 0);
    let started = Instant::now();
    for (number, battle) in (0..).zip(battles) {
        let mut battle = battle.expect("sample teams fit the pack");
        sockets.last = [None, None];
        let played = play(&mut *battle, number, &mut sockets);
        (turns, inputs) = (turns + played.0, inputs + played.1);
    }
    let turn = started.elapsed() / turns;
    let per_turn = |sum: u64| sum / u64::from(turns);
    _ = writeln!(report, "turn with both viewers' JSON     {turn:?}");
    _ = writeln!(report, "  messages per turn              {}", per_turn(sockets.messages));
    _ = writeln!(report, "  bytes per turn, both viewers   {}", per_turn(sockets.bytes));

    let battles: Vec<_> = setups.iter().map(|setup| engine.init(setup)).collect();
    let started = Instant::now();
    for (number, battle) in (0..).zip(battles) {
        play(&mut *battle.expect("as before"), number, &mut Nobody);
    }
    let elapsed = started.elapsed();
    _ = writeln!(report, "turn while catching up           {:?}", elapsed / turns);
    _ = writeln!(report, "  one input                      {:?}", elapsed / inputs);
    println!("{report}");
    Ok(())
}
