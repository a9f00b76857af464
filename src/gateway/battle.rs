//! Events about the battle a session is in (contract 3.5.4-3.5.9).
//!
//! Questions are answered by the replica on its worker, in their place among the battle's messages.
//! Inputs are checked there first, then proposed, and answered with what they came to once this
//! node's replica has consumed them: legal when checked and illegal when applied is said honestly.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value as Json;
use serverv2_machine::limits::ANIMATION_TEXT_MAX;
use serverv2_machine::{
    AppendInput, Command, Input, Numbered, PlayerId, Rejection, Reply, RoomId, Seat, WallTime,
};
use tokio::sync::oneshot;

use super::socket::{LocalSocket, Responder};
use super::wire::{Event, Refusal, Status};
use super::{ANSWER_TIMEOUT, Asked, Gateway, OnAnswer};
use crate::battle::engine::{AnimationStart, TimerConfig, TimerState, Verdict, Viewer};
use crate::battle::host::BattleHost;
use crate::battle::replica::{InputResult, Replica};
use crate::battle::selection;
use crate::dispatcher::Failure;

/// Payload of `startAnimation`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartAnimation {
    source: String,
    expected_duration: f64,
    owner_id: String,
}

/// Why a replica was not looked at.
enum Unseen {
    /// There is none.
    NoReplica,
    /// Its worker did not come to it in time.
    Busy,
}

impl Unseen {
    /// Clients leave a battle that they are told is gone, and try again with one that is busy.
    fn refusal(self, event: Event, gone: Refusal) -> Refusal {
        match self {
            Self::NoReplica => gone,
            Self::Busy => event.unavailable(),
        }
    }
}

impl Gateway {
    /// The room of this socket's session, live before ended, newest first. One that ended because
    /// somebody left is no battle any more (contract 3.8); others can be looked at for a while.
    fn room_of(&self, socket: &LocalSocket) -> Option<(RoomId, Seat)> {
        let found = self.cluster.read(|machine, _| {
            let (id, seat) = machine.seat_of(&socket.session)?;
            let room = machine.room(id)?;
            let left = room.seats.iter().any(|seat| seat.gone);
            (room.is_live() || !left).then_some((id, seat))
        });
        found.value
    }

    pub(super) async fn ready(&self, asked: Asked) {
        let Some((room, seat)) = self.room_of(&asked.socket) else {
            return self.refuse(asked, Refusal::new("ROOM_NOT_FOUND", "BATTLE_NOT_FOUND")).await;
        };
        match self.look(room, move |replica| replica.is_ready(seat)).await {
            Ok(true) => asked.responder.success(Status::READY),
            Ok(false) => self.input(asked, room, Input::Ready(seat)).await,
            Err(unseen) => {
                let event = asked.responder.event();
                let gone = Refusal::new(event.error_code(), "BATTLE_NOT_FOUND");
                asked.responder.refuse(unseen.refusal(event, gone));
            }
        }
    }

    pub(super) async fn submit_selection(&self, asked: Asked) {
        let event = asked.responder.event();
        let refused = |details: &str| Refusal::new(event.error_code(), details);
        let Some((room, seat)) = self.room_of(&asked.socket) else {
            return self.refuse(asked, refused("BATTLE_NOT_FOUND")).await;
        };
        let Ok(selection) = selection::parse(asked.payload(), asked.socket.session.player) else {
            return asked.responder.error("INVALID_SELECTION_DATA");
        };
        let text: Arc<str> = selection.to_log().into();
        let verdict = self.look(room, move |replica| {
            let awaited = replica.progress().pending.contains(&seat);
            let verdict = replica.battle().check(seat, &selection);
            // A choice that replaces a stored one is a luxury.
            if awaited || replica.admits_optional(seat) { verdict } else { Verdict::NotLegal }
        });
        match verdict.await {
            Err(unseen) => {
                let refusal = unseen.refusal(event, refused("BATTLE_NOT_FOUND"));
                self.refuse(asked, refusal).await;
            }
            Ok(Verdict::Accepted) => {
                self.input(asked, room, Input::Select(seat, text)).await;
            }
            Ok(verdict) => self.refuse(asked, refused(verdict_details(verdict))).await,
        }
    }

