//! Players and what they do: log in, queue through one node or two, fight, lose connections, log out. What has
//! no answer is asked again with the same id through any node, and some of what has one, too.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serverv2_machine::{
    AppendInput, Clocks, CloseSession, Command, CreateGuestWithTokens, CreatePlayer, Digest,
    EndBattle, EndReason, EndSessions, Input, Issued, JoinQueue, KeyScope, LeaveQueue, Lifetimes,
    Machine, NanoId, OpenSession, Outcome, PlayerId, RefreshTokens, Rejection, Reply, RevokeToken,
    RoomId, ScopedKey, Seat, SessionKey, TokenId,
};
use serverv2_raft_simulated::{Answer, ProposeError};
use tokio::time::{sleep, timeout};

use crate::shared::Shared;
use crate::trace::note;

/// One player in one place.
pub(crate) struct Player {
    number: u64,
    nodes: u64,
    rng: StdRng,
    shared: Shared,
    /// Ids given out so far.
    ids: u64,
}

/// How often something without an answer is asked again.
const TRIES_MAX: u32 = 8;
/// How long a player waits for a match before it goes away again.
const LOOKS_MAX: u32 = 25;
/// How long a player waits for a linearizable read.
const READ_PATIENCE: Duration = Duration::from_secs(3);
const HOUR_MS: u64 = 3_600_000;

/// What a player is logged in as.
struct Login {
    player: PlayerId,
    access: TokenId,
    refresh: TokenId,
}

/// What a player is connected as.
struct Connection {
    session: SessionKey,
    node: u64,
}

