//! Accepted connections: each can be cut from outside, and there are only so many.
//!
//! A websocket lives on inside a library long after its request was answered, so nobody but the
//! stream itself can end it. [`CutStream`] is that stream; [`Connection`] is its handle, which stands
//! in the extensions of each request that came over it. [`LocalConnections`] counts them, refuses
//! those above the bound, and cuts all of them at the end. A stream that takes nothing of what is
//! written to it for [`WRITE_PATIENCE`] belongs to nobody who reads, and cuts itself.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::request::Parts;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

/// Time in which a client must take something of what is written to it.
const WRITE_PATIENCE: Duration = Duration::from_secs(15);

/// Handle to one accepted connection; clones speak of the same one.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    peer: SocketAddr,
    among: Weak<LocalConnections>,
    number: u64,
    /// The Socket.IO session that moved here from another connection.
    carries: OnceLock<String>,
    cut: AtomicBool,
    // A stream is read and written by different tasks: each has to hear of the cut.
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Connection {
    fn new(peer: SocketAddr, among: Weak<LocalConnections>, number: u64) -> Self {
        Self(Arc::new(Shared {
            peer,
            among,
            number,
            carries: OnceLock::new(),
            cut: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        }))
    }

    /// The connection over which a request came; `None` if it came over none (in tests).
    pub fn of(request: &Parts) -> Option<Self> {
        request.extensions.get().cloned()
    }

    /// The client's address as this process sees it; behind a proxy, the proxy's.
    pub fn address(&self) -> IpAddr {
        // The same client may be seen as ::ffff:a.b.c.d by a socket that serves both families.
        self.0.peer.ip().to_canonical()
    }

    /// The client's address with its port.
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// Cuts the transport: whoever reads or writes it gets an error and drops it. Doing it twice, or
    /// after the client left, does nothing.
    pub fn close(&self) {
        self.0.cut.store(true, Ordering::Release);
        self.0.reader.wake();
        self.0.writer.wake();
    }

    /// A session that began on another connection is carried by this one from now on. Said once: a
    /// connection that became a websocket carries nothing else.
    pub(crate) fn carry(&self, session: &str) {
        if let Some(among) = self.0.among.upgrade()
            && self.0.carries.set(session.to_owned()).is_ok()
        {
            among.open.lock().carriers.insert((session.to_owned(), self.0.number), self.clone());
        }
    }

    /// Cuts whatever carries this session, beside the connection on which it began.
    pub(crate) fn close_carriers(&self, session: &str) {
        let Some(among) = self.0.among.upgrade() else { return };
        let first = (session.to_owned(), 0);
        let open = among.open.lock();
        let all = open.carriers.range(first..).take_while(|((of, _), _)| of == session);
        all.for_each(|(_, connection)| connection.close());
    }

    fn is_cut(&self) -> bool {
        self.0.cut.load(Ordering::Acquire)
    }
}

/// All open connections of this process.
pub struct LocalConnections {
    // A lock and no channel: opening and closing are short, rare, and must take effect at once.
    open: Mutex<Open>,
    count: watch::Sender<usize>,
    max: usize,
    write_patience: Duration,
    refused: AtomicU64,
    stalled: AtomicU64,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, Connection>,
    /// Those that carry a session which began on another one.
    carriers: BTreeMap<(String, u64), Connection>,
}

impl LocalConnections {
    /// None open, at most `max` at once.
    pub fn new(max: usize) -> Arc<Self> {
        Self::with_patience(max, WRITE_PATIENCE)
    }

    fn with_patience(max: usize, write_patience: Duration) -> Arc<Self> {
        let count = watch::Sender::new(0);
        Arc::new(Self {
            open: Mutex::default(),
            count,
            max,
            write_patience,
            refused: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
        })
    }

    /// Wraps an accepted stream, or drops it (which closes it) when there are too many.
    pub fn admit<S>(self: &Arc<Self>, stream: S, peer: SocketAddr) -> Option<CutStream<S>> {
        let mut open = self.open.lock();
        if open.connections.len() >= self.max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let number = open.next;
        open.next += 1;
        let connection = Connection::new(peer, Arc::downgrade(self), number);
        open.connections.insert(number, connection.clone());
        self.count.send_replace(open.connections.len());
        let place = Place { connections: self.clone(), number };
        Some(CutStream { stream, connection, stalled: None, place })
    }