    pub(super) async fn start_animation(&self, asked: Asked) {
        let Some((room, seat)) = self.room_of(&asked.socket) else {
            return asked.responder.refuse(Refusal::new("NOT_IN_BATTLE", "Player not in battle"));
        };
        let invalid =
            || Refusal::new("BATTLE_NOT_FOUND", "Battle instance not found or invalid data");
        let Some((source, expected_ms, owner_id)) = animation(asked.payload()) else {
            return asked.responder.refuse(invalid());
        };
        let found = self.look(room, move |replica| {
            let players = &replica.setup().players;
            let owner =
                Seat::BOTH.into_iter().find(|seat| players[seat.index()].player == owner_id)?;
            Some((owner, replica.admits_optional(seat)))
        });
        match found.await {
            Ok(None) => asked.responder.refuse(invalid()),
            Err(unseen) => {
                let event = asked.responder.event();
                asked.responder.refuse(unseen.refusal(event, invalid()));
            }
            Ok(Some((_, false))) => asked.responder.success("disabled"),
            Ok(Some((owner, true))) => {
                let input = Input::StartAnimation { by: seat, source, expected_ms, owner };
                self.input(asked, room, input).await;
            }
        }
    }

    /// Both names do the same, without an answer; what can't be an animation's end is ignored.
    pub(super) async fn end_animation(&self, asked: Asked) {
        let id = asked.payload().get("animationId").and_then(Json::as_str);
        let id = id.and_then(|id| id.parse().ok());
        let (Some(id), Some((room, seat))) = (id, self.room_of(&asked.socket)) else {
            return asked.responder.silent();
        };
        let worth_it = self.look(room, move |replica| {
            replica.battle().animations() > 0 && replica.admits_optional(seat)
        });
        if let Ok(true) = worth_it.await {
            self.input(asked, room, Input::EndAnimation { by: seat, id }).await;
        } else {
            asked.responder.silent();
        }
    }

    /// Proposes an input; its answer comes from this node's replica.
    async fn input(&self, asked: Asked, room: RoomId, input: Input) {
        let command = AppendInput { session: asked.socket.session.clone(), room, input };
        let host = self.host.clone();
        let answer: OnAnswer = Box::new(move |responder, outcome| match outcome {
            Ok(Reply::Numbered(Numbered { room, number })) => host.on_input(
                room,
                number,
                Box::new(move |result| match result {
                    Some(result) => answer_input(responder, result),
                    None => responder.error("BATTLE_NOT_FOUND"),
                }),
            ),
            Ok(other) => {
                tracing::error!(?other, "a reply of another command's type");
                responder.error("INTERNAL_ERROR");
            }
            Err(Failure::Unavailable) => {
                let refusal = responder.event().unavailable();
                responder.refuse(refusal);
            }
            Err(Failure::Rejected(rejection)) => responder.error(rejection_details(&rejection)),
        });
        self.commit(Command::AppendInput(command), asked, answer).await;
    }

    /// Looks at a replica from outside its worker.
    async fn look<T: Send + 'static>(
        &self,
        room: RoomId,
        look: impl FnOnce(&Replica) -> T + Send + 'static,
    ) -> Result<T, Unseen> {
        let (found, seen) = oneshot::channel();
        self.host.visit(room, move |replica| {
            // The asker may have gone.
            let _ = found.send(replica.map(|replica| look(replica)));
        });
        match tokio::time::timeout(ANSWER_TIMEOUT, seen).await {
            Ok(Ok(found)) => found.ok_or(Unseen::NoReplica),
            // The one is too late, the other was one question too many.
            Err(_) | Ok(Err(_)) => Err(Unseen::Busy),
        }
    }

    /// Hands a question to the replica, which answers it in its place among the battle's messages.
    pub(super) async fn ask_battle(&self, asked: Asked) {
        let player = asked.payload().get("playerId").and_then(Json::as_str).map(str::to_owned);
        let Asked { socket, responder, answered, .. } = asked;
        let Some((room, seat)) = self.room_of(&socket) else {
            return answer_without_battle(responder);
        };
        let own = socket.session.player;
        let cluster = self.cluster.clone();
        self.host.visit(room, move |replica| {
            let Some(replica) = replica else { return responder.error("BATTLE_NOT_FOUND") };
            let timers = |replica: &Replica| {
                replica.timers(cluster.log_time(), WallTime(crate::random::wall_ms()))
            };
            match responder.event() {
                Event::GetState => responder.success(replica.battle().view(Viewer::Player(seat))),
                Event::GetAvailableSelection => {
                    let choices = replica.available(seat);
                    responder.success(
                        choices.iter().map(|choice| choice.on_wire(own)).collect::<Vec<_>>(),
                    );
                }
                Event::GetPlayerTimerState => {
                    let wanted = player.unwrap_or_else(|| own.to_string());
                    let found = timers(replica)
                        .into_iter()
                        .find(|timer| timer.player_id.as_str() == wanted);
                    responder.success(found);
                }
                Event::GetAllPlayerTimerStates => responder.success(timers(replica)),
                Event::GetTimerConfig => {
                    responder.success(TimerConfig::from(replica.setup().clocks));
                }
                Event::IsTimerEnabled => responder.success(true),
                _ => responder.error("INTERNAL_ERROR"),
            }
        });
        // Until then nothing else of this socket is looked at, so answers keep the order of questions.
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, answered).await;
    }
}

