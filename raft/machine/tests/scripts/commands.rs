//! Commands as scripts write them.

use std::sync::Arc;

use goldenscript::ArgumentConsumer;
use serverv2_machine::{
    AbandonBattle, AbortBattle, ActivatePack, AppendInput, Clocks, CloseSession, Command,
    CreateGuestWithTokens, CreatePlayer, Digest, DrainNode, EndBattle, EndReason, EndSessions,
    FIRST_LEVEL, ForgetNode, Incarnation, Input, JoinQueue, LeaveQueue, LeaveReason, Lifetimes,
    NanoId, NodeGone, NodeUp, OpenSession, Outcome, PackRef, RaiseLevel, RefreshTokens,
    RenamePlayer, RevokeToken, Seat, SocketId, StateDigest, Tick, TickBattle,
};

use crate::world::{Failure, World, node_id, number, positional};

impl World {
    pub(crate) fn command(
        &mut self,
        name: &str,
        args: &mut ArgumentConsumer<'_>,
    ) -> Result<Command, Failure> {
        Ok(match name {
            "up" | "gone" | "drain" => self.node_command(name, args)?,
            "activate" => ActivatePack { pack: pack(positional(args)?) }.into(),
            "forget" => ForgetNode { node: node_id(positional(args)?)? }.into(),
            "raise" => RaiseLevel { level: number(positional(args)?)? }.into(),
            "create" | "rename" => {
                let short = positional(args)?;
                let name_given = args.take_key("name").unwrap_or(short);
                let length = args.take_key("length").map(number::<usize>).transpose()?;
                let text: Arc<str> =
                    length.map_or_else(|| name_given.into(), |n| "é".repeat(n).into());
                let player = self.player(short);
                if name == "create" {
                    CreatePlayer { player, name: text }.into()
                } else {
                    RenamePlayer { player, name: text }.into()
                }
            }
            "open" | "close" | "join" | "leave" | "abandon" => self.session_command(name, args)?,
            "ready" | "select" | "animate" | "end-animation" | "forge" => self.input(name, args)?,
            "end-sessions" => {
                let whose = positional(args)?;
                let grace_ms = args.take_key("grace").map_or(Ok(0), number)?;
                match whose.split_once('/') {
                    Some((player, id)) => {
                        let (player, session) = (self.player(player), Some(id.parse()?));
                        EndSessions { player, session, grace_ms }.into()
                    }
                    None => {
                        EndSessions { player: self.player(whose), session: None, grace_ms }.into()
                    }
                }
            }
            "tick" => Tick.into(),
            "code" | "check" | "bind" | "recover" | "unbind" => self.code_command(name, args)?,
            "reports" | "store" | "expire" | "sweep" => self.report_command(name, args)?,
            "create-holder" | "refresh" | "revoke" => self.token_command(name, args)?,
            "records" | "open-outside" | "issue" | "refresh-outside" => {
                self.outside_command(name, args)?
            }
            "tick-battle" | "end" | "abort" | "state-digest" => self.result(name, args)?,
            _ => return Err(format!("unknown command {name}").into()),
        })
    }

    fn node_command(
        &mut self,
        name: &str,
        args: &mut ArgumentConsumer<'_>,
    ) -> Result<Command, Failure> {
        let grace_ms = args.take_key("grace").map_or(Ok(0), number)?;
        if name != "up" {
            let gone = node_id(positional(args)?)?;
            let incarnation = self.incarnations.get(&gone).copied().unwrap_or(1);
            let incarnation = args.take_key("process").map_or(Ok(incarnation), number)?;
            let incarnation = Incarnation(incarnation);
            return Ok(match name {
                "drain" => DrainNode { node: gone, incarnation }.into(),
                _ => NodeGone { node: gone, incarnation, grace_ms }.into(),
            });
        }
        let packs = args.take_key("packs").unwrap_or("starter");
        let packs = packs.split('/').filter(|name| !name.is_empty()).map(pack).collect();
        let level = args.take_key("level").map_or(Ok(FIRST_LEVEL), number)?;
        Ok(NodeUp { packs, level, grace_ms }.into())
    }