    /// How many there may be.
    pub fn max(&self) -> usize {
        self.max
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// How many were refused because there were too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many were cut because their clients took nothing of what was written to them.
    pub fn stalled(&self) -> u64 {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Cuts every open connection.
    pub fn cut_all(&self) {
        let open: Vec<Connection> = self.open.lock().connections.values().cloned().collect();
        for connection in open {
            connection.close();
        }
    }

    /// Waits until none is open.
    pub async fn all_closed(&self) {
        let mut count = self.count.subscribe();
        // The sender lives in `self`, so this can't end early.
        let _ = count.wait_for(|count| *count == 0).await;
    }
}

/// A place among the open connections, given back when the stream is dropped.
struct Place {
    connections: Arc<LocalConnections>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        if let Some(connection) = open.connections.remove(&self.number)
            && let Some(session) = connection.0.carries.get()
        {
            open.carriers.remove(&(session.clone(), self.number));
        }
        self.connections.count.send_replace(open.connections.len());
    }
}

/// A stream that its [`Connection`] can cut.
pub struct CutStream<S> {
    stream: S,
    connection: Connection,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    place: Place,
}

impl<S> CutStream<S> {
    /// Its handle.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn check(&self, waker: &AtomicWaker, context: &Context<'_>) -> io::Result<()> {
        // Registered before looking: a cut in between wakes this task.
        waker.register(context.waker());
        if self.connection.is_cut() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server cut it"));
        }
        Ok(())
    }

    /// What a write came to, unless it has waited for too long.
    fn written(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.place.connections.write_patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        self.place.connections.stalled.fetch_add(1, Ordering::Relaxed);
        // For the reader, too: it would wait for a client that only sends.
        self.connection.close();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(&self.connection.0.reader, context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CutStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(&self.connection.0.writer, context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(&self.connection.0.writer, context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(&self.connection.0.writer, context)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn peer() -> SocketAddr {
        "[::ffff:10.1.2.3]:4000".parse().unwrap()
    }

    #[tokio::test]
    async fn a_cut_wakes_a_reader_that_waits_and_fails_the_next_write() {
        let connections = LocalConnections::new(1);
        let (near, mut far) = duplex(64);
        let mut stream = connections.admit(near, peer()).unwrap();
        let handle = stream.connection().clone();
        far.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');

        let reader = tokio::spawn(async move {
            let read = stream.read_u8().await;
            (read, stream.write_all(b"y").await)
        });
        handle.close();
        let (read, written) = reader.await.unwrap();
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        connections.all_closed().await;
    }

    #[test]
    fn a_connection_above_the_bound_is_refused_until_another_closes() {
        let connections = LocalConnections::new(1);
        let first = connections.admit((), peer());
        assert!(first.is_some());
        assert!(connections.admit((), peer()).is_none());
        drop(first);
        assert_eq!(connections.count(), 0);
        assert!(connections.admit((), peer()).is_some());
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut() {
        let connections = LocalConnections::with_patience(1, Duration::from_millis(20));
        let (near, _deaf) = duplex(64);
        let mut stream = connections.admit(near, peer()).unwrap();
        let handle = stream.connection().clone();
        stream.write_all(&[0; 64]).await.unwrap();
        let error = stream.write_u8(0).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(handle.is_cut(), "its reader hears of it");
    }

    #[test]
    fn a_session_that_moved_is_cut_where_it_is_now() {
        let connections = LocalConnections::new(3);
        let [first, second, other] = [(); 3].map(|()| connections.admit((), peer()).unwrap());
        second.connection().carry("session");
        other.connection().carry("session of another");
        first.connection().close_carriers("session");
        let cut = [&first, &second, &other].map(|stream| stream.connection().is_cut());
        assert_eq!(cut, [false, true, false]);
        drop((first, second, other));
        assert!(connections.open.lock().carriers.is_empty());
    }

    #[test]
    fn an_ipv4_client_has_one_address_whatever_the_listener() {
        let connection = Connection::new(peer(), Weak::new(), 0);
        assert_eq!(connection.address().to_string(), "10.1.2.3");
    }
}
