//! Changes of the membership, made by the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, async_runtime::WatchReceiver as _};
use tokio::time::{Instant, sleep, timeout};

use super::view::{self, MemberView, MembersView};
use super::{Change, Changed, Unchanged, Verdict, code};
use crate::network::Peers;
use crate::succession;
use crate::transport::handshake::HandshakeError;
use crate::transport::link::CallError;
use crate::types::{Member, Raft, TypeConfig};
use crate::whole::whole;

/// How long a node is given to acknowledge the leader once more: what it did before may be its last word.
const BENEFIT: Duration = Duration::from_millis(1_500);
/// Entries that a node may lack and count as caught up: there is always something under way.
const LAG_MAX: u64 = 1_000;
/// Pause between two looks at what is waited for.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// What changes are made with.
#[derive(Clone)]
pub(crate) struct Leading {
    pub(crate) raft: Raft,
    pub(crate) peers: Peers,
    /// Where others reach this node, if it was said.
    pub(crate) own_address: String,
}

/// Why a change ended: an answer for whoever asked, or another leader's turn.
enum End {
    Not(Unchanged),
    NotLeading,
}

impl From<Unchanged> for End {
    fn from(not: Unchanged) -> Self {
        Self::Not(not)
    }
}

type Step<T> = Result<T, End>;
type Changes = ChangeMembers<u64, Member>;

impl Leading {
    /// Makes a change, if this node leads.
    pub(crate) async fn change(&self, change: Change, patience: Duration) -> Verdict {
        let until = Instant::now() + patience;
        let text = change.to_string();
        match timeout(patience, self.make(change, until)).await {
            Ok(Ok(done)) => Verdict::Done(done),
            Ok(Err(End::Not(not))) => Verdict::Not(not),
            Ok(Err(End::NotLeading)) => Verdict::NotLeading,
            Err(_) => Verdict::Not(Unchanged::for_now(
                code::UNKNOWN,
                format!(
                    "{text}: no end of it in time; it may be done, wholly or in part. Look at the status \
                     and ask again"
                ),
            )),
        }
    }

    async fn make(&self, change: Change, until: Instant) -> Step<Changed> {
        if self.view().leader != Some(self.peers.own.node) {
            return Err(End::NotLeading);
        }
        self.settle().await?;
        match change {
            Change::Add { node, address } => self.add(node, address, until).await,
            Change::Promote(node) => self.promote(node, until).await,
            Change::Demote(node) => self.demote(node, until).await,
            Change::Remove(node) => self.remove(node, until).await,
            Change::TransferLead(to) => self.transfer(to, until).await,
        }
    }

    /// Ends a change of the voters that another leader began.
    async fn settle(&self) -> Step<()> {
        if self.view().is_joint {
            self.commit(ChangeMembers::AddVoterIds(BTreeSet::new())).await?;
        }
        Ok(())
    }

    async fn add(&self, node: u64, address: String, until: Instant) -> Step<Changed> {
        let before = self.view();
        let known = before.members.iter().find(|member| member.node == node);
        if known.is_none() && before.removed.contains(&node) {
            return Err(used(node).into());
        }
        if node == self.peers.own.node {
            return Ok(already(&format!("node {node} is a member, and leads")));
        }
        let mut link = self.peers.link_to(node, address.clone());
        let card = match link.greet_newcomer().await {
            Ok(card) => card,
            Err(CallError::Connect(_, _, error)) if !matches!(error, HandshakeError::Io(_)) => {
                return Err(Unchanged::new(
                    code::NODE_FOREIGN,
                    format!("who answers at {address} is not taken in: {error}"),
                )
                .into());
            }
            Err(error) if known.is_some_and(|known| known.address == address) => {
                return Ok(already(&format!(
                    "node {node} is a member, but not reached now ({error})"
                )));
            }
            Err(error) => {
                let text = format!("node {node} can't be reached at {address}: {error}");
                return Err(Unchanged::for_now(code::NODE_UNREACHABLE, text).into());
            }
        };
        drop(link);
        let cluster = self.peers.own.cluster().unwrap_or_default();
        let member = Member { address: address.clone(), folder: card.folder, cluster };
        match known {
            Some(known) if known.address == address => {
                return Ok(already(&format!("node {node} is a member, as a {}", role(known))));
            }
            // The handshake has shown that it is the same node on the same folder.
            Some(_) => {
                self.commit(ChangeMembers::SetNodes(BTreeMap::from([(node, member)]))).await?;
                return Ok(done(format!("node {node} is a member, now at {address}")));
            }
            None => {}
        }
        self.have_address(&before).await?;
        self.commit(ChangeMembers::AddNodes(BTreeMap::from([(node, member)]))).await?;
        let member = self.caught_up(node, until).await?;
        Ok(done(format!("node {node} is a learner, and has the log up to {}", has(&member))))
    }

