//! Logins as another service reads them: five of each player, with or without their tokens, whatever Redis loses.

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

use std::collections::BTreeMap;

use hyper::Method;

use super::several::Servers;
use crate::harness::process::Options;
use crate::harness::redis::Redis;
use crate::harness::{Server, eventually, jwt};
use crate::kept::{Kept, wherever_players_are_kept};
use crate::tokens::{Holder, by, refresh, verify, wanting_tokens};

type Fields = BTreeMap<String, String>;

/// Logins of a player that are shown (contract 1.8).
const SHOWN: usize = 5;

/// A player's logins by their names, and the newest of them.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    newest: Fields,
    logins: BTreeMap<String, Fields>,
}

impl Told {
    fn of(redis: &impl Servers, player: &str) -> Self {
        let read = |key: &str| {
            let mut fields: Fields = redis.about(key, redis::cmd("HGETALL").arg(key));
            fields.remove("fence");
            fields
        };
        let newest = format!("arcadia:session:{player}");
        let keys = redis.keys(&format!("{newest}:*"));
        let logins = keys.iter().map(|key| (key[newest.len() + 1..].to_owned(), read(key)));
        Self { newest: read(&newest), logins: logins.filter(|(_, it)| !it.is_empty()).collect() }
    }

    /// Whether the newest is among them, and the same. They are written one after the other.
    fn agrees(&self) -> bool {
        let name = self.newest.get("sessionId");
        name.and_then(|name| self.logins.get(name)) == Some(&self.newest)
    }

    fn names(&self) -> Vec<&str> {
        self.logins.keys().map(String::as_str).collect()
    }
}

async fn until(redis: &Redis, player: &str, what: &str, wanted: impl Fn(&Told) -> bool) -> Told {
    let told = || async { Told::of(redis, player) };
    eventually(what, told, |told| wanted(told) && (told.agrees() || told.newest.is_empty())).await
}

fn options(redis: &Redis) -> Options {
    wanting_tokens(Options::default()).env("REDIS_URL", redis.url())
}

/// One more login of this player: a refresh token of the existing server, whose family is not known yet.
async fn login(player: &str, number: usize, server: &Server) -> (String, String) {
    let old = jwt::refresh(player, &format!("family-{number}-of-many-logins")[..21]);
    let (status, pair) = refresh(&old, server).await;
    assert_eq!(status, 200, "{pair}");
    let text = |name: &str| pair[name].as_str().unwrap().to_owned();
    (text("accessToken"), text("refreshToken"))
}

#[tokio::test]
async fn a_sixth_login_pushes_the_oldest_out_and_whoever_comes_back_is_shown_again() {
    let redis = Redis::start().await;
    let server = options(&redis).start().await;
    let ann = Holder::of(&server).await;
    let first = until(&redis, &ann.id, "the first", |told| told.logins.len() == 1).await;
    let first = first.names()[0].to_owned();
    let mut names = vec![first.clone()];
    for number in 1..SHOWN {
        login(&ann.id, number, &server).await;
        let told = |told: &Told| told.logins.len() == number + 1;
        let told = until(&redis, &ann.id, "one more", told).await;
        assert!(names.iter().all(|name| told.logins.contains_key(name)), "{told:?} {names:?}");
        names = told.names().into_iter().map(str::to_owned).collect();
    }
    login(&ann.id, SHOWN, &server).await;
    let without_first = |told: &Told| !told.logins.contains_key(&first);
    let told = until(&redis, &ann.id, "the first is out", without_first).await;
    assert_eq!(told.logins.len(), SHOWN);
    assert!(told.newest["sessionId"].starts_with("family-5"), "{told:?}");
    let left: Fields =
        redis.ask(redis::cmd("HGETALL").arg(format!("arcadia:session:{}:{first}", ann.id)));
    assert_eq!(left.keys().collect::<Vec<_>>(), ["fence"], "nothing of it but the fence");
    assert_eq!(verify(&ann.access, &server).await, 200, "what is not shown counts all the same");

    let (status, _) = refresh(&ann.refresh, &server).await;
    assert_eq!(status, 200);
    let with_first =
        |told: &Told| told.newest.get("sessionId") == Some(&first) && told.logins.len() == SHOWN;
    let told = until(&redis, &ann.id, "the first is the newest of five", with_first).await;
    assert!(!told.names().iter().any(|name| name.starts_with("family-1")), "the next one is out");
}

#[tokio::test]
async fn a_flush_loses_no_login_and_expiries_are_as_before() {
    let redis = Redis::start().await;
    let server = options(&redis).start().await;
    let ann = Holder::of(&server).await;
    for number in 1..=SHOWN {
        login(&ann.id, number, &server).await;
    }
    let whole = |told: &Told| {
        told.logins.len() == SHOWN
            && told.newest.get("sessionId").is_some_and(|it| it.starts_with("family-5"))
    };
    let before = until(&redis, &ann.id, "five logins", whole).await;
    let expires = |told: &Told| -> Vec<i64> {
        let ttl = |name: &String| {
            redis.ask(redis::cmd("PTTL").arg(format!("arcadia:session:{}:{name}", ann.id)))
        };
        told.logins.keys().map(ttl).collect()
    };
    let lives = expires(&before);
    let () = redis.ask(&redis::cmd("FLUSHALL"));
    let after = until(&redis, &ann.id, "the same logins", whole).await;
    // Their first tokens are their newest still: so their beginnings are known, too.
    assert_eq!(after, before);
    for (life, before) in expires(&after).into_iter().zip(lives) {
        assert!(life > 0 && life.abs_diff(before) < 60_000, "{life} after, {before} before");
    }
}

