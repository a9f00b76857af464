//! What listens to a battle under test: both players' clients and the report.
//!
//! Each keeps a copy of the state out of nothing but the deltas it was sent, and fails as soon as
//! that copy differs from the view, a number is skipped, or something shows that must be hidden.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use serverv2_machine::{NanoId, Seat};
use sha2::{Digest, Sha256};

use crate::battle::delta::Delta;
use crate::battle::engine::{Sink, Target, Viewer, Visible};
use crate::battle::message::{Event, Message};
use crate::battle::patch::patch;
use crate::battle::view::{BattleView, Category, Element, Multihit, PetView, SkillView};

pub(super) const VIEWERS: [Viewer; 3] =
    [Viewer::Player(Seat::A), Viewer::Player(Seat::B), Viewer::Observer];

/// How closely clients look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// Patch and compare the whole state at every message.
    Patch,
    /// Write each message as sent, for the digest.
    Write,
    /// Look at what each player's view holds only.
    Look,
}

pub(super) struct Clients {
    care: Care,
    copies: [Client; 3],
    next_sequence: u64,
    digest: Sha256,
    /// Since the last [`Clients::take`]: each message with the three deltas.
    told: Vec<(Message, [Option<Value>; 3])>,
    /// Pets that have been in battle and skills that were used, by what was told.
    seen: BTreeSet<NanoId>,
    /// Whose pets have which ids and names that nothing else contains.
    secrets: Vec<(Seat, NanoId, String)>,
    pub(super) messages: u64,
}

#[derive(Default)]
struct Client {
    last: Option<BattleView>,
    copy: Value,
    /// What `copy` must be: the last view as a client reads it.
    read: Value,
}

impl Client {
    /// Reads a view; of pets that are as in the last one, the former reading serves.
    fn read(&mut self, view: &BattleView) {
        let mut former = std::mem::take(&mut self.read);
        let mut rest = view.clone();
        let teams = rest.players.each_mut().map(|player| std::mem::take(&mut player.team));
        let mut read = as_read(&rest);
        read.as_object_mut().unwrap().remove("sequenceId");
        for (seat, team) in teams.iter().enumerate() {
            let last = self.last.as_ref().map_or(&[][..], |last| &last.players[seat].team);
            let pets = team.iter().enumerate().map(|(place, pet)| match last.get(place) {
                Some(same) if same == pet => former["players"][seat]["team"][place].take(),
                _ => as_read(pet),
            });
            read["players"][seat]["team"] = pets.collect();
        }
        self.read = read;
    }
}