    /// A node that was alone had no use for an address; whoever joins needs one.
    async fn have_address(&self, before: &MembersView) -> Step<()> {
        let own = self.peers.own.node;
        let known = before.members.iter().find(|member| member.node == own);
        if known.is_none_or(|known| !known.address.is_empty()) {
            return Ok(());
        }
        if self.own_address.is_empty() {
            let text = format!(
                "where others reach node {own}, which leads, is not known: give it PEERS, with itself in it, \
                 and start it again"
            );
            return Err(Unchanged::new(code::NO_ADDRESS, text).into());
        }
        let cluster = self.peers.own.cluster().unwrap_or_default();
        let folder = self.peers.own.folder;
        let member = Member { address: self.own_address.clone(), folder, cluster };
        self.commit(ChangeMembers::SetNodes(BTreeMap::from([(own, member)]))).await
    }

    async fn promote(&self, node: u64, until: Instant) -> Step<Changed> {
        let member = self.member(node)?;
        if member.is_voter {
            return Ok(already(&format!("node {node} is a voter")));
        }
        self.heard(node).await?;
        self.caught_up(node, until).await?;
        self.keeps_quorum(|voters| _ = voters.insert(node)).await?;
        self.commit(ChangeMembers::AddVoterIds(BTreeSet::from([node]))).await?;
        Ok(done(format!("node {node} is a voter")))
    }

    async fn demote(&self, node: u64, until: Instant) -> Step<Changed> {
        if !self.member(node)?.is_voter {
            return Ok(already(&format!("node {node} is a learner")));
        }
        self.take_vote(node, until).await?;
        Ok(done(format!("node {node} is a learner")))
    }

    async fn remove(&self, node: u64, until: Instant) -> Step<Changed> {
        let view = self.view();
        let member = view.members.iter().find(|member| member.node == node);
        match member {
            None if view.removed.contains(&node) => {
                return Ok(already(&format!("node {node} was removed before")));
            }
            None => return Err(unknown(node, &view).into()),
            Some(member) if member.is_voter => self.take_vote(node, until).await?,
            Some(_) => {}
        }
        self.commit(ChangeMembers::RemoveNodes(BTreeSet::from([node]))).await?;
        Ok(done(format!("node {node} is removed: stop it, and don't use its id again")))
    }

    /// Makes a voter a learner. If it leads, another one has to do it.
    async fn take_vote(&self, node: u64, until: Instant) -> Step<()> {
        if self.view().members.iter().filter(|member| member.is_voter).count() == 1 {
            let text = format!("node {node} is the only voter: promote another one first");
            return Err(Unchanged::new(code::LAST_VOTER, text).into());
        }
        self.keeps_quorum(|voters| _ = voters.remove(&node)).await?;
        if node == self.peers.own.node {
            self.give_lead(None, until).await?;
            return Err(End::NotLeading);
        }
        self.commit(ChangeMembers::RemoveVoters(BTreeSet::from([node]))).await
    }

