//! Calls of openraft that nobody drops before their end.

use std::future::Future;

/// Lets a call go on to its end on the runtime of consensus, also when whoever waits for it gives up. `None`: it
/// panicked, or the runtime is about to end.
///
/// Whoever calls in the moment in which openraft's task ends waits for that end on behalf of all others. If that call
/// is dropped, nobody ever learns of the end: each later call panics, and after the first one by a poisoned lock
/// (`RaftInner::join_core_task` of openraft 0.10.0-alpha.37).
pub(crate) async fn whole<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    tokio::spawn(call).await.ok()
}
