//! What was applied, in log order, for the one who delivers it.
//!
//! The queue is bounded. When its reader is so far behind that it is full, everything in it is dropped
//! and replaced by one [`FeedItem::Reset`]: the reader must then look at the state
//! ([`crate::Cluster::read`]), go on from the index of that look, and ignore what it gets from the
//! feed up to that index. The same happens after a snapshot was installed. So a slow reader costs
//! bounded memory and never slows down the applier.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use serverv2_machine::AppliedEntry;
use tokio::sync::Notify;

/// Entries waiting for the reader; one more resets the feed.
const FEED_ENTRIES_MAX: usize = 16_384;
/// Answers and effects in them; more resets the feed.
const FEED_FACTS_MAX: usize = 262_144;

/// One step of the feed.
#[derive(Clone, Debug)]
pub enum FeedItem {
    /// An entry was applied.
    Applied(AppliedEntry),
    /// Something is missing: look at the state. It is that of this index or a later one.
    Reset {
        /// The last index that the state contains for sure.
        index: u64,
    },
}

#[derive(Default)]
struct Queue {
    items: VecDeque<FeedItem>,
    facts: usize,
    /// Nothing is published before a reader is there: what a restart replays is nobody's news.
    open: bool,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
}

/// The publishing end; the applier has it.
#[derive(Default)]
pub(crate) struct FeedSender(Arc<Shared>);

/// Starts and ends a feed from beside the applier.
#[derive(Clone)]
pub(crate) struct FeedGate(Arc<Shared>);

/// The reading end. There is one.
pub struct EffectFeed(Arc<Shared>);

impl FeedSender {
    pub(crate) fn gate(&self) -> FeedGate {
        FeedGate(Arc::clone(&self.0))
    }

    pub(crate) fn publish(&self, entry: AppliedEntry) {
        let mut queue = self.0.queue.lock();
        if !queue.open {
            return;
        }
        let facts = facts(&entry);
        #[cfg(feature = "failpoints")]
        let full = crate::failpoints::feed_is_full();
        #[cfg(not(feature = "failpoints"))]
        let full = false;
        if full || queue.items.len() >= FEED_ENTRIES_MAX || queue.facts + facts > FEED_FACTS_MAX {
            tracing::warn!(raft.index = entry.index, "the effect feed is full and starts over");
            queue.reset(entry.index);
        } else {
            queue.facts += facts;
            queue.items.push_back(FeedItem::Applied(entry));
        }
        drop(queue);
        self.0.filled.notify_one();
    }

    pub(crate) fn reset(&self, index: u64) {
        let mut queue = self.0.queue.lock();
        if queue.open {
            queue.reset(index);
            drop(queue);
            self.0.filled.notify_one();
        }
    }
}

impl Drop for FeedSender {
    fn drop(&mut self) {
        self.0.queue.lock().closed = true;
        self.0.filled.notify_one();
    }
}

impl FeedGate {
    /// From here on entries are published.
    pub(crate) fn open(&self) -> EffectFeed {
        self.0.queue.lock().open = true;
        EffectFeed(Arc::clone(&self.0))
    }
}

impl EffectFeed {
    /// The next step; `None` when the node has stopped and everything was read.
    pub async fn recv(&mut self) -> Option<FeedItem> {
        loop {
            {
                let mut queue = self.0.queue.lock();
                if let Some(item) = queue.items.pop_front() {
                    if let FeedItem::Applied(entry) = &item {
                        queue.facts -= facts(entry);
                    }
                    return Some(item);
                }
                if queue.closed {
                    return None;
                }
            }
            // A publication between the look and this is remembered by `Notify`.
            self.0.filled.notified().await;
        }
    }
}

impl Drop for EffectFeed {
    fn drop(&mut self) {
        *self.0.queue.lock() = Queue::default();
    }
}

impl Queue {
    fn reset(&mut self, index: u64) {
        self.items.clear();
        self.facts = 0;
        self.items.push_back(FeedItem::Reset { index });
    }
}

fn facts(entry: &AppliedEntry) -> usize {
    entry.applied.iter().map(|applied| 1 + applied.effects.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64) -> AppliedEntry {
        AppliedEntry { index, term: 1, applied: Arc::new([]) }
    }

    fn names(items: &[FeedItem]) -> Vec<String> {
        let name = |item: &FeedItem| match item {
            FeedItem::Applied(entry) => format!("applied {}", entry.index),
            FeedItem::Reset { index } => format!("reset {index}"),
        };
        items.iter().map(name).collect()
    }

    async fn read(feed: &mut EffectFeed, count: usize) -> Vec<String> {
        let mut items = Vec::new();
        for _ in 0..count {
            items.extend(feed.recv().await);
        }
        names(&items)
    }

    #[tokio::test]
    async fn entries_come_in_order_from_the_opening_on() {
        let sender = FeedSender::default();
        sender.publish(entry(1));
        sender.reset(2);
        let mut feed = sender.gate().open();
        sender.publish(entry(3));
        sender.publish(entry(4));
        assert_eq!(read(&mut feed, 2).await, ["applied 3", "applied 4"]);
        drop(sender);
        assert!(feed.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_full_feed_starts_over_with_a_reset() {
        let sender = FeedSender::default();
        let mut feed = sender.gate().open();
        let full = FEED_ENTRIES_MAX as u64;
        for index in 0..full + 3 {
            sender.publish(entry(index));
        }
        let expected = [("reset", full), ("applied", full + 1), ("applied", full + 2)]
            .map(|(what, index)| format!("{what} {index}"));
        assert_eq!(read(&mut feed, 3).await, expected);
    }
}
