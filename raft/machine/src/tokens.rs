//! Tokens: which of them count, decided here so that all nodes agree. Signing is the shell's business,
//! and no token enters the log: a command names one by its id, an answer gives the claims to sign.
//!
//! A login begins a *family*. Its newest refresh token is exchanged for the next pair, each pair once:
//!
//! | Presented | Answer |
//! |---|---|
//! | the family's newest refresh token | the next pair |
//! | the one before, within [`REFRESH_REPEAT_MS`] | the same pair again: the first answer was lost |
//! | any other of a known family | refused, and the family is revoked: somebody has a copy |
//! | one of an unknown family | a pair; the family is known from here on |
//!
//! Unknown families are those of tokens from before this server, and those that were forgotten because
//! there are too many; both must go on working. A revocation is never forgotten before the last
//! token of its family has expired: when no more fit in, the next one is refused, and says so.
//!
//! Expiries are kept as log time. It stands still while the wall clock runs on, never the other way
//! round, so a token is remembered at least as long as its signature is good.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::applied::{Done, Issued, Rejection};
use crate::clock::LogTime;
use crate::command::CreatePlayer;
use crate::due::Due;
use crate::effect::Effect;
use crate::ids::{FamilyId, NanoId, PlayerId, TokenId};
use crate::limits::{REFRESH_REPEAT_MS, REVOCATIONS_MAX, TOKEN_FAMILIES_MAX};
use crate::machine::{Machine, Turn};
use crate::records::Player;

/// How long new tokens are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetimes {
    /// Access tokens, milliseconds.
    pub access_ms: u64,
    /// Refresh tokens, milliseconds.
    pub refresh_ms: u64,
}

impl fmt::Display for Lifetimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "access={}ms refresh={}ms", self.access_ms, self.refresh_ms)
    }
}

/// The claims of two tokens that belong together. Times are seconds since 1970, as tokens have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPair {
    /// `jti` of the access token.
    pub access: TokenId,
    /// `jti` of the refresh token.
    pub refresh: TokenId,
    /// `iat` of both.
    pub issued_s: u64,
    /// `exp` of the access token.
    pub access_expires_s: u64,
    /// `exp` of the refresh token.
    pub refresh_expires_s: u64,
}

impl fmt::Display for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { access, refresh, issued_s, access_expires_s, refresh_expires_s } = self;
        write!(
            f,
            "access {access} until {access_expires_s}s, refresh {refresh} until \
             {refresh_expires_s}s, from {issued_s}s"
        )
    }
}

/// Exchange a refresh token for a new pair (see `tokens.rs`). Its signature and its expiry were checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshTokens {
    /// Whose token it is.
    pub player: PlayerId,
    /// The token's id.
    pub token: TokenId,
    /// How long it would be valid still, milliseconds.
    pub remaining_ms: u64,
    /// How long the new pair is valid.
    pub lifetimes: Lifetimes,
}

/// Accept this token no longer, nor any other of its family. It may be revoked already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeToken {
    /// The token's id.
    pub token: TokenId,
    /// How long it would be valid still, milliseconds.
    pub remaining_ms: u64,
}

/// A new guest account that proves by token to be itself, and its first pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateGuestWithTokens {
    /// The account.
    pub guest: CreatePlayer,
    /// How long the pair is valid.
    pub lifetimes: Lifetimes,
}

impl fmt::Display for RefreshTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { player, token, remaining_ms, lifetimes } = self;
        write!(f, "refresh-tokens {token} of {player} left={remaining_ms}ms {lifetimes}")
    }
}

impl fmt::Display for RevokeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revoke-token {} left={}ms", self.token, self.remaining_ms)
    }
}

impl fmt::Display for CreateGuestWithTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with tokens {}", self.guest, self.lifetimes)
    }
}

/// All families and revocations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tokens {
    families: BTreeMap<FamilyId, Family>,
    revoked: BTreeMap<FamilyId, Revoked>,
    /// When each family was last refreshed: the first is the next to be forgotten.
    #[serde(skip)]
    by_refresh: BTreeSet<(LogTime, FamilyId)>,
    /// The same of each player.
    #[serde(skip)]
    by_player: BTreeMap<PlayerId, BTreeSet<(LogTime, FamilyId)>>,
}