/// Through text like the deltas: reading a fraction may lose its last bit.
fn as_read(value: &impl serde::Serialize) -> Value {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

impl Clients {
    pub(super) fn new(care: Care) -> Self {
        let client = || Client { last: None, copy: json!({}), read: Value::Null };
        Self {
            care,
            copies: [client(), client(), client()],
            next_sequence: 0,
            digest: Sha256::new(),
            told: Vec::new(),
            seen: BTreeSet::new(),
            secrets: Vec::new(),
            messages: 0,
        }
    }

    /// The messages since the last time, with the deltas of A, B and the observer.
    pub(super) fn take(&mut self) -> Vec<(Message, [Option<Value>; 3])> {
        std::mem::take(&mut self.told)
    }

    /// Of everything that was sent to anybody.
    pub(super) fn digest(self) -> [u8; 32] {
        self.digest.finalize().into()
    }

    /// Learns what may be seen from the start: both starters.
    pub(super) fn look_before_start(&mut self, state: &dyn Visible) {
        let view = state.view(Viewer::Observer);
        assert_eq!(view.sequence_id, None);
        self.seen.extend(view.players.iter().map(|player| player.active_pet));
        for (seat, player) in Seat::BOTH.into_iter().zip(&view.players) {
            let secret = player.team.iter().filter(|pet| pet.name.starts_with("secret"));
            let secret = secret.map(|pet| (seat, pet.id, pet.name.to_string()));
            self.secrets.extend(secret);
        }
        for viewer in VIEWERS {
            self.check_hidden(viewer, &state.view(viewer));
        }
    }

    /// Nothing a player is sent names a pet of the opponent that has not appeared.
    fn check_text(&self, viewer: Viewer, sent: &str) {
        for (seat, id, name) in &self.secrets {
            let hidden = viewer == Viewer::Player(seat.opponent()) && !self.seen.contains(id);
            assert!(!hidden || !sent.contains(name.as_str()), "{sent}");
        }
    }

    fn check_hidden(&self, viewer: Viewer, view: &BattleView) {
        for (seat, player) in Seat::BOTH.into_iter().zip(&view.players) {
            let own = viewer == Viewer::Observer || viewer == Viewer::Player(seat);
            assert_eq!(player.modifier_state.is_some(), own);
            for pet in &player.team {
                let may_see = own || self.seen.contains(&pet.id);
                self.check_pet(pet, own, may_see);
            }
        }
    }

    fn check_pet(&self, pet: &PetView, own: bool, may_see: bool) {
        assert_eq!((pet.stats.is_some(), pet.modifier_state.is_some()), (own, own));
        assert_eq!((pet.is_unknown, pet.skills.is_some()), (!may_see, may_see));
        if !may_see {
            let empty = pet.name.is_empty() && pet.species_id.is_empty() && pet.marks.is_empty();
            assert!(empty && pet.element == Element::Normal, "{pet:?}");
            assert_eq!((pet.level, pet.current_hp, pet.max_hp), (0, 0, 0));
        }
        for skill in pet.skills.iter().flat_map(|skills| skills.iter()) {
            let may_see = own || self.seen.contains(&skill.id);
            assert_eq!((skill.is_unknown, skill.modifier_state.is_some()), (!may_see, own));
            if !may_see {
                check_placeholder(skill);
            }
        }
    }
}

fn check_placeholder(skill: &SkillView) {
    let expected = SkillView {
        is_unknown: true,
        id: skill.id,
        base_id: Arc::default(),
        category: Category::Physical,
        element: Element::Normal,
        power: 0,
        rage: 0,
        accuracy: 0,
        priority: 0,
        target: Target::Opponent,
        multihit: Multihit::Fixed(1),
        sure_hit: false,
        tag: Arc::default(),
        modifier_state: None,
    };
    assert_eq!(*skill, expected);
}

impl Sink for Clients {
    fn message(&mut self, message: Message, state: &dyn Visible) {
        assert_eq!(message.sequence_id, self.next_sequence, "numbers are dense from 0");
        self.next_sequence += 1;
        self.messages += 1;
        match &message.event {
            Event::PetSwitch { to_pet, .. } => self.seen.insert(*to_pet),
            Event::SkillUse { skill, .. } => self.seen.insert(*skill),
            _ => false,
        };
        let mut deltas = [None, None, None];
        for (index, viewer) in VIEWERS.into_iter().enumerate() {
            let view = state.view(viewer);
            assert_eq!(view.sequence_id, Some(message.sequence_id));
            self.check_hidden(viewer, &view);
            if self.care == Care::Look {
                continue;
            }
            let delta = Delta::between(self.copies[index].last.as_ref(), &view);
            let sent = serde_json::to_string(&message.on_wire(delta.as_ref())).unwrap();
            self.check_text(viewer, &sent);
            self.digest.update(&sent);
            let client = &mut self.copies[index];
            if self.care == Care::Patch {
                let mut sent: Value = serde_json::from_str(&sent).unwrap();
                if let Some(delta) = sent.get_mut("stateDelta").map(Value::take) {
                    patch(&mut client.copy, &delta);
                    deltas[index] = Some(delta);
                }
                client.read(&view);
                assert_eq!(client.copy, client.read, "after {message:?} for {viewer:?}");
            }
            client.last = Some(view);
        }
        if self.care == Care::Patch {
            self.told.push((message, deltas));
        }
    }
}
