//! One writer for everything that has to be on the disk in order.
//!
//! Callers queue writes; one thread takes whatever has gathered, hands it to the disk in one go, and
//! then tells the waiters in the order of their writes. So a single `fdatasync` serves all that
//! arrived during the previous one, and nobody waits for somebody else's lock. sled dictates the
//! single thread too: its asynchronous flush deadlocks with several callers.
//!
//! The first error is final. The writes of that drain, all later ones and all waiters get it, and the
//! thread ends: after a failed `fsync` nobody knows what is on the disk, and asking again may lie.
//!
//! *Lazy* writes wait for no disk and have no waiter: they ride along with the next drain, or are
//! written after [`LAZY_WAIT`] if none comes. Only the newest one is kept.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::StorageError;

/// Writes in the queue; one more waits until there is room, which slows down who asks.
const QUEUE_MAX: usize = 8192;
/// How long a lazy write may stay in memory on an idle node.
const LAZY_WAIT: Duration = Duration::from_millis(200);

/// Called by the writer thread once a write is durable, or will never be.
pub type Done = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// Who brings writes to the disk.
pub(crate) trait Disk: Send + 'static {
    /// One thing to be written.
    type Write: Send;

    /// Writes all of it in order and returns when it is durable.
    fn commit(&mut self, writes: Vec<Self::Write>) -> Result<(), StorageError>;

    /// Called once at an orderly end, after everything was committed.
    fn close(&mut self) {}
}

struct Queue<W> {
    waiting: VecDeque<(W, Option<Done>)>,
    lazy: Option<W>,
    closed: bool,
    failed: Option<StorageError>,
}

struct Shared<W> {
    queue: Mutex<Queue<W>>,
    /// Something was queued, or the queue was closed.
    filled: Condvar,
    /// The queue was taken.
    taken: Condvar,
}

/// The sending side of the writer. Dropping it writes what is queued and ends the thread.
pub(crate) struct Durable<W> {
    shared: Arc<Shared<W>>,
    thread: Option<JoinHandle<()>>,
}

impl<W: Send + 'static> Durable<W> {
    /// Starts the writer thread.
    pub(crate) fn start(disk: impl Disk<Write = W>) -> Result<Self, StorageError> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                lazy: None,
                closed: false,
                failed: None,
            }),
            filled: Condvar::new(),
            taken: Condvar::new(),
        });
        let thread = thread::Builder::new()
            .name("log-writer".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || write_until_closed(&shared, disk)
            })
            .map_err(|error| StorageError::Stopped(format!("no thread to write with: {error}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues a write. `done` is called when it is durable; without one nobody is told.
    pub(crate) fn push(&self, write: W, done: Option<Done>) -> Result<(), StorageError> {
        let mut queue = self.shared.queue.lock();
        while queue.waiting.len() >= QUEUE_MAX && queue.failed.is_none() {
            self.shared.taken.wait(&mut queue);
        }
        if let Some(error) = &queue.failed {
            return Err(stopped_by(error));
        }
        queue.waiting.push_back((write, done));
        drop(queue);
        self.shared.filled.notify_one();
        Ok(())
    }

    /// Why nothing more is written.
    pub(crate) fn failed(&self) -> Option<StorageError> {
        self.shared.queue.lock().failed.clone()
    }

    /// Replaces the lazy write. It will not be durable before the writes queued until now.
    pub(crate) fn set_lazy(&self, write: W) -> Result<(), StorageError> {
        let mut queue = self.shared.queue.lock();
        if let Some(error) = &queue.failed {
            return Err(stopped_by(error));
        }
        let first = queue.lazy.replace(write).is_none();
        drop(queue);
        if first {
            self.shared.filled.notify_one();
        }
        Ok(())
    }
}

impl<W> Drop for Durable<W> {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.filled.notify_one();
        let Some(thread) = self.thread.take() else { return };
        // A callback may own the last handle; the thread can't wait for itself.
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            tracing::error!("the log writer panicked");
        }
    }
}

fn stopped_by(error: &StorageError) -> StorageError {
    StorageError::Stopped(error.to_string())
}

fn write_until_closed<D: Disk>(shared: &Shared<D::Write>, mut disk: D) {
    while let Some((drain, lazy)) = take(shared) {
        let mut waiters = Vec::with_capacity(drain.len());
        let mut writes = Vec::with_capacity(drain.len() + 1);
        for (write, done) in drain {
            writes.push(write);
            waiters.extend(done);
        }
        writes.extend(lazy);
        // sled panics on some errors; a writer that vanished would leave its waiters waiting.
        let result = catch_unwind(AssertUnwindSafe(|| disk.commit(writes)))
            .unwrap_or_else(|_| Err(StorageError::Stopped("the writer panicked".into())));
        if let Err(error) = &result {
            tracing::error!(%error, "the disk failed, nothing more is written");
            let mut queue = shared.queue.lock();
            queue.failed = Some(error.clone());
            waiters.extend(queue.waiting.drain(..).filter_map(|(_, done)| done));
            drop(queue);
            shared.taken.notify_all();
        }
        let failed = result.is_err();
        for done in waiters {
            done(result.clone());
        }
        if failed {
            return;
        }
    }
    disk.close();
}

