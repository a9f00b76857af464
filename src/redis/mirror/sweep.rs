//! Everything anew, in pieces: all that is, then what is there and should not be.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use serverv2_machine::{Machine, PlayerId, RoomId};
use tokio::sync::watch;
use tracing::info;

use super::marks::Thing;
use super::project::{self, Names, Wanted};
use super::writer::Writer;
use super::{Mirror, READ, Stop};
use crate::redis::Operation;
use crate::redis::keys::{self, Mirrored};

impl Mirror {
    /// Writes all that is and removes all that is not. What changes meanwhile is written between the pieces.
    pub(super) async fn project_all(
        &self,
        writer: &Writer<'_>,
        delivered: &watch::Receiver<u64>,
    ) -> Result<(), Stop> {
        let index = *delivered.borrow();
        self.figures.projections.fetch_add(1, Ordering::Relaxed);
        let mut rooms: Option<RoomId> = None;
        self.walk(writer, |machine| {
            let some: Vec<_> = machine.rooms_after(rooms).take(READ / 4).collect();
            rooms = some.last().copied().or(rooms);
            some.into_iter().flat_map(|id| [Thing::Room(id), Thing::Seats(id)]).collect()
        })
        .await?;
        let mut players: Option<PlayerId> = None;
        self.walk(writer, |machine| {
            let some: Vec<_> = machine.players_after(players).take(READ).collect();
            players = some.last().copied().or(players);
            some.into_iter().map(Thing::Player).collect()
        })
        .await?;
        let mut queued: Option<PlayerId> = None;
        self.walk(writer, |machine| {
            let some: Vec<_> = machine.queued_after(queued).take(READ).collect();
            queued = some.last().copied().or(queued);
            some.into_iter().map(Thing::Ticket).collect()
        })
        .await?;
        let mut logged_in: Option<PlayerId> = None;
        self.walk(writer, |machine| {
            let some: Vec<_> = machine.logged_in_after(logged_in).take(READ / 4).collect();
            logged_in = some.last().copied().or(logged_in);
            some.into_iter().map(Thing::Logins).collect()
        })
        .await?;
        self.remove_orphans(writer).await?;
        let there = |player| self.cluster.read(|machine, _| machine.tickets_of(player).count() > 0);
        let now = || self.cluster.read(|_, _| ()).index;
        writer.clean_queue(now, |player| there(player).value).await?;
        self.still_leads(writer)?;
        writer.advance(index).await
    }

    /// Writes the things of one piece of the state after the other, until there is an empty one.
    async fn walk(
        &self,
        writer: &Writer<'_>,
        mut piece: impl FnMut(&Machine) -> BTreeSet<Thing>,
    ) -> Result<(), Stop> {
        loop {
            self.still_leads(writer)?;
            let things = self.cluster.read(|machine, _| piece(machine)).value;
            if things.is_empty() {
                return Ok(());
            }
            self.write(writer, &things).await?;
            let waiting = self.marks.take();
            if waiting.missed {
                return Err(Stop::Lost);
            }
            self.write(writer, &waiting.things).await?;
        }
    }

    /// A pause of the process may have come in between.
    fn still_leads(&self, writer: &Writer<'_>) -> Result<(), Stop> {
        let status = self.cluster.status();
        if status.is_leader && status.term == writer.term { Ok(()) } else { Err(Stop::Deposed) }
    }

    async fn remove_orphans(&self, writer: &Writer<'_>) -> Result<(), Stop> {
        let prefix = self.redis.prefix();
        for pattern in keys::mirrored(prefix) {
            let mut page = None;
            loop {
                let found = self.redis.scan(Operation::Mirror, &pattern, page).await;
                let (keys, next) = found.map_err(Stop::Redis)?;
                self.still_leads(writer)?;
                let orphans = self.cluster.read(|machine, _| {
                    let mut orphans = keys;
                    orphans.retain(|key| !is_of_something(machine, &self.names, key));
                    orphans
                });
                let removed = writer.remove(orphans.index, orphans.value).await?;
                if removed > 0 {
                    info!(keys = removed, "the mirror had keys of nothing");
                    self.figures.orphans.fetch_add(removed, Ordering::Relaxed);
                }
                page = next;
                if page.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn is_of_something(machine: &Machine, names: &Names, key: &str) -> bool {
    match keys::read_mirrored(&names.prefix, key) {
        Mirrored::Room(id) => machine.room(id).is_some(),
        Mirrored::Connection(id) => {
            let mut wanted = Vec::new();
            project::project(machine, names, Thing::Player(id), &mut wanted);
            wanted.iter().any(|wanted| matches!(wanted, Wanted::Hash { .. }))
        }
        Mirrored::Queued(id) => machine.tickets_of(id).next().is_some(),
        Mirrored::NewestLogin(id) => machine.logins_of(id).next().is_some(),
        Mirrored::Login(id, name) => {
            project::shown(machine, id).any(|login| login.family.to_string() == name)
        }
        Mirrored::Nothing => false,
    }
}
