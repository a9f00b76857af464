//! Accounts in the cluster's own records: the machine decides, and every node has a copy.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serverv2_machine::{
    BindEmail, CheckCode, Command, CreateCode, CreateGuestWithTokens, CreatePlayer, Email, Issued,
    Lifetimes, OpenSession, Player, PlayerId, Purpose, RecoverPlayer, RefreshTokens, RenamePlayer,
    Request, ScopedKey, UnbindEmail,
};
use serverv2_raft::Cluster;
use tokio::time::timeout;

use super::{Answer, Binding, GivenCode, NewCode, Records, RecordsError};
use crate::auth::CodeKey;

/// How long the leader may take to say what there is. From then on this node's own word counts.
const PATIENCE: Duration = Duration::from_millis(500);

/// See the module's text.
pub struct Embedded {
    cluster: Cluster,
    /// The log knows codes by their hashes alone.
    codes: Arc<CodeKey>,
}

impl Embedded {
    /// The records of this cluster.
    pub fn new(cluster: Cluster, codes: Arc<CodeKey>) -> Self {
        Self { cluster, codes }
    }

    async fn propose<R: Request>(
        &self,
        request: R,
        key: Option<ScopedKey>,
    ) -> Result<R::Reply, RecordsError> {
        Ok(self.cluster.propose(request, key).await?.reply)
    }

    /// The account with all that was acknowledged anywhere before: a client that registers or renames itself
    /// through one node may ask another one in the next moment. Without a majority it is the account as this
    /// node knows it; nobody is told that it does not exist before the leader was asked.
    async fn find(&self, id: PlayerId) -> Result<Option<Player>, RecordsError> {
        let asked = self.cluster.read_linearizable(|_, records| records.player(id));
        tokio::pin!(asked);
        let known = || self.cluster.read(|_, records| records.player(id)).value;
        match timeout(PATIENCE, &mut asked).await {
            Ok(Ok(found)) => Ok(found.value),
            Ok(Err(error)) => known().map(Some).ok_or_else(|| error.into()),
            Err(_) => match known() {
                Some(account) => Ok(Some(account)),
                None => Ok(asked.await?.value),
            },
        }
    }
}

impl Records for Embedded {
    fn player(&self, id: PlayerId) -> Answer<'_, Option<Player>> {
        Box::pin(self.find(id))
    }

    fn player_at_door(&self, id: PlayerId) -> Answer<'_, Option<Player>> {
        Box::pin(self.find(id))
    }

    fn player_by_email(&self, email: Email) -> Answer<'_, Option<Player>> {
        // It may have been bound through another node a moment ago.
        Box::pin(async move {
            let read =
                |_: &_, records: &dyn serverv2_machine::Records| records.player_by_email(&email);
            Ok(self.cluster.read_linearizable(read).await?.value)
        })
    }

    fn create_guest(&self, guest: CreatePlayer, key: Option<ScopedKey>) -> Answer<'_, Player> {
        Box::pin(self.propose(guest, key))
    }

    fn create_guest_with_tokens(
        &self,
        guest: CreatePlayer,
        lifetimes: Lifetimes,
        key: Option<ScopedKey>,
    ) -> Answer<'_, Issued> {
        Box::pin(self.propose(CreateGuestWithTokens { guest, lifetimes }, key))
    }

    fn rename(&self, rename: RenamePlayer, key: Option<ScopedKey>) -> Answer<'_, Player> {
        Box::pin(self.propose(rename, key))
    }

    fn refresh_tokens(&self, refresh: RefreshTokens, key: Option<ScopedKey>) -> Answer<'_, Issued> {
        Box::pin(self.propose(refresh, key))
    }

    fn create_code(&self, code: NewCode) -> Answer<'_, Option<Player>> {
        let NewCode { email, purpose, player, source, code, limits } = code;
        let hash = self.codes.hash(&email, purpose, &code);
        let to = email.clone();
        let create = CreateCode { email, purpose, player, source, hash, limits };
        Box::pin(async move {
            self.propose(create, None).await?;
            let read = self.cluster.read(|_, records| match purpose {
                Purpose::Bind => player.and_then(|player| records.player(player)),
                Purpose::Recover => records.player_by_email(&to),
            });
            Ok(read.value)
        })
    }

    fn check_code(&self, code: GivenCode) -> Answer<'_, ()> {
        let GivenCode { email, purpose, code } = code;
        let hash = self.codes.hash(&email, purpose, &code);
        Box::pin(
            async move { self.propose(CheckCode { email, purpose, hash }, None).await.map(|_| ()) },
        )
    }

    fn bind_email(&self, binding: Binding) -> Answer<'_, Issued> {
        let Binding { player, authenticated, code, lifetimes } = binding;
        let GivenCode { email, purpose, code } = code;
        let hash = self.codes.hash(&email, purpose, &code);
        Box::pin(self.propose(BindEmail { player, authenticated, email, hash, lifetimes }, None))
    }

    fn recover(&self, code: GivenCode, lifetimes: Lifetimes) -> Answer<'_, Issued> {
        let GivenCode { email, purpose, code } = code;
        let hash = self.codes.hash(&email, purpose, &code);
        Box::pin(self.propose(RecoverPlayer { email, hash, lifetimes }, None))
    }

    fn unbind_email(&self, player: PlayerId) -> Answer<'_, ()> {
        Box::pin(async move { self.propose(UnbindEmail { player }, None).await.map(|_| ()) })
    }

    fn metadata(&self, _player: PlayerId) -> Answer<'_, Option<Box<RawValue>>> {
        Box::pin(async { Ok(None) })
    }

    fn session(&self, open: OpenSession, _player: &Player) -> Command {
        open.into()
    }

    fn forget(&self, _player: PlayerId) {}

    fn forget_all(&self) {}
}
