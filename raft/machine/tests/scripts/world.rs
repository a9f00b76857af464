//! What a script runs in: one machine, and the short names of everything in it.

use std::collections::BTreeMap;
use std::error::Error;

use goldenscript::{ArgumentConsumer, Context, Runner};
use serverv2_machine::{
    Effect, Entry, Floor, Incarnation, Issued, KeyScope, LATEST_LEVEL, LogTime, Machine,
    MemoryRecords, NanoId, NodeId, PlayerId, Position, Proposal, Records, Reply, RequestId, RoomId,
    ScopedKey, SessionKey, Snapshot, TokenId, WallTime,
};

pub(crate) type Failure = Box<dyn Error>;

/// A machine, its records, and the short names of everything in it.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) machine: Machine,
    pub(crate) records: MemoryRecords,
    now: u64,
    index: u64,
    pub(crate) incarnations: BTreeMap<NodeId, u64>,
    sequences: BTreeMap<NodeId, u64>,
    players: BTreeMap<String, PlayerId>,
    rooms: Vec<RoomId>,
    tokens: Vec<TokenId>,
}

impl Runner for World {
    type Command = goldenscript::Command;

    fn run(
        &mut self,
        command: &goldenscript::Command,
        context: &Context,
    ) -> Result<String, Failure> {
        let mut args = command.consume_args();
        let node = match &context.prefix {
            Some(name) => node_id(name)?,
            None => NodeId(1),
        };
        let output = match command.name.as_str() {
            "start" => self.start(&mut args)?,
            "wait" => {
                self.now += number::<u64>(positional(&mut args)?)?;
                String::new()
            }
            "floor" => self.floor(node, &mut args)?,
            "show" => self.show(&mut args)?,
            name => {
                let request = self.request(node, name, &mut args)?;
                let client_key = self.client_key(&mut args)?;
                let at = match args.take_key("at") {
                    Some(at) => number(at)?,
                    None => self.now,
                };
                let command = self.command(name, &mut args)?;
                args.reject_next()?;
                let proposal = Proposal {
                    request,
                    client_key,
                    at: LogTime(at),
                    wall: WallTime(1_700_000_000_000 + at),
                    seed: [7; 16],
                    command,
                };
                self.propose(&proposal)?
            }
        };
        args.reject_next()?;
        Ok(self.short(&output))
    }
}

impl World {
    fn propose(&mut self, proposal: &Proposal) -> Result<String, Failure> {
        self.index += 1;
        let position = Position { index: self.index, offset: 0 };
        let applied = self.machine.apply(&mut self.records, position, proposal);
        for effect in &applied.effects {
            if let Effect::RoomOpened { room, .. } = effect {
                self.rooms.push(*room);
            }
        }
        if let Ok(Reply::Issued(Issued { pair, .. })) = &applied.outcome {
            for token in [pair.access, pair.refresh] {
                if !self.tokens.contains(&token) {
                    self.tokens.push(token);
                }
            }
        }
        self.restore_and_compare()?;
        let line = applied.to_string();
        let (request, rest) = line.split_once(' ').expect("the answer follows the request");
        Ok(format!("{request} {}ms {} {rest}\n", proposal.at.0, proposal.command))
    }

    fn restore_and_compare(&self) -> Result<(), Failure> {
        if self.machine.level() > LATEST_LEVEL {
            return Ok(()); // A script played a future build; this one can't restore it.
        }
        let bytes = Snapshot::take(&self.machine, &self.records).encode();
        let (restored, kept) = Snapshot::decode(&bytes)?.restore();
        if restored != self.machine {
            return Err("restoring gave another machine".into());
        }
        let mut records = MemoryRecords::default();
        for (key, value) in kept {
            records.set(key, Some(value));
        }
        if restored.digest(&records) != self.machine.digest(&self.records) {
            return Err("restoring gave another digest".into());
        }
        Ok(())
    }

