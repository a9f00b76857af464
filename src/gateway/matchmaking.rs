//! `joinMatchmaking` and `cancelMatchmaking` (contract 3.5.2, 3.5.3, 4).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use serverv2_machine::{
    AbandonBattle, Abandoned, Command, JoinQueue, LeaveQueue, Rejection, RoomId,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::socket::{LocalSocket, Responder};
use super::wire::{Event, Refusal, Status};
use super::{Asked, Gateway, OnAnswer};
use crate::battle::team;
use crate::dispatcher::Failure;

/// How long a battle that is being left may take to end before the ticket is made all the same.
const ABANDON_PATIENCE: Duration = Duration::from_secs(3);

impl Gateway {
    pub(super) async fn join_matchmaking(&self, asked: Asked) {
        let socket = &asked.socket;
        let team = match self.checked_team(socket, asked.payload.as_ref()) {
            Ok(team) => team,
            Err(details) => return asked.responder.error(details),
        };
        self.abandon_inherited_battle(socket, asked.deadline).await;
        let command = JoinQueue {
            session: socket.session.clone(),
            socket: socket.id.clone(),
            team,
            clocks: self.settings.clocks,
        };
        let answer: OnAnswer = Box::new(|responder, outcome| match outcome {
            Ok(_) => responder.success(Status::QUEUED),
            Err(failure) => refuse(responder, &failure),
        });
        self.commit(Command::JoinQueue(command), asked, answer).await;
    }

    /// The normalized team, or the details of the refusal.
    fn checked_team(
        &self,
        socket: &LocalSocket,
        payload: Option<&Json>,
    ) -> Result<Arc<str>, String> {
        let team = team::normalize(payload, socket.session.player, &mut crate::random::nano_id)
            .map_err(|error| error.to_string())?;
        match self.active_engine() {
            Some(engine) if engine.knows_team(&team) => Ok(team.into()),
            Some(_) => Err(team::UNKNOWN_DATA.to_owned()),
            None => Err("Failed to add to matchmaking queue".to_owned()),
        }
    }

    /// A session that has inherited a battle it does not know of leaves it first: `BATTLE_END` and
    /// `roomClosed` are sent, then the ticket is made. For all other sessions this does nothing.
    async fn abandon_inherited_battle(&self, socket: &LocalSocket, deadline: Instant) {
        let player = socket.session.player;
        if !self.cluster.read(|machine, _| machine.has_live_seat(player)).value {
            return;
        }
        let command = AbandonBattle { session: socket.session.clone(), socket: socket.id.clone() };
        let abandoning = timeout_at(deadline, self.cluster.propose(command, None));
        // Refused or unanswered: the join that follows decides by itself.
        if let Ok(Ok(committed)) = abandoning.await
            && let Abandoned { room: Some(room) } = committed.reply
        {
            // Too slow: the ticket waits in the queue until the seat is free.
            let patience = deadline.min(Instant::now() + ABANDON_PATIENCE);
            let _ = timeout_at(patience, self.closed(room)).await;
        }
    }

    /// Waits until the room's end is recorded and everyone here has been told.
    async fn closed(&self, room: RoomId) {
        let mut delivered = self.delivered.clone();
        while self
            .cluster
            .read(|machine, _| machine.room(room).is_some_and(|room| room.is_live()))
            .value
        {
            if delivered.changed().await.is_err() {
                return;
            }
        }
        let (told, heard) = oneshot::channel();
        self.host.visit(room, move |_| {
            let _ = told.send(());
        });
        let _ = heard.await;
    }

    pub(super) async fn cancel_matchmaking(&self, asked: Asked) {
        let command = LeaveQueue { session: asked.socket.session.clone() };
        let answer: OnAnswer = Box::new(|responder, outcome| match outcome {
            Ok(_) => responder.success(Status::CANCELED),
            Err(failure) => refuse(responder, &failure),
        });
        self.commit(Command::LeaveQueue(command), asked, answer).await;
    }
}

fn refuse(responder: Responder, failure: &Failure) {
    let event = responder.event();
    match failure {
        Failure::Unavailable => responder.refuse(event.unavailable()),
        Failure::Rejected(rejection) => responder.refuse(refusal(event, rejection)),
    }
}

/// The contract knows one text for every failure to store an entry; which it was, the log says.
fn refusal(event: Event, rejection: &Rejection) -> Refusal {
    debug!(event = event.name(), %rejection, "refused");
    match event {
        Event::JoinMatchmaking => event.unavailable(),
        _ => Refusal::new(event.error_code(), rejection.code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_to_store_an_entry_has_the_contracts_one_text() {
        for rejection in [Rejection::QueueFull, Rejection::SessionGone, Rejection::NoPack] {
            let text = serde_json::to_value(refusal(Event::JoinMatchmaking, &rejection)).unwrap();
            assert_eq!(text["code"], "VALIDATION_ERROR");
            assert_eq!(text["details"], "Failed to add to matchmaking queue");
        }
    }
}