/// The answer of a request's first time, to a retry of it.
pub(super) fn answer_retry(host: &BattleHost, responder: Responder, reply: &Reply) {
    match (responder.event(), reply) {
        (Event::JoinMatchmaking, Reply::Queued(_)) => responder.success(Status::QUEUED),
        (Event::CancelMatchmaking, Reply::Done(_)) => responder.success(Status::CANCELED),
        (_, Reply::Numbered(Numbered { room, number })) => {
            let answer = move |result: Option<&InputResult>| match (result, responder.event()) {
                (Some(result), _) => answer_input(responder, result),
                // The room is gone since; what was proposed had been found legal.
                (None, Event::SubmitPlayerSelection) => responder.success(Status::ACTION_ACCEPTED),
                (None, Event::Ready) => responder.success(Status::READY),
                (None, Event::StartAnimation) => responder.success("disabled"),
                (None, _) => responder.silent(),
            };
            host.on_input(*room, *number, Box::new(answer));
        }
        _ => responder.error("INVALID_REQUEST_ID"),
    }
}

/// What contract 3.5 says to a session in no room.
fn answer_without_battle(responder: Responder) {
    match responder.event() {
        Event::IsTimerEnabled => responder.success(false),
        Event::GetPlayerTimerState => responder.success(None::<TimerState>),
        Event::GetAllPlayerTimerStates => responder.success([(); 0]),
        Event::GetTimerConfig => responder.success(serde_json::Map::new()),
        Event::GetAvailableSelection => responder.error("NOT_IN_BATTLE"),
        _ => responder.error("BATTLE_NOT_FOUND"),
    }
}

fn answer_input(responder: Responder, result: &InputResult) {
    match (responder.event(), result) {
        (Event::Ready, _) => responder.success(Status::READY),
        (Event::EndAnimation | Event::ReportAnimationEnd, _) => responder.silent(),
        (_, InputResult::Choice(Verdict::Accepted)) => responder.success(Status::ACTION_ACCEPTED),
        (_, InputResult::Choice(verdict)) => responder.error(verdict_details(*verdict)),
        (_, InputResult::Animation(AnimationStart::Started { id })) => responder.success(id),
        (_, InputResult::Animation(AnimationStart::Disabled)) => responder.success("disabled"),
        // A client key that belonged to another kind of input.
        (_, InputResult::Ready | InputResult::Done) => responder.error("INVALID_REQUEST_ID"),
    }
}

fn verdict_details(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "ACTION_ACCEPTED",
        Verdict::NotLegal => "INVALID_SELECTION",
        Verdict::UnknownSkill => "Unknown skill",
        Verdict::UnknownPet => "Unknown pet",
    }
}

fn rejection_details(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::RoomUnknown | Rejection::NotSeated => "BATTLE_NOT_FOUND",
        other => other.code(),
    }
}

/// All three fields must be there, and neither empty nor zero (contract 3.5.9).
pub(super) fn animation(payload: &Json) -> Option<(Arc<str>, u32, PlayerId)> {
    // A list of the three values would be read, too.
    let payload = payload.as_object()?;
    let StartAnimation { source, expected_duration, owner_id } =
        StartAnimation::deserialize(payload).ok()?;
    let fits = !source.is_empty() && source.len() <= ANIMATION_TEXT_MAX && expected_duration > 0.0;
    // A float that is too large becomes the largest integer, which the engine cuts to its limit.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and is positive"
    )]
    let expected_ms = expected_duration.ceil() as u32;
    fits.then_some((source.into(), expected_ms, owner_id.parse().ok()?))
}
