//! What scripts look at: the machine's read models.

use std::fmt::Write as _;

use goldenscript::ArgumentConsumer;
use serverv2_machine::{Records, RoomId, Seat};

use crate::world::{Failure, World, positional};

impl World {
    pub(crate) fn show(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<String, Failure> {
        let mut out = String::new();
        match positional(args)? {
            "counts" => {
                let counts = self.machine.counts();
                let (online, tickets) = (counts.online_players, counts.tickets);
                let (rooms, playing) = (counts.rooms, counts.players_in_rooms);
                writeln!(out, "online={online} tickets={tickets} rooms={rooms} playing={playing}")?;
            }
            "queue" => {
                for ticket in self.machine.queue() {
                    let suspended = if ticket.suspended { " suspended" } else { "" };
                    writeln!(out, "{} since {}{suspended}", ticket.session, ticket.at)?;
                }
            }
            "tokens" => {
                let (families, revoked) = self.machine.token_counts();
                writeln!(out, "families={families} revoked={revoked}")?;
                for (token, until) in self.machine.revocations() {
                    writeln!(out, "{token} until {until}")?;
                }
            }
            "nodes" => {
                for node in self.machine.nodes() {
                    let state = if node.live { "live" } else { "gone" };
                    writeln!(out, "{}.{} {state}", node.id, node.incarnation.0)?;
                }
                let pack = self.machine.active_pack().map(ToString::to_string);
                let pack = pack.unwrap_or_else(|| "none".into());
                writeln!(out, "pack {pack} level {}", self.machine.level())?;
            }
            "deadline" => match self.machine.next_deadline() {
                Some(at) => writeln!(out, "{at}")?,
                None => writeln!(out, "none")?,
            },
            "session" => {
                let key = self.session(positional(args)?)?;
                match self.machine.session(&key) {
                    Some(view) => writeln!(out, "{} at {}", view.socket, view.node)?,
                    None => writeln!(out, "not connected")?,
                }
            }
            "seat" => {
                let key = self.session(positional(args)?)?;
                match self.machine.seat_of(&key) {
                    Some((room, seat)) => writeln!(out, "{seat} in {room}")?,
                    None => writeln!(out, "none")?,
                }
            }
            "email" => {
                let email = positional(args)?.parse()?;
                match self.records.player_by_email(&email) {
                    Some(player) => writeln!(out, "bound to {}", player.id)?,
                    None => writeln!(out, "free")?,
                }
            }
            "names" => {
                let room = self.room(positional(args)?)?;
                let room = self.machine.room(room).ok_or("no such room")?;
                let [a, b] = &room.setup.players;
                writeln!(out, "A={:?} B={:?}", a.name, b.name)?;
            }
            "codes" => {
                let (codes, windows) = self.machine.code_counts();
                writeln!(out, "codes={codes} windows={windows}")?;
            }
            "reports" => self.show_reports(&mut out)?,
            "stats" => {
                let player = self.player(positional(args)?);
                self.show_stats(&mut out, player)?;
            }
            "room" => {
                let room = self.room(positional(args)?)?;
                self.show_room(&mut out, room)?;
            }
            what => return Err(format!("can't show {what}").into()),
        }
        Ok(out)
    }

    fn show_room(&self, out: &mut String, id: RoomId) -> Result<(), Failure> {
        let Some(room) = self.machine.room(id) else {
            writeln!(out, "no such room")?;
            return Ok(());
        };
        let state = match room.end {
            None => "live".into(),
            Some(end) => match end.result {
                Some((outcome, _)) => format!("ended: {outcome}, removed at {}", end.remove_at),
                None => format!("aborted, removed at {}", end.remove_at),
            },
        };
        writeln!(out, "{id} home={} turn={}s {state}", room.home, room.setup.clocks.turn_s)?;
        for (name, seat) in Seat::BOTH.into_iter().zip(room.seats) {
            let bound = if seat.bound { " bound" } else { "" };
            let gone = if seat.gone { " gone" } else { "" };
            let lost = seat.lost_until.map_or(String::new(), |at| format!(" lost until {at}"));
            writeln!(out, "{name} {}{bound}{lost}{gone}", seat.session)?;
        }
        for input in room.inputs {
            writeln!(out, "#{} {} {}", input.number, input.at, input.input)?;
        }
        Ok(())
    }
}