/// A login that still counts: what is known of its family of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// Which.
    pub family: FamilyId,
    /// Its newest tokens.
    pub pair: TokenPair,
    /// From when on none of its tokens is valid.
    pub end: LogTime,
}

/// What is known of the tokens that follow from one login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Family {
    player: PlayerId,
    pair: TokenPair,
    /// What the pair was given for, if not for a login.
    previous: Option<TokenId>,
    /// When the pair was given.
    refreshed: LogTime,
    /// From when on none of its tokens is valid.
    end: LogTime,
}

/// A family whose tokens are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Revoked {
    /// The token that was presented.
    token: TokenId,
    /// From when on none of its tokens is valid.
    end: LogTime,
}

impl Tokens {
    pub(crate) fn is_revoked(&self, family: FamilyId) -> bool {
        self.revoked.contains_key(&family)
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.families.len(), self.revoked.len())
    }

    pub(crate) fn revoked(&self) -> impl Iterator<Item = (TokenId, LogTime)> {
        self.revoked.values().map(|revoked| (revoked.token, revoked.end))
    }

    pub(crate) fn family_ends(&self) -> impl Iterator<Item = (FamilyId, LogTime)> {
        self.families.iter().map(|(id, family)| (*id, family.end))
    }

    pub(crate) fn revocation_ends(&self) -> impl Iterator<Item = (FamilyId, LogTime)> {
        self.revoked.iter().map(|(id, revoked)| (*id, revoked.end))
    }

    pub(crate) fn forget(&mut self, id: FamilyId) -> Option<LogTime> {
        let family = self.families.remove(&id)?;
        self.by_refresh.remove(&(family.refreshed, id));
        if let Some(of_player) = self.by_player.get_mut(&family.player) {
            of_player.remove(&(family.refreshed, id));
            if of_player.is_empty() {
                self.by_player.remove(&family.player);
            }
        }
        Some(family.end)
    }

    fn know(&mut self, id: FamilyId, family: Family) {
        self.by_refresh.insert((family.refreshed, id));
        self.by_player.entry(family.player).or_default().insert((family.refreshed, id));
        self.families.insert(id, family);
    }

    /// A player's logins, the one that was refreshed last first.
    pub(crate) fn logins_of(&self, player: PlayerId) -> impl Iterator<Item = Login> {
        let ids = self.by_player.get(&player).into_iter().flatten().rev();
        ids.filter_map(|(_, id)| {
            let Family { pair, end, .. } = *self.families.get(id)?;
            Some(Login { family: *id, pair, end })
        })
    }

    /// Players with a login, from behind this one on.
    pub(crate) fn players_after(&self, after: Option<PlayerId>) -> impl Iterator<Item = PlayerId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_player.range((from, Bound::Unbounded)).map(|(player, _)| *player)
    }

    pub(crate) fn end_revocation(&mut self, id: FamilyId) {
        self.revoked.remove(&id);
    }

    pub(crate) fn reindex(&mut self) {
        let families = self.families.iter();
        self.by_refresh = families.map(|(id, family)| (family.refreshed, *id)).collect();
        self.by_player = BTreeMap::new();
        for (id, family) in &self.families {
            self.by_player.entry(family.player).or_default().insert((family.refreshed, *id));
        }
    }
}

impl Machine {
    /// The first pair of a new family, for a player who has just proved to be it.
    pub(crate) fn issue(
        &mut self,
        turn: &Turn<'_>,
        player: Player,
        lifetimes: Lifetimes,
    ) -> Issued {
        let family = TokenId(NanoId::from_entropy(&turn.draw(b"token family"))).family();
        let none_before = LogTime::default();
        self.next_pair(turn, family, player, None, lifetimes, none_before)
    }

    pub(crate) fn refresh_tokens(
        &mut self,
        turn: &mut Turn<'_>,
        c: &RefreshTokens,
    ) -> Result<Issued, Rejection> {
        let player = turn.records.player(c.player).ok_or(Rejection::PlayerUnknown)?;
        self.refresh(turn, c, player)
    }