impl Player {
    pub(crate) fn new(seed: u64, number: u64, nodes: u64, shared: Shared) -> Self {
        // Far apart for seeds that are close.
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(number));
        Self { number, nodes, rng, shared, ids: 0 }
    }

    /// Plays until the end of the run.
    pub(crate) async fn play(mut self) {
        while !self.shared.is_over() {
            let Some(mut login) = self.log_in().await else { continue };
            for _ in 0..self.rng.random_range(1..4) {
                self.visit(&login).await;
                if self.rng.random_bool(0.3) {
                    self.refresh(&mut login).await;
                }
                if self.shared.is_over() {
                    return;
                }
            }
            self.log_out(&login).await;
        }
    }

    async fn log_in(&mut self) -> Option<Login> {
        let player = PlayerId(self.nano());
        let name = format!("player {}", self.number).into();
        let guest = CreatePlayer { player, name };
        let command = CreateGuestWithTokens { guest, lifetimes: lifetimes() };
        let scope = KeyScope::Address(format!("10.0.0.{}", self.number).into());
        match self.insist(scope, command.into()).await?.outcome {
            Ok(Reply::Issued(Issued { pair, .. })) => {
                Some(Login { player, access: pair.access, refresh: pair.refresh })
            }
            _ => None,
        }
    }

    async fn refresh(&mut self, login: &mut Login) {
        let command = RefreshTokens {
            player: login.player,
            token: login.refresh,
            remaining_ms: HOUR_MS,
            lifetimes: lifetimes(),
        };
        let scope = KeyScope::Player(login.player);
        let answer = self.insist(scope, command.into()).await;
        if let Some(Answer { outcome: Ok(Reply::Issued(Issued { pair, .. })), .. }) = answer {
            (login.access, login.refresh) = (pair.access, pair.refresh);
        }
    }

    /// Revokes the token, and asks all nodes whether it counts.
    async fn log_out(&mut self, login: &Login) {
        let scope = KeyScope::Player(login.player);
        let end = EndSessions { player: login.player, session: None, grace_ms: 0 };
        self.insist(scope.clone(), end.into()).await;
        let revoke = RevokeToken { token: login.access, remaining_ms: HOUR_MS };
        let revoked = self.insist(scope, revoke.into()).await;
        if revoked.is_none_or(|answer| answer.outcome.is_err()) {
            return;
        }
        let token = login.access;
        for node in 1..=self.nodes {
            let counts = self.shared.on(node, move |cluster| async move {
                let read = cluster.read_linearizable(|machine, _| machine.is_revoked(token));
                timeout(READ_PATIENCE, read).await
            });
            if let Some(Ok(Ok(read))) = counts.await
                && !read.value
            {
                let at = read.index;
                self.shared.judge(|judge| {
                    judge.violated(format!("n{node} takes {token} at {at}, which was revoked"));
                });
            }
        }
    }

    /// Connects, queues, fights if there is somebody, and goes.
    async fn visit(&mut self, login: &Login) {
        let session = format!("s{}", self.rng.random_range(0..2));
        let session = session.parse().map(|session| SessionKey { player: login.player, session });
        let Ok(session) = session else { return };
        let mut connection = Connection { session, node: self.any_node() };
        if !self.connect(&mut connection).await {
            return;
        }
        self.queue(&connection).await;
        for _ in 0..LOOKS_MAX {
            self.think(40).await;
            if let Some((room, seat)) = self.seat(&connection).await {
                self.fight(&mut connection, room, seat).await;
                break;
            }
            if self.rng.random_bool(0.03) {
                let leave = LeaveQueue { session: connection.session.clone() };
                self.insist_as(&connection, leave.into()).await;
                break;
            }
            // Its node may have lost it.
            if self.rng.random_bool(0.1) && !self.reconnect(&mut connection).await {
                return;
            }
        }
        if self.rng.random_bool(0.7)
            && let Ok(socket) = socket(&connection)
        {
            let (session, grace_ms) = (connection.session.clone(), 500);
            self.insist_as(&connection, CloseSession { session, socket, grace_ms }.into()).await;
        }
    }

    async fn connect(&mut self, connection: &mut Connection) -> bool {
        for _ in 0..TRIES_MAX {
            let Ok(socket) = socket(connection) else { return false };
            let open = OpenSession {
                session: connection.session.clone(),
                socket,
                address: format!("10.0.0.{}", self.number).into(),
                chosen: true,
                authenticated: true,
            };
            let scope = KeyScope::Player(connection.session.player);
            let key = self.key(scope);
            // The node that asks is the one that has the socket: it is not asked of another one.
            let answer = self.ask(connection.node, &key, &open.into()).await;
            if let Some(Ok(answer)) = answer
                && answer.outcome.is_ok()
            {
                return true;
            }
            if self.shared.is_over() {
                return false;
            }
            self.think(100).await;
            connection.node = self.any_node();
        }
        false
    }

    async fn reconnect(&mut self, connection: &mut Connection) -> bool {
        connection.node = self.any_node();
        self.connect(connection).await
    }

    /// Joins; sometimes through two nodes at once, as one request or as two.
    async fn queue(&mut self, connection: &Connection) {
        let Ok(socket) = socket(connection) else { return };
        let join = JoinQueue {
            session: connection.session.clone(),
            socket,
            team: r#"{"name":"team","pets":[]}"#.into(),
            clocks: Clocks { turn_s: 30, total_s: 300, animation_max_ms: 1_000 },
        };
        let command = Command::from(join);
        if self.rng.random_bool(0.4) {
            let scope = KeyScope::Player(connection.session.player);
            let first = self.key(scope.clone());
            let second = if self.rng.random_bool(0.5) { first.clone() } else { self.key(scope) };
            let (one, other) = (connection.node, self.any_node());
            futures::join!(
                ask(&self.shared, one, &first, &command),
                ask(&self.shared, other, &second, &command),
            );
        }
        self.insist_as(connection, command).await;
    }

    async fn seat(&self, connection: &Connection) -> Option<(RoomId, Seat)> {
        let session = connection.session.clone();
        self.look(connection.node, move |machine| machine.live_seat_of(&session)).await?
    }

    async fn look<T: 'static>(
        &self,
        node: u64,
        look: impl FnOnce(&Machine) -> T + 'static,
    ) -> Option<T> {
        let look = move |cluster: serverv2_raft_simulated::Cluster| async move {
            cluster.read(|machine, _| look(machine)).value
        };
        self.shared.on(node, look).await
    }

    /// Is ready, chooses a few times, and ends it.
    async fn fight(&mut self, connection: &mut Connection, room: RoomId, seat: Seat) {
        let session = connection.session.clone();
        let mut inputs = vec![Input::Ready(seat)];
        for _ in 0..self.rng.random_range(1..6) {
            self.ids += 1;
            let text = format!("choice {} of player {}", self.ids, self.number);
            inputs.push(Input::Select(seat, text.into()));
        }
        for input in inputs {
            let append = AppendInput { session: session.clone(), room, input };
            let answer = self.insist_as(connection, append.into()).await;
            match answer.map(|answer| answer.outcome) {
                Some(Ok(_)) => {}
                Some(Err(Rejection::SessionGone)) if !self.shared.is_over() => {
                    if !self.reconnect(connection).await {
                        return;
                    }
                }
                _ => return,
            }
            self.think(30).await;
        }
        if self.rng.random_bool(0.7) {
            let after = move |machine: &Machine| machine.room(room).map(|room| room.last_number());
            if let Some(Some(after)) = self.look(connection.node, after).await {
                let outcome = Outcome { winner: Some(seat), reason: EndReason::Surrender };
                let end = EndBattle { room, after, outcome, digest: Digest([7; 32]) };
                self.insist_as(connection, end.into()).await;
            }
        }
    }

    async fn insist_as(&mut self, connection: &Connection, command: Command) -> Option<Answer> {
        self.insist(KeyScope::Player(connection.session.player), command).await
    }

    /// Asks until there is an answer, under one id, through whichever node.
    async fn insist(&mut self, scope: KeyScope, command: Command) -> Option<Answer> {
        let key = self.key(scope);
        for _ in 0..TRIES_MAX {
            let node = self.any_node();
            if let Some(Ok(answer)) = self.ask(node, &key, &command).await {
                if answer.outcome.is_ok() && self.rng.random_bool(0.15) {
                    // As a client does whose answer was lost.
                    let node = self.any_node();
                    self.ask(node, &key, &command).await;
                }
                return Some(answer);
            }
            self.think(150).await;
        }
        None
    }

    async fn ask(
        &self,
        node: u64,
        key: &ScopedKey,
        command: &Command,
    ) -> Option<Result<Answer, ProposeError>> {
        ask(&self.shared, node, key, command).await
    }

    async fn think(&mut self, up_to_ms: u64) {
        let ms = self.rng.random_range(1..=up_to_ms);
        sleep(Duration::from_millis(ms)).await;
    }

    fn any_node(&mut self) -> u64 {
        self.rng.random_range(1..=self.nodes)
    }

    fn nano(&mut self) -> NanoId {
        NanoId::from_entropy(&self.rng.random())
    }

    fn key(&mut self, scope: KeyScope) -> ScopedKey {
        self.ids += 1;
        let key = format!("p{}-{}", self.number, self.ids);
        ScopedKey { scope, key: key.parse().expect("it is short and plain") }
    }
}