type Drained<W> = (VecDeque<(W, Option<Done>)>, Option<W>);

/// Waits for work; `None` when closed and empty.
fn take<W>(shared: &Shared<W>) -> Option<Drained<W>> {
    let mut queue = shared.queue.lock();
    while queue.waiting.is_empty() && !queue.closed {
        if queue.lazy.is_none() {
            shared.filled.wait(&mut queue);
        } else if shared.filled.wait_for(&mut queue, LAZY_WAIT).timed_out() {
            break;
        }
    }
    if queue.waiting.is_empty() && queue.lazy.is_none() {
        return None;
    }
    let drained = (std::mem::take(&mut queue.waiting), queue.lazy.take());
    drop(queue);
    shared.taken.notify_all();
    Some(drained)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct FakeDisk {
        written: mpsc::Sender<Vec<u32>>,
        gate: mpsc::Receiver<Result<(), StorageError>>,
    }

    impl Disk for FakeDisk {
        type Write = u32;

        fn commit(&mut self, writes: Vec<u32>) -> Result<(), StorageError> {
            self.written.send(writes).unwrap();
            self.gate.recv().unwrap()
        }
    }

    type Parts = (
        Durable<u32>,
        mpsc::Receiver<Vec<u32>>,
        mpsc::Sender<Result<(), StorageError>>,
        mpsc::Sender<(u32, bool)>,
        mpsc::Receiver<(u32, bool)>,
    );

    fn start() -> Parts {
        let (written, writes) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        let (told, answers) = mpsc::channel();
        (Durable::start(FakeDisk { written, gate }).unwrap(), writes, open, told, answers)
    }

    fn push(durable: &Durable<u32>, write: u32, told: &mpsc::Sender<(u32, bool)>) {
        let told = told.clone();
        let done: Done = Box::new(move |result| told.send((write, result.is_ok())).unwrap());
        durable.push(write, Some(done)).unwrap();
    }

    #[test]
    fn what_gathers_during_a_commit_is_written_in_one_go_and_answered_in_order() {
        let (durable, writes, open, told, answers) = start();
        push(&durable, 1, &told);
        assert_eq!(writes.recv().unwrap(), [1]);
        for write in 2..=5 {
            push(&durable, write, &told);
        }
        assert!(answers.try_recv().is_err(), "nothing is durable yet");
        open.send(Ok(())).unwrap();
        assert_eq!(writes.recv().unwrap(), [2, 3, 4, 5]);
        open.send(Ok(())).unwrap();
        let told: Vec<_> = answers.iter().take(5).collect();
        assert_eq!(told, [(1, true), (2, true), (3, true), (4, true), (5, true)]);
    }

    #[test]
    fn the_first_error_is_final_and_every_waiter_gets_it() {
        let (durable, writes, open, told, answers) = start();
        push(&durable, 1, &told);
        writes.recv().unwrap();
        push(&durable, 2, &told);
        open.send(Err(StorageError::Corrupt("made up".into()))).unwrap();
        let told: Vec<_> = answers.iter().take(2).collect();
        assert_eq!(told, [(1, false), (2, false)]);
        let error = durable.push(3, None).unwrap_err();
        assert!(error.to_string().contains("made up"), "{error}");
        assert!(durable.set_lazy(4).is_err());
        assert!(writes.recv().is_err(), "the disk was asked once");
    }

    #[test]
    fn a_lazy_write_is_written_without_a_waiter_and_after_what_was_queued_before_it() {
        let (durable, writes, open, told, _answers) = start();
        push(&durable, 1, &told);
        writes.recv().unwrap();
        push(&durable, 2, &told);
        durable.set_lazy(90).unwrap();
        durable.set_lazy(91).unwrap();
        open.send(Ok(())).unwrap();
        assert_eq!(writes.recv().unwrap(), [2, 91]);
        open.send(Ok(())).unwrap();
        durable.set_lazy(92).unwrap();
        assert_eq!(writes.recv().unwrap(), [92]);
        open.send(Ok(())).unwrap();
    }

    #[test]
    fn closing_writes_what_is_queued() {
        let (durable, writes, open, told, _answers) = start();
        push(&durable, 1, &told);
        durable.set_lazy(2).unwrap();
        open.send(Ok(())).unwrap();
        open.send(Ok(())).unwrap();
        drop(durable);
        let all: Vec<u32> = writes.try_iter().flatten().collect();
        assert_eq!(all, [1, 2]);
    }
}