    async fn transfer(&self, to: Option<u64>, until: Instant) -> Step<Changed> {
        let own = self.peers.own.node;
        if let Some(to) = to {
            if !self.member(to)?.is_voter {
                let text = format!("node {to} is a learner, and only a voter can lead: promote it");
                return Err(Unchanged::new(code::NOT_A_VOTER, text).into());
            }
            if to == own {
                return Ok(already(&format!("node {to} leads")));
            }
            self.heard(to).await?;
            self.caught_up(to, until).await?;
        } else if self.view().members.iter().filter(|member| member.is_voter).count() == 1 {
            let text = format!("node {own} is the only voter: promote another one first");
            return Err(Unchanged::new(code::LAST_VOTER, text).into());
        }
        let leader = self.give_lead(to, until).await?;
        if to.is_some_and(|to| to != leader) {
            // Another one was faster; it can pass the lead on.
            return Err(End::NotLeading);
        }
        Ok(done(format!("node {leader} leads")))
    }

    /// Lets another voter lead, and says which one does.
    async fn give_lead(&self, to: Option<u64>, until: Instant) -> Step<u64> {
        let own = self.peers.own.node;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if let Some(leader) = succession::hand_over(&self.raft, own, to, left).await {
                return Ok(leader);
            }
            if Instant::now() >= until {
                let text = "no other node took the lead in time: look at the status and ask again";
                return Err(Unchanged::for_now(code::UNKNOWN, text).into());
            }
            // Nobody may lead for a moment, or the same one again.
            sleep(LOOK_PERIOD).await;
        }
    }

    /// Whether the voters after a change have a majority that lives.
    async fn keeps_quorum(&self, change: impl Fn(&mut BTreeSet<u64>)) -> Step<()> {
        let since = Instant::now();
        let look = || {
            let view = self.view();
            let voters = view.members.iter().filter(|member| member.is_voter);
            let mut after: BTreeSet<u64> = voters.map(|member| member.node).collect();
            change(&mut after);
            let live = view.members.iter().filter(|it| after.contains(&it.node));
            let live = live.filter(|it| is_heard(it, since));
            (after.len(), live.count())
        };
        let enough = |(voters, live): &(usize, usize)| *live > voters / 2;
        let (voters, live) = self.benefit(look, enough).await;
        if enough(&(voters, live)) {
            return Ok(());
        }
        let text = format!(
            "after that there would be {voters} voters, and {live} of them live now: the {} that a majority \
             takes would not be there. Bring dead voters back, or remove those first",
            voters / 2 + 1
        );
        Err(Unchanged::for_now(code::QUORUM_LOST, text).into())
    }

    /// Whether a member acknowledges the leader.
    async fn heard(&self, node: u64) -> Step<()> {
        let since = Instant::now();
        let look = || self.view().members.iter().any(|it| it.node == node && is_heard(it, since));
        if self.benefit(look, |heard| *heard).await {
            return Ok(());
        }
        let text = format!("node {node} does not answer the leader: is it running, and reached?");
        Err(Unchanged::for_now(code::NODE_UNREACHABLE, text).into())
    }

    /// Looks until it is as wanted, for a little while.
    async fn benefit<T>(&self, look: impl Fn() -> T, wanted: impl Fn(&T) -> bool) -> T {
        let until = Instant::now() + BENEFIT;
        loop {
            let seen = look();
            if wanted(&seen) || Instant::now() >= until {
                return seen;
            }
            sleep(LOOK_PERIOD).await;
        }
    }

    /// Waits until a member has nearly all of the log.
    async fn caught_up(&self, node: u64, until: Instant) -> Step<MemberView> {
        // The answer must be on its way before the caller's time is over.
        let until = until.checked_sub(LOOK_PERIOD * 4).unwrap_or(until);
        loop {
            let view = self.view();
            if view.leader != Some(self.peers.own.node) {
                return Err(End::NotLeading);
            }
            let Some(member) = view.members.iter().find(|member| member.node == node) else {
                return Err(unknown(node, &view).into());
            };
            if member.has.is_some_and(|has| has + LAG_MAX >= view.committed) {
                return Ok(member.clone());
            }
            if Instant::now() >= until {
                let text = format!(
                    "node {node} is a {} and lacks too much of the log, still: it has {} of {} entries. It \
                     goes on catching up; ask again",
                    role(member),
                    has(member),
                    view.committed
                );
                return Err(Unchanged::for_now(code::NODE_BEHIND, text).into());
            }
            sleep(LOOK_PERIOD).await;
        }
    }

    /// One change of consensus, to its end. Another one that is under way is waited for.
    async fn commit(&self, changes: Changes) -> Step<()> {
        loop {
            // What goes stays as a learner: taking it out is a step of its own.
            let (raft, changes) = (self.raft.clone(), changes.clone());
            match whole(async move { raft.change_membership(changes, true).await }).await {
                Some(Ok(written)) => {
                    self.seen(written.log_id.index).await;
                    return Ok(());
                }
                Some(Err(error)) => refused(error)?,
                None => return Err(End::NotLeading),
            }
            sleep(LOOK_PERIOD).await;
        }
    }

    /// Waits until the change of this index is seen in all that is looked at here.
    async fn seen(&self, index: u64) {
        self.peers.own.replica.applied_at_least(index).await;
        let mut metrics = self.raft.metrics();
        loop {
            let newest = metrics.borrow_watched().membership_config.log_id().map(|at| at.index);
            if newest >= Some(index) || metrics.changed().await.is_err() {
                return;
            }
        }
    }

    fn member(&self, node: u64) -> Result<MemberView, Unchanged> {
        let view = self.view();
        let member = view.members.iter().find(|member| member.node == node).cloned();
        member.ok_or_else(|| unknown(node, &view))
    }

    fn view(&self) -> MembersView {
        view::look(&self.raft, &self.peers.own.replica, self.peers.own.node)
    }
}

