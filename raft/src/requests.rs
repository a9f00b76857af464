//! The requests of this process that are not settled: who waits for them, and which is the lowest.
//!
//! A request id is *open* from the moment it is given out until nobody has a use for it any more:
//! neither a caller who waits for its answer or may still submit it, nor a proposal that is under way.
//! The lowest open sequence is what this node states as its floor: the machine forgets the answers
//! below it and refuses late copies, so an id must not close while a copy of it could still be proposed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serverv2_machine::{Floor, Incarnation, NodeId, RequestId};
use tokio::sync::oneshot;

use crate::cluster::Answer;

/// All of a process's requests.
pub(crate) struct Requests {
    node: NodeId,
    window: Mutex<Window>,
}

struct Window {
    incarnation: Incarnation,
    next: u64,
    open: BTreeMap<RequestId, Open>,
}

#[derive(Default)]
struct Open {
    /// Given out and not submitted yet.
    unclaimed: bool,
    holds: u32,
    waiters: Vec<oneshot::Sender<Answer>>,
}

/// Keeps a request open, and by that its answer remembered.
pub struct Hold {
    requests: Arc<Requests>,
    request: RequestId,
}

impl Requests {
    pub(crate) fn new(node: NodeId, incarnation: Incarnation) -> Self {
        let window = Window { incarnation, next: 1, open: BTreeMap::new() };
        Self { node, window: Mutex::new(window) }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.window.lock().incarnation
    }

    /// This process was counted out: from here on it acts under its next incarnation. What is open
    /// stays open, and will be refused.
    pub(crate) fn renew(&self) -> Incarnation {
        let mut window = self.window.lock();
        window.incarnation = Incarnation(window.incarnation.0 + 1);
        window.next = 1;
        window.incarnation
    }

    /// Opens the next sequence.
    pub(crate) fn next(&self) -> RequestId {
        let mut window = self.window.lock();
        let request = window.id(self.node, window.next);
        window.next += 1;
        window.open.insert(request, Open { unclaimed: true, ..Open::default() });
        request
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.window.lock().open.len()
    }

    /// Closes a request that was given out and will not be submitted.
    pub(crate) fn forget(&self, request: RequestId) {
        let mut window = self.window.lock();
        if let Some(open) = window.open.get_mut(&request) {
            open.unclaimed = false;
            window.close_if_settled(request);
        }
    }

    /// A caller submits a request, for the first time or again.
    pub(crate) fn claim(self: &Arc<Self>, request: RequestId) -> Hold {
        let mut window = self.window.lock();
        let open = window.open.entry(request).or_default();
        open.unclaimed = false;
        open.holds += 1;
        Hold { requests: Arc::clone(self), request }
    }

    /// Answers whoever waits for a request.
    pub(crate) fn complete(&self, request: RequestId, answer: &Answer) {
        if request.node != self.node {
            return;
        }
        let mut window = self.window.lock();
        let Some(open) = window.open.get_mut(&request) else { return };
        let waiters = std::mem::take(&mut open.waiters);
        drop(window);
        for waiter in waiters {
            // A caller that has given up does not listen any more.
            let _ = waiter.send(answer.clone());
        }
    }

    /// The requests for whose answers somebody waits.
    pub(crate) fn waited_for(&self) -> Vec<RequestId> {
        let window = self.window.lock();
        let waited = window.open.iter().filter(|(_, open)| !open.waiters.is_empty());
        waited.map(|(request, _)| *request).collect()
    }

    /// What this node states about its window.
    pub(crate) fn floor(&self) -> Floor {
        let window = self.window.lock();
        let all = window.id(self.node, 0)..=window.id(self.node, u64::MAX);
        let lowest = window.open.range(all).next();
        let lowest_open = lowest.map_or(window.next, |(request, _)| request.sequence);
        Floor { node: self.node, incarnation: window.incarnation, lowest_open }
    }
}

impl Window {
    fn id(&self, node: NodeId, sequence: u64) -> RequestId {
        RequestId { node, incarnation: self.incarnation, sequence }
    }

    fn close_if_settled(&mut self, request: RequestId) {
        if self.open.get(&request).is_some_and(|open| open.holds == 0 && !open.unclaimed) {
            self.open.remove(&request);
        }
    }
}

impl Hold {
    pub(crate) fn request(&self) -> RequestId {
        self.request
    }

    /// The answer, whenever it is applied here.
    pub(crate) fn answer(&self) -> oneshot::Receiver<Answer> {
        let (waiter, answer) = oneshot::channel();
        let mut window = self.requests.window.lock();
        let open = window.open.get_mut(&self.request).expect("a hold keeps its request open");
        open.waiters.retain(|waiter| !waiter.is_closed());
        open.waiters.push(waiter);
        answer
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        self.requests.claim(self.request)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut window = self.requests.window.lock();
        if let Some(open) = window.open.get_mut(&self.request) {
            open.holds -= 1;
            window.close_if_settled(self.request);
        }
    }
}

#[cfg(test)]
mod tests {
    use serverv2_machine::{Done, Reply};

    use super::*;

    fn requests() -> Arc<Requests> {
        Arc::new(Requests::new(NodeId(1), Incarnation(7)))
    }

    fn floor(requests: &Requests) -> u64 {
        requests.floor().lowest_open
    }

    #[test]
    fn the_floor_is_the_lowest_request_that_somebody_may_still_use() {
        let requests = requests();
        assert_eq!(floor(&requests), 1);
        let [first, second, third] = [requests.next(), requests.next(), requests.next()];
        assert_eq!(floor(&requests), 1);
        let caller = requests.claim(first);
        let proposal = caller.clone();
        requests.forget(second);
        drop(caller);
        assert_eq!(floor(&requests), 1, "its proposal is still under way");
        drop(proposal);
        assert_eq!(floor(&requests), 3);
        drop(requests.claim(third));
        assert_eq!(floor(&requests), 4);
        assert_eq!(requests.open(), 0);
    }

    #[test]
    fn a_request_submitted_again_is_open_again() {
        let requests = requests();
        let request = requests.next();
        drop(requests.claim(request));
        let again = requests.claim(request);
        assert_eq!(floor(&requests), 1);
        drop(again);
        assert_eq!(floor(&requests), 2);
    }

    #[test]
    fn every_waiter_of_a_request_is_answered_and_no_other() {
        let requests = requests();
        let [first, second] = [requests.next(), requests.next()];
        let [a, b] = [requests.claim(first), requests.claim(first)];
        let other = requests.claim(second);
        let (mut of_a, mut of_b, mut of_other) = (a.answer(), b.answer(), other.answer());
        let answer = Answer { index: 5, outcome: Ok(Reply::Done(Done)) };
        requests.complete(first, &answer);
        assert_eq!(of_a.try_recv().unwrap().index, 5);
        assert_eq!(of_b.try_recv().unwrap().index, 5);
        assert!(of_other.try_recv().is_err());
        requests.complete(RequestId { incarnation: Incarnation(6), ..second }, &answer);
        assert!(of_other.try_recv().is_err(), "a former process's");
    }
}
