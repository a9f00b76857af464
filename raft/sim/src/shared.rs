//! What the parts of a run have in common: the way into each node that runs, and the judge.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use serverv2_raft_simulated::Cluster;
use tokio::sync::{mpsc, oneshot};

use crate::judge::Judge;

/// Something to be done on a node, by a task of that node.
pub(crate) type Errand = Box<dyn FnOnce(Cluster) -> LocalBoxFuture<'static, ()>>;

/// Shared by everything in a run.
#[derive(Clone)]
pub(crate) struct Shared(Rc<Inner>);

#[derive(Default)]
struct Inner {
    judge: RefCell<Judge>,
    /// Of the nodes that have started.
    doors: RefCell<BTreeMap<u64, mpsc::UnboundedSender<Errand>>>,
    is_over: Cell<bool>,
    is_settled: Cell<bool>,
    /// A defect: nobody says that he asks again.
    repeats_as_new: bool,
}

impl Shared {
    pub(crate) fn new(repeats_as_new: bool) -> Self {
        Self(Rc::new(Inner { repeats_as_new, ..Inner::default() }))
    }

    pub(crate) fn repeats_as_new(&self) -> bool {
        self.0.repeats_as_new
    }

    /// Asks or tells the judge.
    pub(crate) fn judge<T>(&self, ask: impl FnOnce(&mut Judge) -> T) -> T {
        ask(&mut self.0.judge.borrow_mut())
    }

    /// A node takes errands.
    pub(crate) fn open(&self, node: u64) -> mpsc::UnboundedReceiver<Errand> {
        let (door, errands) = mpsc::unbounded_channel();
        self.0.doors.borrow_mut().insert(node, door);
        errands
    }

    /// It does not any more.
    pub(crate) fn close(&self, node: u64) {
        self.0.doors.borrow_mut().remove(&node);
    }

    /// Does something on a node; `None` where it does not run, or died meanwhile.
    pub(crate) async fn on<T, F>(
        &self,
        node: u64,
        what: impl FnOnce(Cluster) -> F + 'static,
    ) -> Option<T>
    where
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let (told, done) = oneshot::channel();
        let errand: Errand = Box::new(move |cluster| {
            Box::pin(async move {
                // Whoever asked may be gone.
                let _ = told.send(what(cluster).await);
            })
        });
        let door = self.0.doors.borrow().get(&node).cloned();
        door?.send(errand).ok()?;
        done.await.ok()
    }

    /// Nothing new is begun by players from here on.
    pub(crate) fn end(&self) {
        self.0.is_over.set(true);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_over.get()
    }

    /// All nodes have come together.
    pub(crate) fn settle(&self) {
        self.0.is_settled.set(true);
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.0.is_settled.get()
    }
}
