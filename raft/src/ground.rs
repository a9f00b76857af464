//! What a node stands on: connections to its peers, and the clocks.
//!
//! Consensus asks here and nowhere else, so that it can stand on something else than sockets and the
//! system's time: a simulation gives it both, and every decision in between is the code that runs in earnest.

use std::io;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use serverv2_machine::WallTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Bytes to a peer and back, in order.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// One connection.
pub type Stream = Box<dyn Duplex>;

/// The way to peers.
pub trait Net: Send + Sync {
    /// Connects to whoever listens at this address. *Refused* means that nobody does.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>>;
}

/// Where peers come in.
pub trait Listener: Send {
    /// The next connection. Dropping the future loses none.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>>;
}

/// Real sockets.
pub(crate) struct Tcp;

impl Tcp {
    /// Listens, or takes over a listener that is bound already.
    pub(crate) fn listen(
        bind: SocketAddr,
        bound: Option<&std::net::TcpListener>,
    ) -> io::Result<Box<dyn Listener>> {
        let listener = match bound {
            Some(listener) => listener.try_clone()?,
            None => std::net::TcpListener::bind(bind)?,
        };
        listener.set_nonblocking(true)?;
        Ok(Box::new(TcpListener::from_std(listener)?))
    }
}

impl Net for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Stream)
        })
    }
}

impl Listener for TcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let (stream, _) = TcpListener::accept(self).await?;
            // Fails where the caller is gone already, which the handshake will notice.
            let _ = stream.set_nodelay(true);
            Ok(Box::new(stream) as Stream)
        })
    }
}

/// The monotonic clock, which is the one of the runtime's timers.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock, which decides nothing.
pub(crate) fn wall() -> WallTime {
    #[cfg(feature = "simulation")]
    if let Some(simulated) = crate::simulation::wall() {
        return simulated;
    }
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