#[tokio::test]
async fn a_login_tells_when_it_began_and_where_its_player_is() {
    let redis = Redis::start().await;
    let server = options(&redis).start().await;
    let ann = Holder::of(&server).await;
    let one = |told: &Told| told.logins.len() == 1 && told.newest.contains_key("createdAt");
    let told = until(&redis, &ann.id, "a login", one).await;
    let login = told.newest.clone();
    assert_eq!(login["instanceId"], "", "its player is nowhere");
    assert_eq!((&login["createdAt"], &*login["metadata"]), (&login["lastAccessed"], "{}"));
    let token: Vec<&str> = ["accessToken", "refreshToken"]
        .into_iter()
        .filter(|name| login.contains_key(*name))
        .collect();
    assert!(token.is_empty(), "no tokens unless a setting says so");

    let client = ann.dial(&server).open().await;
    let here = |told: &Told| told.newest.get("instanceId").is_some_and(|it| it == "node-1");
    until(&redis, &ann.id, "where the player is", here).await;
    drop(client);
    let gone = |told: &Told| told.newest.get("instanceId").is_some_and(String::is_empty);
    until(&redis, &ann.id, "that the player is gone", gone).await;

    // A second later there is another time to be told.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(refresh(&ann.refresh, &server).await.0, 200);
    let refreshed = |told: &Told| told.newest.get("accessJti") != login.get("accessJti");
    let told = until(&redis, &ann.id, "the next tokens", refreshed).await;
    assert_eq!(told.newest["createdAt"], login["createdAt"], "the login is the same");
    assert!(told.newest["lastAccessed"] > login["lastAccessed"], "{told:?}");
    self::login(&ann.id, 7, &server).await;
    let other = |told: &Told| told.newest.get("sessionId") != login.get("sessionId");
    let told = until(&redis, &ann.id, "another login", other).await;
    assert!(told.newest["createdAt"] > login["createdAt"], "and began later: {told:?}");

    let guest = Options::default().env("REDIS_URL", redis.url()).env("REDIS_KEY_PREFIX", "b:");
    let guests = guest.start().await;
    let (id, client) = crate::harness::connected_guest(&guests).await;
    let connection = format!("b:player:connections:{id}");
    let there = || async { redis.keys(&connection).len() };
    eventually("a connection", there, |there| *there == 1).await;
    drop(client);
    let left = || async { redis.ask::<Fields>(redis::cmd("HGETALL").arg(&connection)) };
    eventually("a goodbye", left, |left| left.len() == 1).await;
    assert_eq!(redis.keys("b:session:*"), [""; 0], "who has no login leaves no key");
}

wherever_players_are_kept! {
    tokens_are_told_only_where_a_setting_says_so_and_are_gone_with_it
}

async fn tokens_are_told_only_where_a_setting_says_so_and_are_gone_with_it(kept: Kept) {
    let redis = Redis::start().await;
    let telling = kept.by(options(&redis)).env("REDIS_SESSION_TOKENS", "true");
    let mut server = telling.start().await;
    assert!(server.says("REDIS_SESSION_TOKENS is true: whoever"), "nobody does it unknowingly");
    let ann = Holder::of(&server).await;
    let told = |access: String| move |told: &Told| told.newest.get("accessToken") == Some(&access);
    let login = until(&redis, &ann.id, "the tokens", told(ann.access.clone())).await;
    assert_eq!(login.newest["refreshToken"], ann.refresh, "as its player was given them");

    let (_, pair) = refresh(&ann.refresh, &server).await;
    let access = pair["accessToken"].as_str().unwrap().to_owned();
    let next = until(&redis, &ann.id, "the next tokens", told(access.clone())).await;
    assert_eq!(next.newest["refreshToken"], pair["refreshToken"].as_str().unwrap());
    assert_eq!(verify(&next.newest["accessToken"], &server).await, 200);
    let () = redis.ask(&redis::cmd("FLUSHALL"));
    let again = until(&redis, &ann.id, "the same after a flush", told(access.clone())).await;
    assert_eq!(again.newest["refreshToken"], next.newest["refreshToken"]);
    assert!(!server.says(&access) && !server.says(&ann.refresh), "the log tells no token");

    server.kill9();
    server.change("REDIS_SESSION_TOKENS", "false");
    server.restart().await;
    let without = |told: &Told| {
        told.newest.contains_key("accessJti") && !told.newest.contains_key("accessToken")
    };
    let told = until(&redis, &ann.id, "a login without tokens", without).await;
    assert!(told.logins.values().all(|login| !login.contains_key("refreshToken")), "{told:?}");
    let logout = by(&access, &server, Method::POST, "/api/v1/auth/logout").send().await;
    assert_eq!(logout.status, 200);
    until(&redis, &ann.id, "no login", |told| told.newest.is_empty() && told.logins.is_empty())
        .await;
}