    fn session_command(
        &mut self,
        name: &str,
        args: &mut ArgumentConsumer<'_>,
    ) -> Result<Command, Failure> {
        let text = positional(args)?;
        let session = self.session(text)?;
        if name == "leave" {
            return Ok(LeaveQueue { session }.into());
        }
        let socket: SocketId = match args.take_key("socket") {
            Some(socket) => socket.parse()?,
            None => text.replace('/', "-").parse()?,
        };
        Ok(match name {
            "open" => {
                let address = args.take_key("from").unwrap_or("home").into();
                let flags: Vec<&str> = std::iter::from_fn(|| args.next_pos()).collect();
                OpenSession {
                    session,
                    socket,
                    address,
                    chosen: !flags.contains(&"made-up"),
                    authenticated: flags.contains(&"token"),
                }
                .into()
            }
            "close" => {
                let grace_ms = args.take_key("grace").map_or(Ok(0), number)?;
                CloseSession { session, socket, grace_ms }.into()
            }
            "join" => {
                let team = match args.take_key("team-length") {
                    Some(length) => "t".repeat(number(length)?).into(),
                    None => args.take_key("team").unwrap_or("[]").into(),
                };
                let turn_s = args.take_key("turn").map_or(Ok(30), number)?;
                let clocks = Clocks { turn_s, total_s: 900, animation_max_ms: 20_000 };
                JoinQueue { session, socket, team, clocks }.into()
            }
            "abandon" => AbandonBattle { session, socket }.into(),
            _ => return Err(format!("unknown command {name}").into()),
        })
    }

    fn input(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Result<Command, Failure> {
        let session = self.session(positional(args)?)?;
        let room = self.room(positional(args)?)?;
        let own = self.machine.room(room).and_then(|view| {
            Seat::BOTH.into_iter().find(|seat| *view.seat(*seat).session == session)
        });
        let by = match args.take_key("seat") {
            Some(text) => seat(text)?,
            None => own.unwrap_or(Seat::A),
        };
        let long = args.take_key("length").map(number::<usize>).transpose()?;
        let mut text = |default: &str| -> Arc<str> {
            match long {
                Some(length) => "x".repeat(length).into(),
                None => args.next_pos().unwrap_or(default).into(),
            }
        };
        let input = match name {
            "ready" => Input::Ready(by),
            "select" => Input::Select(by, text("do-nothing")),
            "animate" => {
                let source = text("pet_fox");
                Input::StartAnimation { by, source, expected_ms: 500, owner: by }
            }
            "end-animation" => Input::EndAnimation { by, id: NanoId::from_entropy(&[3; 32]) },
            _ => match positional(args)? {
                "leave" => Input::Leave(by, LeaveReason::GraceExpired),
                _ => Input::Tick,
            },
        };
        Ok(AppendInput { session, room, input }.into())
    }

    /// `create-holder NAME`, `refresh NAME tN`, `revoke tN`; `t2` is the second token ever given, `old-x`
    /// one of the server before.
    fn token_command(
        &mut self,
        name: &str,
        args: &mut ArgumentConsumer<'_>,
    ) -> Result<Command, Failure> {
        let mut ms = |key, default: u64| args.take_key(key).map_or(Ok(default), number::<u64>);
        let lifetimes =
            Lifetimes { access_ms: ms("access", 20_000)?, refresh_ms: ms("refresh", 50_000)? };
        let remaining_ms = ms("left", 10_000)?;
        if name == "revoke" {
            let token = self.token(positional(args)?)?;
            return Ok(RevokeToken { token, remaining_ms }.into());
        }
        let short = positional(args)?;
        let player = self.player(short);
        if name == "create-holder" {
            let guest = CreatePlayer { player, name: short.into() };
            return Ok(CreateGuestWithTokens { guest, lifetimes }.into());
        }
        let token = self.token(positional(args)?)?;
        Ok(RefreshTokens { player, token, remaining_ms, lifetimes }.into())
    }

    fn result(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Result<Command, Failure> {
        let room = self.room(positional(args)?)?;
        if name == "state-digest" {
            let number = number(args.take_key("number").ok_or("number= is missing")?)?;
            let rebuilt = args.next_pos().is_some();
            return Ok(StateDigest { room, number, digest: Digest([7; 32]), rebuilt }.into());
        }
        let after = number(args.take_key("after").ok_or("after= is missing")?)?;
        Ok(match name {
            "tick-battle" => TickBattle { room, after }.into(),
            "abort" => AbortBattle { room, after }.into(),
            _ => {
                let winner = args.take_key("winner").map(seat).transpose()?;
                let outcome = Outcome { winner, reason: EndReason::Surrender };
                EndBattle { room, after, outcome, digest: Digest([9; 32]) }.into()
            }
        })
    }
}

fn seat(text: &str) -> Result<Seat, Failure> {
    match text {
        "A" => Ok(Seat::A),
        "B" => Ok(Seat::B),
        _ => Err("not a seat".into()),
    }
}

fn pack(name: &str) -> PackRef {
    let mut digest = [0; 32];
    for (slot, byte) in digest.iter_mut().zip(name.bytes()) {
        *slot = byte;
    }
    PackRef { engine: "builtin/1".into(), digest: Digest(digest) }
}