/// Asks a node once. It submits the same request again if it can't tell what became of it.
async fn ask(
    shared: &Shared,
    node: u64,
    key: &ScopedKey,
    command: &Command,
) -> Option<Result<Answer, ProposeError>> {
    note!("{} asks n{node}: {command}", key.key.as_str());
    let (to_ask, under) = (command.clone(), key.clone());
    let as_new = shared.repeats_as_new();
    let asked = shared.on(node, move |cluster| async move {
        let under = (!as_new).then_some(under);
        let request = cluster.next_request();
        match cluster.submit(request, to_ask.clone(), under.clone()).await {
            Err(ProposeError::Unknown) => cluster.submit(request, to_ask, under).await,
            told => told,
        }
    });
    let told = asked.await;
    match &told {
        None => note!("{} has no answer: n{node} is gone", key.key.as_str()),
        Some(Err(error)) => note!("{} has no answer: {error}", key.key.as_str()),
        Some(Ok(answer)) => {
            match &answer.outcome {
                Ok(reply) => note!("{} is answered at {}: {reply}", key.key.as_str(), answer.index),
                Err(refusal) => {
                    note!("{} is refused at {}: {refusal}", key.key.as_str(), answer.index);
                }
            }
            // Without its key the log says nothing of it.
            if !as_new {
                shared.judge(|judge| judge.acknowledged(key, answer));
            }
        }
    }
    told
}

fn lifetimes() -> Lifetimes {
    Lifetimes { access_ms: HOUR_MS, refresh_ms: 24 * HOUR_MS }
}

fn socket(connection: &Connection) -> Result<serverv2_machine::SocketId, serverv2_machine::BadId> {
    format!("k{}-{}", connection.node, connection.session.session).parse()
}