/// What consensus says against a change; nothing, if it has only to be tried again.
fn refused(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Step<()> {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) | RaftError::Fatal(_) => {
            Err(End::NotLeading)
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::EmptyMembership(_)
            | ChangeMembershipError::LearnerNotFound(_)
            | ChangeMembershipError::UnsupportedMembershipTransition(_)
            | ChangeMembershipError::NodeMetadataChanged(_),
        )) => {
            // It was checked before, so somebody else has changed it since.
            let text =
                "the membership was changed by somebody else: look at the status and ask again";
            Err(Unchanged::for_now(code::UNKNOWN, text).into())
        }
        RaftError::APIError(error) => {
            tracing::debug!(%error, "consensus does not change the membership yet");
            Ok(())
        }
    }
}

/// Whether it has acknowledged something that was sent to it since then.
fn is_heard(member: &MemberView, since: Instant) -> bool {
    member.heard_ms.is_some_and(|ms| u128::from(ms) < since.elapsed().as_millis())
}

fn role(member: &MemberView) -> &'static str {
    if member.is_voter { "voter" } else { "learner" }
}

fn has(member: &MemberView) -> u64 {
    member.has.unwrap_or(0)
}

fn done(message: String) -> Changed {
    Changed { already: false, message }
}

fn already(message: &str) -> Changed {
    Changed { already: true, message: format!("{message}: nothing to do") }
}

fn unknown(node: u64, view: &MembersView) -> Unchanged {
    if view.removed.contains(&node) {
        return used(node);
    }
    let members: Vec<u64> = view.members.iter().map(|member| member.node).collect();
    let text = format!("node {node} is no member of the cluster, which has {members:?}");
    Unchanged::new(code::NODE_UNKNOWN, text)
}

fn used(node: u64) -> Unchanged {
    let text = format!(
        "node {node} was removed, and its id is not used again: start an empty folder under a new id, add \
         that, and promote it"
    );
    Unchanged::new(code::NODE_REMOVED, text)
}