    /// The same for whoever has found the player.
    pub(crate) fn refresh(
        &mut self,
        turn: &mut Turn<'_>,
        c: &RefreshTokens,
        player: Player,
    ) -> Result<Issued, Rejection> {
        let id = c.token.family();
        if self.tokens.is_revoked(id) {
            return Err(Rejection::TokenRevoked);
        }
        let presented_end = turn.now.plus_ms(c.remaining_ms);
        let end = match self.tokens.families.get(&id) {
            None => presented_end,
            Some(family) if family.player != c.player => return Err(Rejection::TokenRevoked),
            Some(family) if family.pair.refresh == c.token => family.end.max(presented_end),
            Some(family) if family.repeats(c.token, turn.now) => {
                return Ok(Issued { player, pair: family.pair });
            }
            Some(_) => {
                self.revoke(turn, c.token, presented_end)?;
                return Err(Rejection::TokenReused);
            }
        };
        Ok(self.next_pair(turn, id, player, Some(c.token), c.lifetimes, end))
    }

    pub(crate) fn revoke_token(
        &mut self,
        turn: &mut Turn<'_>,
        c: RevokeToken,
    ) -> Result<Done, Rejection> {
        let end = turn.now.plus_ms(c.remaining_ms);
        self.revoke(turn, c.token, end).map(|()| Done)
    }

    /// Gives a family its next pair. `end`: from when on no token that it had before is valid.
    fn next_pair(
        &mut self,
        turn: &Turn<'_>,
        id: FamilyId,
        player: Player,
        previous: Option<TokenId>,
        lifetimes: Lifetimes,
        end: LogTime,
    ) -> Issued {
        let token = |tag| TokenId::in_family(id, NanoId::from_entropy(&turn.draw(tag)));
        let issued_s = turn.wall.0 / 1_000;
        let expires_s = |ms: u64| issued_s.saturating_add(ms / 1_000);
        let pair = TokenPair {
            access: token(b"access token"),
            refresh: token(b"refresh token"),
            issued_s,
            access_expires_s: expires_s(lifetimes.access_ms),
            refresh_expires_s: expires_s(lifetimes.refresh_ms),
        };
        let of_pair = turn.now.plus_ms(lifetimes.access_ms.max(lifetimes.refresh_ms));
        let (refreshed, end) = (turn.now, end.max(of_pair));
        self.forget_family(id);
        while self.tokens.families.len() >= TOKEN_FAMILIES_MAX
            && let Some((_, oldest)) = self.tokens.by_refresh.first().copied()
        {
            self.forget_family(oldest);
        }
        let family = Family { player: player.id, pair, previous, refreshed, end };
        self.tokens.know(id, family);
        self.due.add(end, Due::FamilyEnd(id));
        Issued { player, pair }
    }

    /// Revokes the family of this token, until `end` or for as long as it is known to last.
    fn revoke(
        &mut self,
        turn: &mut Turn<'_>,
        token: TokenId,
        end: LogTime,
    ) -> Result<(), Rejection> {
        let id = token.family();
        let before = self.tokens.revoked.get(&id).copied();
        if before.is_none() && self.tokens.revoked.len() >= REVOCATIONS_MAX {
            return Err(Rejection::RevocationsFull);
        }
        let player = self.tokens.families.get(&id).map(|family| family.player);
        let end = end.max(self.forget_family(id).unwrap_or_default());
        let (token, end) = match before {
            None => {
                turn.emit(Effect::TokensRevoked { token, player });
                (token, end)
            }
            Some(before) => {
                self.due.cancel(before.end, Due::RevocationEnd(id));
                (before.token, end.max(before.end))
            }
        };
        self.tokens.revoked.insert(id, Revoked { token, end });
        self.due.add(end, Due::RevocationEnd(id));
        Ok(())
    }

    fn forget_family(&mut self, id: FamilyId) -> Option<LogTime> {
        let end = self.tokens.forget(id)?;
        self.due.cancel(end, Due::FamilyEnd(id));
        Some(end)
    }
}

impl Family {
    /// Whether this is the token that the pair was given for, and a lost answer may explain it.
    fn repeats(&self, token: TokenId, now: LogTime) -> bool {
        self.previous == Some(token) && now.ms_since(self.refreshed) < REFRESH_REPEAT_MS
    }
}