    fn start(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<String, Failure> {
        let mut output = String::new();
        let mut run = |world: &mut Self, line: String| -> Result<(), Failure> {
            let script = goldenscript::generate(world, &format!("{line}\n---\n"))?;
            output.push_str(&script);
            Ok(())
        };
        let level = args.take_key("level");
        let up = level.map_or_else(|| "up".into(), |level| format!("up level={level}"));
        run(self, format!("n1: {up}"))?;
        run(self, format!("n2: {up}"))?;
        run(self, "activate starter".into())?;
        if let Some(level) = level {
            run(self, format!("raise {level}"))?;
        }
        while let Some(player) = args.next_pos() {
            run(self, format!("create {player}"))?;
            run(self, format!("open {player}/1"))?;
        }
        Ok(output)
    }

    fn floor(&mut self, node: NodeId, args: &mut ArgumentConsumer<'_>) -> Result<String, Failure> {
        let incarnation = self.incarnation(node, args)?;
        let lowest_open = number(positional(args)?)?;
        let floors = vec![Floor { node, incarnation, lowest_open }];
        let entry = Entry { floors, proposals: Vec::new() };
        self.index += 1;
        self.machine.apply_entry(&mut self.records, self.index, &entry);
        Ok(String::new())
    }

    fn request(
        &mut self,
        node: NodeId,
        name: &str,
        args: &mut ArgumentConsumer<'_>,
    ) -> Result<RequestId, Failure> {
        if name == "up" {
            *self.incarnations.entry(node).or_default() += 1;
            self.sequences.insert(node, 0);
        }
        let incarnation = self.incarnation(node, args)?;
        let sequence = match args.take_key("seq") {
            Some(text) => number(text)?,
            None => {
                let sequence = self.sequences.entry(node).or_default();
                *sequence += 1;
                *sequence
            }
        };
        Ok(RequestId { node, incarnation, sequence })
    }

    fn incarnation(
        &self,
        node: NodeId,
        args: &mut ArgumentConsumer<'_>,
    ) -> Result<Incarnation, Failure> {
        Ok(Incarnation(match args.take_key("incarnation") {
            Some(text) => number(text)?,
            None => self.incarnations.get(&node).copied().unwrap_or(1),
        }))
    }

    fn client_key(
        &mut self,
        args: &mut ArgumentConsumer<'_>,
    ) -> Result<Option<ScopedKey>, Failure> {
        let Some(key) = args.take_key("key") else { return Ok(None) };
        let scope = match (args.take_key("of"), args.take_key("at-address")) {
            (Some(player), None) => KeyScope::Player(self.player(player)),
            (None, Some(address)) => KeyScope::Address(address.into()),
            _ => return Err("a key needs of=PLAYER or at-address=ADDRESS".into()),
        };
        Ok(Some(ScopedKey { scope, key: key.parse()? }))
    }

    pub(crate) fn player(&mut self, name: &str) -> PlayerId {
        let id = format!("{name:_<21}").parse().expect("short names make ids");
        self.players.insert(name.into(), id);
        id
    }

    pub(crate) fn session(&mut self, text: &str) -> Result<SessionKey, Failure> {
        let (player, session) = text.split_once('/').ok_or("not PLAYER/SESSION")?;
        Ok(SessionKey { player: self.player(player), session: session.parse()? })
    }

    pub(crate) fn room(&self, name: &str) -> Result<RoomId, Failure> {
        let number: usize = number(name.strip_prefix('r').ok_or("not rN")?)?;
        match self.rooms.get(number - 1) {
            Some(room) => Ok(*room),
            None => Ok(RoomId(NanoId::from_entropy(&[9; 32]))),
        }
    }

    pub(crate) fn token(&self, name: &str) -> Result<TokenId, Failure> {
        if name.starts_with("old-") {
            return Ok(format!("{name:-<21}").parse()?);
        }
        let number: usize = number(name.strip_prefix('t').ok_or("not tN")?)?;
        Ok(*self.tokens.get(number - 1).ok_or("no such token")?)
    }

    /// The same text with short names.
    pub(crate) fn short(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, id) in &self.players {
            text = text.replace(&format!("{id}:"), &format!("{name}/"));
            text = text.replace(id.as_str(), name);
        }
        for (number, room) in (1..).zip(&self.rooms) {
            text = text.replace(room.as_str(), &format!("r{number}"));
        }
        for (number, token) in (1..).zip(&self.tokens) {
            text = text.replace(token.as_str(), &format!("t{number}"));
        }
        for length in [1025, 1024, 65] {
            text = text.replace(&"x".repeat(length), &format!("[{length} bytes]"));
        }
        text.replace(RoomId(NanoId::from_entropy(&[9; 32])).as_str(), "nowhere")
    }
}

pub(crate) fn positional<'a>(args: &mut ArgumentConsumer<'a>) -> Result<&'a str, Failure> {
    args.next_pos().ok_or_else(|| "an argument is missing".into())
}

pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Result<T, Failure>
where
    T::Err: Error + 'static,
{
    Ok(text.parse::<T>()?)
}

pub(crate) fn node_id(text: &str) -> Result<NodeId, Failure> {
    Ok(NodeId(number(text.strip_prefix('n').ok_or("not nN")?)?))
}
